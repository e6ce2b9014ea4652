#!/bin/sh
# The inside of tests/support/systemd_boot.py: become PID 1 of a private machine made from this one.
#
#   systemd_boot.sh outer WORK GROUP     own mount namespace and cgroup, then new namespaces for …
#   systemd_boot.sh inner WORK           … this: overlay on /, a few mounts, pivot_root, systemd
#
# WORK holds `binds` (lines "SOURCE TARGET", read-only) and, on a tmpfs of this mount namespace,
# everything that is written. Nothing on the machine itself changes; all mounts end with PID 1.
set -eu
mode=$1 work=$2

if [ "$mode" = outer ]; then
    mkdir -p "$work/cgroup" "$work/disk"
    mount -t cgroup2 none "$work/cgroup"
    mkdir -p "$work/cgroup/$3"
    echo 0 >"$work/cgroup/$3/cgroup.procs"
    exec unshare --mount --pid --fork --kill-child --uts --ipc --net --cgroup \
        --propagation private sh "$0" inner "$work"
fi

mount -t tmpfs -o size=512m,mode=755 disk "$work/disk"
mkdir "$work/disk/upper" "$work/disk/work" "$work/disk/root"
root=$work/disk/root
mount -t overlay -o "lowerdir=/,upperdir=$work/disk/upper,workdir=$work/disk/work" overlay "$root"

mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs"
mkdir -p "$root/sys/fs/cgroup"
mount -t cgroup2 none "$root/sys/fs/cgroup" # the new cgroup namespace: only this machine's groups
mount -t tmpfs -o mode=755 dev "$root/dev"
for name in null zero full random urandom tty; do
    : >"$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs -o mode=755 run "$root/run"
mount -t tmpfs -o mode=1777 tmp "$root/tmp"
mkdir "$root/run/lock"

while read -r source target; do
    mkdir -p "$root$target"
    mount --bind "$source" "$root$target"
    mount -o remount,ro,bind "$root$target"
done <"$work/binds"

# Boot what a service needs, and nothing that this machine has installed or enabled.
units=$root/run/systemd/system
mkdir -p "$units"
printf '%s\n' '[Unit]' 'Requires=sysinit.target basic.target' 'After=basic.target' \
    'AllowIsolate=yes' >"$units/bench.target"
for unit in systemd-udevd.service systemd-udev-trigger.service systemd-timesyncd.service \
    systemd-networkd.service systemd-resolved.service systemd-modules-load.service \
    systemd-sysctl.service systemd-remount-fs.service systemd-machine-id-commit.service \
    systemd-firstboot.service systemd-hwdb-update.service systemd-binfmt.service \
    systemd-pstore.service systemd-update-utmp.service systemd-sysusers.service \
    kmod-static-nodes.service ldconfig.service timers.target \
    dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
    sys-kernel-config.mount sys-fs-fuse-connections.mount proc-sys-fs-binfmt_misc.automount \
    systemd-udevd-control.socket systemd-udevd-kernel.socket; do
    ln -s /dev/null "$units/$unit"
done
: >"$root/etc/fstab"
rm -f "$root/etc/machine-id" "$root/var/lib/systemd/credential.secret"
echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
mkdir -p "$root/etc/systemd/journald.conf.d"
printf '%s\n' '[Journal]' Storage=volatile RateLimitBurst=0 ReadKMsg=no \
    >"$root/etc/systemd/journald.conf.d/bench.conf"

cd "$root"
mkdir -p .outside
pivot_root . .outside
cd /
umount -l /.outside
mount --make-rshared / # else the mounts of credentials do not reach a service
for init in /usr/lib/systemd/systemd /lib/systemd/systemd; do
    [ ! -x "$init" ] || exec env -i container=bench LANG=C.UTF-8 \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        "$init" --system --unit=bench.target --log-target=journal --show-status=0
done

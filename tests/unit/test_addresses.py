"""Which addresses a download may be led to."""

from __future__ import annotations

import pytest

from backupd.download.addresses import is_public

PUBLIC = """
1.1.1.1 8.8.8.8 104.18.32.47 20.150.1.1 172.15.255.255 172.32.0.1 100.63.255.255 100.128.0.1
2606:4700::6812:202f 2a00:1450:4001:831::200e 2603:1030:7::1 64:ff9b::808:808
"""
NOT_PUBLIC = """
127.0.0.1 127.255.255.254 0.0.0.0 0.1.2.3 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1
169.254.169.254
100.64.0.1 100.127.255.255 192.0.0.8 192.0.2.1 198.18.0.1 198.51.100.7 203.0.113.9 192.88.99.1
224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255
:: ::1 ::7f00:1 ::808:808 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::ffff:a00:1 fc00::1 fd12:3456::1 fe80::1
fe80::1%eth0 2606:4700::1%eth0 fec0::1 ff02::1 100::1 2001:db8::1 2001::1 2001:10::1 2002:7f00:1::
2002:808:808::1 3fff::1 5f00::1 64:ff9b::a00:1 64:ff9b::7f00:1 64:ff9b:1::808:808 4000::1
localhost 1 0x7f.1 127.1
"""


@pytest.mark.parametrize("address", PUBLIC.split())
def test_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", NOT_PUBLIC.split())
def test_not_public(address: str) -> None:
    assert not is_public(address)

"""A reader of repositories that somebody could write who has docs/format.md and nothing else.

It shares no line with the program, so that it shows whether the page is true and complete. It is
slow, keeps everything in memory, and stops at the first thing that the page does not explain.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import sys
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import deflate
import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from isal import isal_zlib
from zlib_ng import zlib_ng

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Json = dict[str, Any]
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Seal(Protocol):
    """How bytes and names are made: one of the two kinds of repository."""

    def named(self, data: bytes) -> bytes:
        """Return the name of an object."""

    def opened(self, label: str, purpose: int, context: bytes, data: bytes) -> bytes:
        """Return what was sealed."""


class Plain:
    """Section "Words"."""

    def named(self, data: bytes) -> bytes:
        """Return the first 16 bytes of the SHA-256."""
        return hashlib.sha256(data).digest()[:16]

    def opened(self, label: str, purpose: int, context: bytes, data: bytes) -> bytes:
        """Return the bytes as they are."""
        return data


class Encrypted:
    """Section "Encryption"."""

    def __init__(self, master: bytes) -> None:
        self.master = master

    def named(self, data: bytes) -> bytes:
        """Return the first 16 bytes of the keyed BLAKE2b-256."""
        return self._hash("object names", data)[:16]

    def file_name(self, digest: bytes) -> str:
        """Return the name of a quarantined file with this SHA-256."""
        return self._hash("file names", digest).hex()

    def fingerprint(self) -> str:
        """Return what the header's `key` must be."""
        return sub_key(self.master, "fingerprint")[:16].hex()

    def opened(self, label: str, purpose: int, context: bytes, data: bytes) -> bytes:
        """Return what was sealed."""
        return opened(sub_key(self.master, label), purpose, context, data)

    def stream(self, context: bytes, data: bytes) -> bytes:
        """Return a sealed stream's bytes."""
        cipher = message_cipher(sub_key(self.master, "seal quarantine"), data[:32])
        segment, made, start = (1 << 20) + 16, b"", 32
        for number in range(max(1, -(-(len(data) - 32) // segment))):
            last = start + segment >= len(data)
            nonce = number.to_bytes(11, "big") + bytes([last])
            made += cipher.decrypt(nonce, data[start : start + segment], associated(5, context))
            start += segment
        return made

    def _hash(self, label: str, data: bytes) -> bytes:
        return hashlib.blake2b(data, key=sub_key(self.master, label), digest_size=32).digest()


def sub_key(key: bytes, label: str) -> bytes:
    """Return a sub-key."""
    return HKDFExpand(SHA256(), 32, b"backupd/1/" + label.encode()).derive(key)


def message_cipher(key: bytes, salt: bytes) -> AESGCM:
    """Return the cipher of one message."""
    return AESGCM(HKDF(SHA256(), 32, salt, b"backupd/1/message").derive(key))


def associated(purpose: int, context: bytes) -> bytes:
    """Return the associated data."""
    return b"backupd" + bytes([1, purpose]) + context


def opened(key: bytes, purpose: int, context: bytes, data: bytes) -> bytes:
    """Return the bytes of a message that was sealed."""
    cipher = message_cipher(key, data[:32])
    return cipher.decrypt(bytes(12), data[32:], associated(purpose, context))


def canonical(value: object) -> bytes:
    """Return canonical JSON."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"


def unsealed(data: bytes) -> Json:
    """Return the fields of sealed JSON, without `check`."""
    fields: Json = json.loads(data)
    check = fields.pop("check")
    assert hashlib.sha256(canonical(fields)).hexdigest() == check
    assert canonical({**fields, "check": check}) == data
    return fields


def typed(text: str, size: int) -> bytes:
    """Return a key of so many bytes that stands on paper."""
    letters = text.replace("-", "")
    key = sum(_CROCKFORD.index(c) << 5 * n for n, c in enumerate(reversed(letters[:-4])))
    made = (key >> (len(letters) - 4) * 5 - size * 8).to_bytes(size, "big")
    check = int.from_bytes(hashlib.sha256(b"backupd key check" + made).digest()[:3], "big") >> 4
    assert letters[-4:] == "".join(_CROCKFORD[check >> shift & 31] for shift in (15, 10, 5, 0))
    return made


def master_key(root: Path, *, passphrase: str = "", recovery_key: str = "") -> bytes:
    """Return the master key of the repository at `root`, by one of its keys."""
    header = unsealed((root / "backupd-repository.json").read_bytes())
    for path in (root / "keys").iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
        file = unsealed(path.read_bytes())
        assert (file["format"], file["repository"]) == (1, header["id"])
        if file["kind"] == ("passphrase" if passphrase else "recovery"):
            salt = bytes.fromhex(file["salt"])
            key = _stretched(passphrase, salt, file) if passphrase else _short(recovery_key, salt)
            context = canonical({**file, "wrapped": ""})
            return opened(key, 7, context, bytes.fromhex(file["wrapped"]))
    raise AssertionError("no such key")


def _stretched(passphrase: str, salt: bytes, file: Json) -> bytes:
    cost = file["argon2"]
    kdf = Argon2id(
        salt=salt,
        length=32,
        iterations=cost["passes"],
        lanes=cost["lanes"],
        memory_cost=cost["memory_kib"],
    )
    return kdf.derive(unicodedata.normalize("NFC", passphrase).encode())


def _short(recovery_key: str, salt: bytes) -> bytes:
    key = sub_key(typed(recovery_key, 20), "recovery")
    return hashlib.blake2b(salt, key=key, digest_size=32).digest()


@dataclass(frozen=True)
class Frame:
    """One frame and the pack that holds it."""

    pack: bytes
    kind: int
    codec: int
    offset: int
    length: int
    raw_length: int
    checksum: bytes
    prefix: tuple[bytes, ...]
    objects: tuple[tuple[bytes, int, bytes], ...]

    @property
    def name(self) -> bytes:
        """The frame's name."""
        return hashlib.sha256(b"".join(name for name, _, _ in self.objects)).digest()[:12]


@dataclass
class Packs:
    """All packs of a repository, read whole."""

    seal: Seal
    frames: dict[bytes, Frame] = field(default_factory=dict)
    homes: dict[bytes, Frame] = field(default_factory=dict)
    _made: dict[int, bytes] = field(default_factory=dict)

    def read(self, root: Path) -> None:
        """Take in the directories of all packs, those written later last."""
        found = []
        for path in root.glob("packs/*/*"):
            data = path.read_bytes()
            name = hashlib.sha256(data).hexdigest()
            assert (path.parent.name, path.name) == (name[:2], f"{name}.pack")
            format_, sequence, frames = self._directory(data)
            assert format_ == 1
            found.append((sequence, name, data, frames))
        for _, _, data, frames in sorted(found, key=lambda each: each[:2]):
            for kind, codec, offset, length, raw, checksum, prefix, objects in frames:
                items = tuple((bytes(n), size, bytes(key)) for n, size, key in objects)
                names = tuple(map(bytes, prefix))
                frame = Frame(data, kind, codec, offset, length, raw, checksum, names, items)
                self.frames[frame.name] = frame
                self.homes.update((name, frame) for name, _, _ in items)

    def object(self, name: bytes) -> bytes:
        """Return an object's bytes; they are what gave the name."""
        frame, start = self.homes[name], 0
        for known, length, _ in frame.objects:
            if known == name:
                data = self.frame(frame)[start : start + length]
                assert self.seal.named(data) == name
                return data
            start += length
        raise AssertionError("not in its frame")

    def frame(self, frame: Frame) -> bytes:
        """Return what a frame holds."""
        if id(frame) not in self._made:
            self._made[id(frame)] = self._decoded(frame)
        return self._made[id(frame)]

    def _directory(self, data: bytes) -> list[Any]:
        assert data[:16] == b"backupd pack 1\r\n"
        offset, length, digest, end = struct.unpack("<QQ32s16s", data[-64:])
        assert end == b"backupd pack end"
        directory = data[offset : offset + length]
        assert offset + length + 64 == len(data)
        assert hashlib.sha256(directory).digest() == digest
        plain = self.seal.opened("seal directory", 2, b"", directory)
        found: list[Any] = msgspec.msgpack.decode(zstd.decompress(plain))
        return found

    def _decoded(self, frame: Frame) -> bytes:
        sealed = frame.pack[frame.offset : frame.offset + frame.length]
        assert hashlib.blake2b(sealed, digest_size=16).digest() == frame.checksum
        context = msgspec.msgpack.encode([frame.name, frame.kind, frame.codec, frame.prefix])
        payload = self.seal.opened("seal frame", 1, context, sealed)
        data = self._grown(payload, frame.prefix) if frame.codec else payload
        assert frame.codec in (0, 1)
        assert len(data) == frame.raw_length
        return data

    def _grown(self, payload: bytes, names: tuple[bytes, ...]) -> bytes:
        prefix = b"".join(
            self.object(name) if len(name) == 16 else self.frame(self.frames[name])
            for name in names
        )
        raw = zstd.ZstdDict(prefix, is_raw=True).as_prefix if len(prefix) >= 8 else None
        options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 27}
        return zstd.decompress(payload, zstd_dict=raw, options=options)


class Bytes:
    """Bytes that are read from the front."""

    def __init__(self, data: bytes) -> None:
        self.rest = data

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        taken, self.rest = self.rest[:count], self.rest[count:]
        assert len(taken) == count
        return taken

    def varint(self) -> int:
        """Return the next number."""
        byte = self.take(1)[0]
        return byte if byte < 0x80 else byte & 0x7F | self.varint() << 7


class Recipe:
    """One recipe while it is followed; `conversations` are the objects met that are such."""

    def __init__(self, data: bytes, read: Callable[[bytes], bytes]) -> None:
        head = Bytes(data)
        assert head.take(1) == b"\x01"
        operations, ids, literals = (head.varint() for _ in range(3))
        self._read = read
        self._operations = Bytes(head.take(operations))
        found = head.take(ids)
        self._ids = [found[start : start + 16] for start in range(0, ids, 16)]
        self._literals = Bytes(head.take(literals))
        assert head.rest == b""
        self._fresh, self._next = 0, 0
        self.conversations: list[bytes] = []
        self.codings: set[int] = set()
        self.transforms: set[int] = set()

    def export(self) -> bytes:
        """Return the export's bytes."""
        made = b"".join(self._level())
        assert (self._literals.rest, self._fresh) == (b"", len(self._ids))
        return made

    def _level(self) -> Iterator[bytes]:
        while self._operations.rest:
            operation = self._operations.take(1)[0]
            if operation == 0:
                return
            if operation == 1:
                yield self._literals.take(self._operations.varint())
            elif operation == 2:
                yield self._member()
            else:
                yield self._piece(operation)

    def _member(self) -> bytes:
        coding, length = self._operations.varint(), self._operations.varint()
        self.codings.add(coding)
        if coding == 1:
            level, memory, strategy = (self._operations.varint() for _ in range(3))
            self._literals.take(length)
            encoder = zlib.compressobj(level, zlib.DEFLATED, -15, memory, strategy)
            return encoder.compress(b"".join(self._level())) + encoder.flush()
        size = self._operations.varint() if coding == 3 else 0
        self._literals.take(length)
        description = msgspec.msgpack.decode(self._literals.take(size)) if size else []
        content = b"".join(self._level())
        assert coding in (0, 2, 3)
        return described(content, description) if coding == 3 else content

    def _piece(self, operation: int) -> bytes:
        transform = self._operations.varint() if operation in (8, 9) else 0
        if operation in (4, 6, 8):
            number, self._fresh = self._fresh, self._fresh + 1
        else:
            assert operation in (5, 7, 9)
            zigzag = self._operations.varint()
            number = self._next + (zigzag // 2 if zigzag % 2 == 0 else -(zigzag // 2) - 1)
        self._next = number + 1
        if operation in (6, 7):
            self.conversations.append(self._ids[number])
        self.transforms.add(transform)
        return transformed(self._read(self._ids[number]), transform)


def described(content: bytes, description: list[Any]) -> bytes:
    """Return the raw deflate stream that a described encoder makes."""
    (
        level, memory, strategy, window, feed, library, _version, _mark,
        flush, period, at_end, distances,
    ) = description  # fmt: skip
    if library == "libdeflate":
        return bytes(deflate.deflate_compress(content, level))
    makers: dict[str, Callable[..., Any]] = {
        "": zlib.compressobj,
        "zlib-ng": zlib_ng.compressobj,
        "isal": isal_zlib.compressobj,
    }
    encoder = makers[library](level, zlib.DEFLATED, -window, memory, strategy)
    cuts = [sum(distances[: n + 1]) for n in range(len(distances))]
    if period:
        cuts = list(range(period, len(content), period))
        cuts += [len(content)] if at_end and content else []
    made, start = bytearray(), 0
    for cut in cuts if flush else []:
        made += _fed(encoder, content[start:cut], feed) + encoder.flush(flush)
        start = cut
    made += _fed(encoder, content[start:], feed) + encoder.flush()
    return bytes(made)


def _fed(encoder: Any, content: bytes, feed: int) -> bytes:
    step = feed or len(content) or 1
    pieces = (content[start : start + step] for start in range(0, len(content), step))
    return b"".join(map(encoder.compress, pieces))


def transformed(data: bytes, transform: int) -> bytes:
    """Return JSON after one of the transforms."""
    if transform in (2, 3):
        data = re.sub(rb"\n *", b"", re.sub(rb",\n *", b", ", data))
    elif transform in (4, 5):
        data = re.sub(rb"\n *", b"", re.sub(rb",\n *", b",", data))
        bare = re.compile(rb'(\\.)|": ', re.DOTALL)
        data = bare.sub(lambda m: m[1] or b'":', data)
    if transform in (1, 2, 4):
        for plain, escape in (
            (b"&", b"&amp;"),
            (b"<", b"&lt;"),
            (b">", b"&gt;"),
            (b"'", b"&#x27;"),
        ):
            data = data.replace(plain, escape)
        data = re.sub(
            rb"\\(.)", lambda m: b"&quot;" if m[1] == b'"' else m[0], data, flags=re.DOTALL
        )
    assert transform in range(6)
    return data


@dataclass
class Reader:
    """A repository that is read by hand."""

    root: Path
    seal: Seal = field(default_factory=Plain)

    def __post_init__(self) -> None:
        self.header = unsealed((self.root / "backupd-repository.json").read_bytes())
        self.packs = Packs(self.seal)
        self.packs.read(self.root)

    def manifests(self) -> dict[str, Json]:
        """Return the manifests by id."""
        return self._named_json("snapshots", "seal manifest", 3)

    def remainders(self) -> dict[str, Json]:
        """Return the remainders by id."""
        return self._named_json("remainders", "seal remainder", 9)

    def recipe(self, manifest: Json) -> Recipe:
        """Return the recipe of one export."""
        names = map(bytes.fromhex, manifest["recipe"])
        return Recipe(b"".join(map(self.packs.object, names)), self.packs.object)

    def beside(self, directory: str, purpose: int) -> dict[str, Json]:
        """Return the proofs (purpose 4) or pins (8) by the snapshot that they are of."""
        label = {4: "seal proof", 8: "seal pin"}[purpose]
        return {
            path.name: unsealed(
                self.seal.opened(label, purpose, path.name.encode(), path.read_bytes())
            )
            for path in (self.root / directory).iterdir()
        }

    def quarantined(self) -> dict[str, tuple[bytes, Json]]:
        """Return each quarantined file's bytes and its note, by name."""
        encrypted = self.seal if isinstance(self.seal, Encrypted) else None
        file, note = (".sealed", ".note") if encrypted else (".zip", ".json")
        found = {}
        for path in (self.root / "quarantine").glob(f"*{file}"):
            name, data = path.stem, path.read_bytes()
            data = encrypted.stream(name.encode(), data) if encrypted else data
            digest = hashlib.sha256(data).digest()
            assert name == (encrypted.file_name(digest) if encrypted else digest.hex())
            said = path.with_suffix(note).read_bytes()
            beside = unsealed(self.seal.opened("seal refusal", 6, name.encode(), said))
            found[name] = (data, beside)
        return found

    def _named_json(self, directory: str, label: str, purpose: int) -> dict[str, Json]:
        found = {}
        for path in (self.root / directory).iterdir():
            data = path.read_bytes()
            assert hashlib.sha256(data).hexdigest() == path.name
            plain = self.seal.opened(label, purpose, b"", data)
            found[path.name] = json.loads(plain)
            assert canonical(found[path.name]) == plain
        return found

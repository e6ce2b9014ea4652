"""What has replaced a credential: sealed under it, worthless without it."""

from __future__ import annotations

from backupd.credentials.succession import open_successor, seal_successor


def test_a_successor_opens_with_its_credential_only() -> None:
    sealed = seal_successor("imap-x", "first", "second")

    assert open_successor("imap-x", "first", sealed) == "second"
    assert open_successor("imap-x", "other", sealed) is None
    assert open_successor("imap-y", "first", sealed) is None


def test_the_same_successor_is_never_sealed_the_same_way() -> None:
    assert seal_successor("x", "a", "b") != seal_successor("x", "a", "b")
    assert "second" not in seal_successor("x", "first", "second")


def test_damage_is_no_successor() -> None:
    sealed = seal_successor("x", "a", "b")
    flipped = sealed[:30] + ("A" if sealed[30] != "A" else "B") + sealed[31:]

    for damaged in ("", "é", "AAAA", sealed[:-4], flipped, sealed + "!"):
        assert open_successor("x", "a", damaged) is None

"""The TLS socket under an IMAP connection, where the other side is gone before the handshake."""

from __future__ import annotations

import gc
import select
import socket
import struct
import warnings

import pytest

from backupd.mail.guard import Guard


def test_socket_that_was_reset_before_the_handshake_is_closed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        plain = socket.create_connection(server.getsockname())
        other, _ = server.accept()
        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        other.close()
        select.select([plain], [], [], 10)

        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            with pytest.raises(OSError, match="reset"):
                Guard().context(None).wrap_socket(plain, server_hostname="imap.example.org")
            gc.collect()

    assert [str(one.message) for one in told] == []

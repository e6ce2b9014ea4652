"""A small IMAP server inside this process: pymap in a thread of its own, TLS from the first byte.

It keeps mail in memory, knows one account, and serves whatever `deliver` puts into a folder, also
to a client that waits in IDLE. Only for loopback and for trying things out.
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
import threading
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any, TypeVar

from proxyprotocol.result import ProxyResultUnknown
from proxyprotocol.sock import SocketInfo
from pymap.backend.dict import DictBackend
from pymap.imap import IMAPServer, IMAPService
from pymap.parsing.message import AppendMessage
from pysasl.hashing import Cleartext

T = TypeVar("T")
_START_SECONDS = 10
_CALL_SECONDS = 10


class DemoImap:
    """An IMAP account on 127.0.0.1; use it as a context, or `start` and `stop` it."""

    def __init__(self, context: ssl.SSLContext, username: str, password: str) -> None:
        self.username = username
        self.password = password
        self.port = 0
        self._context = context
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="demo-imap", daemon=True)

    def __enter__(self) -> DemoImap:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> DemoImap:
        """Start serving; when this returns, `port` is the one to connect to.

        Raises:
            RuntimeError: the server did not come up; the cause is chained.
        """
        self._thread.start()
        if not self._ready.wait(_START_SECONDS) or self._failure is not None:
            raise RuntimeError("start demo IMAP server: it did not come up") from self._failure
        return self

    def stop(self) -> None:
        """End every connection and the thread."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(_CALL_SECONDS)

    def deliver(self, raw: bytes, received_at: datetime, folder: str = "INBOX") -> int:
        """Put a mail into a folder and return its UID; `received_at` is its INTERNALDATE."""
        return self._call(self._deliver(raw, received_at, folder))

    def create_folder(self, name: str) -> None:
        """Make a folder beside INBOX."""
        self._call(self._create(name))

    def drop_connections(self) -> int:
        """Abort every connection as a failing network would, and return how many there were."""
        return self._call(self._drop())

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._writers)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:  # noqa: BLE001 - handed to the thread that waits in start()
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._backend, config = await DictBackend.init(
            _arguments(self.username, self.password), hash_context=Cleartext()
        )
        config.apply_context()
        imap = IMAPServer(self._backend.login, config)

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            info = SocketInfo.get(writer, ProxyResultUnknown())
            self._follow(self._loop.create_task(imap(reader, writer, info)), writer)

        async with AsyncExitStack() as stack:
            await self._backend.start(stack)
            server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=self._context)
            self.port = server.sockets[0].getsockname()[1]
            self._ready.set()
            await self._stopping.wait()
            server.close()
            await self._end()

    def _follow(self, task: asyncio.Task[None], writer: asyncio.StreamWriter) -> None:
        """Remember a connection until its task ends."""
        self._tasks.add(task)
        self._writers.add(writer)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            self._writers.discard(writer)
            if not task.cancelled():
                task.exception()  # a broken connection is the client's to notice

        task.add_done_callback(ended)

    async def _end(self) -> None:
        """Break off what is still connected, and wait until nothing runs any more."""
        await self._drop()
        for task in list(self._tasks):
            task.cancel()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait(others, timeout=2) if others else None

    async def _drop(self) -> int:
        writers = list(self._writers)
        for writer in writers:
            writer.transport.abort()
        return len(writers)

    async def _deliver(self, raw: bytes, received_at: datetime, folder: str) -> int:
        async with self._backend.login.demo_user_identity.new_session() as session:
            message = AppendMessage(raw, received_at)
            appended, _ = await session.append_messages(folder, [message])
        return int(next(iter(appended.uids)))

    async def _create(self, name: str) -> None:
        async with self._backend.login.demo_user_identity.new_session() as session:
            await session.create_mailbox(name)

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_CALL_SECONDS)


def _arguments(username: str, password: str) -> argparse.Namespace:
    """Return what pymap's own command line would have parsed."""
    parser = argparse.ArgumentParser()
    DictBackend.add_subparser("dict", parser.add_subparsers(dest="backend"))
    IMAPService.add_arguments(parser)
    arguments = parser.parse_args(
        ["--no-tls", "dict", "--demo-user", username, "--demo-password", password]
    )
    arguments.debug = False
    arguments.passlib_cfg = arguments.set_uid = arguments.set_gid = None
    return arguments

"""Takes connections, so many at a time: asyncio's own server counts none before its TLS handshake is done."""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable, Container
from functools import partial

_log = logging.getLogger(__name__)

_PAUSE = 0.5  # seconds, where the system has no descriptor left
_OUT_OF = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Acceptor:
    """Accepts connections of a listening socket, in the loop that it is made in, until it is closed."""

    def __init__(
        self,
        factory: Callable[[], asyncio.Protocol],
        listening: socket.socket,
        *,
        context: ssl.SSLContext | None,
        connections: Container[object],
        has_room: Callable[[int], bool],
        handshake_seconds: float,
        shutdown_seconds: float,
    ) -> None:
        """Takes what makes a protocol, and the protocols whose connections are made; what is not made yet counts here.

        `has_room` says whether there is room beside so many of these.
        """
        self._factory = factory
        self._listening = listening
        self._connections = connections
        self._has_room = has_room
        self._context = context
        self._limits = {"ssl_handshake_timeout": handshake_seconds, "ssl_shutdown_timeout": shutdown_seconds}
        self._beginning: dict[asyncio.Task[None], asyncio.Protocol | None] = {}
        self._is_closed = False
        self._accepting = asyncio.get_running_loop().create_task(self._accept())

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(0)  # to others: `sock_accept` does not wait where somebody waits already
            try:
                connection, _ = await loop.sock_accept(self._listening)
            except OSError as error:
                if error.errno in _OUT_OF:
                    _log.debug("no connection can be taken: %s", error)
                    await asyncio.sleep(_PAUSE)
                continue  # of others, the client has gone already
            if self._is_closed:
                connection.close()
                return
            unmade = sum(protocol not in self._connections for protocol in self._beginning.values())
            if not self._has_room(unmade):
                connection.close()
                continue
            task = loop.create_task(self._begin(connection))
            self._beginning[task] = None
            task.add_done_callback(partial(self._end, connection))

    def _end(self, connection: socket.socket, task: asyncio.Task[None]) -> None:
        del self._beginning[task]
        if task.cancelled():  # maybe before it began: nobody else would close it
            connection.close()

    async def _begin(self, connection: socket.socket) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        limits = self._limits if self._context else {}

        def factory() -> asyncio.Protocol:
            protocol = self._factory()
            if task in self._beginning:
                self._beginning[task] = protocol
            return protocol

        try:
            await loop.connect_accepted_socket(factory, connection, ssl=self._context, **limits)
        except (OSError, TimeoutError):  # no TLS, or too late; asyncio has closed it
            connection.close()

    def close(self) -> None:
        """Takes no more, and gives up those that have not begun."""
        loop = asyncio.get_running_loop()
        self._is_closed = True
        loop.call_soon(self._accepting.cancel)  # not at once: what was accepted just now would never be closed
        # Now, as the socket is closed next: the selector of Windows does not bear one that is.
        loop.remove_reader(self._listening)
        for task in self._beginning:
            task.cancel()

    async def wait_closed(self) -> None:
        """Waits until that is done."""
        await asyncio.gather(self._accepting, *self._beginning, return_exceptions=True)

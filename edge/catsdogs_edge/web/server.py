"""Runs the HTTP server in a thread of its own, with sockets that give up on clients that have gone."""

import asyncio
import contextlib
import logging
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext, SSLObject, SSLSocket
from typing import Any

import h11
import uvicorn
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from catsdogs_edge.errors import DataError, OutputError
from catsdogs_edge.web.acceptor import Acceptor
from catsdogs_edge.web.app import make_app
from catsdogs_edge.web.endpoint import ServerContext
from catsdogs_edge.web.options import Access

_log = logging.getLogger(__name__)

_UNSENT = 32 * 1024  # bytes that may wait in the kernel: frames that wait there are out of date
_SILENT_MS = 8_000  # a client that takes nothing for so long has gone
_MOST_CONNECTIONS = 256
_HEAD_SECONDS = 10.0  # for a request to begin, and its head to arrive
_SECONDS_TO_END = 1
_SECONDS_TO_START = 20.0
_SECONDS_BETWEEN_RENEWALS = 60.0  # looks at the certificate


class CoalescingConnection(h11.Connection):
    """Sends the head of an answer together with its body; uvicorn calls the kernel once for each.

    That is a tenth of what a viewer costs. The head of a stream goes at once: its body may take a while.
    """

    _head = b""

    def send(self, event: h11.Event) -> bytes | None:  # type: ignore[override] # overloaded there, for the same types
        """Returns what is to be sent now; None at the end of the connection."""
        data = super().send(event)
        if data is None:
            return None
        if type(event) is h11.Response and any(name == b"content-length" for name, _ in event.headers):
            self._head = data
            return b""
        data, self._head = self._head + data, b""
        return data


class _ImpatientProtocol(H11Protocol):
    """Ends connections that send no whole request head in time; uvicorn does not."""

    _timer: asyncio.TimerHandle | None = None

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.conn = CoalescingConnection(h11.SERVER)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Takes a connection."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Takes a part of a request."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the connection."""
        super().connection_lost(exc)
        if self._timer:
            self._timer.cancel()

    def _watch(self) -> None:
        if self._is_waiting and self._timer is None:
            self._timer = self.loop.call_later(_HEAD_SECONDS, self._give_up)
        elif not self._is_waiting and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def _is_waiting(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _give_up(self) -> None:
        self._timer = None
        if self._is_waiting:
            self.transport.abort()  # not `close`, which waits for a client that says nothing

    def _unsupported_upgrade_warning(self) -> None:
        """Says nothing: any client could fill the log."""


class WebServer:
    """Serves from its start until `close`.

    Attributes:
        url: Where a browser on this machine finds it.
        where: The same for people: with the word that other machines find it, too.
    """

    def __init__(self, context: ServerContext) -> None:
        """Listens and starts; raises `OutputError` where the port is taken, `DataError` for a certificate."""
        access = context.access
        self._context = context
        self._access = access
        listening = _listen(access)
        host, port = listening.getsockname()[:2]
        name = "127.0.0.1" if host == "0.0.0.0" else "[::1]" if host == "::" else host  # noqa: S104 - to compare
        self.url = f"{access.scheme}://{f'[{name}]' if ':' in name and name[0] != '[' else name}:{port}/"
        self.where = self.url + (" and this machine's other addresses" if name != host else "")
        self._started = threading.Event()
        config = uvicorn.Config(
            make_app(context),
            access_log=False,  # addresses may hold what is nobody's business
            http=_ImpatientProtocol,
            lifespan="off",
            log_config=None,
            loop="asyncio",
            proxy_headers=access.trust_proxy,
            forwarded_allow_ips=["127.0.0.1", "::1"],
            server_header=False,
            ssl_certfile=access.certificate,
            ssl_keyfile=access.key,
            timeout_graceful_shutdown=_SECONDS_TO_END,
            ws="none",
        )
        logging.getLogger("uvicorn.access").disabled = True  # whatever handlers a program has
        for logger in ("uvicorn.error", "python_multipart"):  # any client could fill the log with what is no request
            logging.getLogger(logger).setLevel(logging.ERROR)
        try:
            config.load()
        except OSError as error:  # SSL's own errors are of that kind, too
            listening.close()
            raise DataError(f"{access.certificate} and {access.key} cannot be used: {error}") from error
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, args=(listening,), name="catsdogs-web", daemon=True)
        self._thread.start()
        self._started.wait(_SECONDS_TO_START)

    @property
    def is_running(self) -> bool:
        """Whether it still serves."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Ends streams, then the server, then the threads that work for it."""
        camera = self._context.camera
        if camera:
            camera.hub.close()
        self._server.should_exit = True
        self._thread.join(2 * _SECONDS_TO_END + 2)
        self._context.inference.close()
        if camera:
            camera.hub.release()

    def _run(self, listening: socket.socket) -> None:
        # Windows' own loop stops listening when a client goes away too early (python/cpython#93821)
        factory = asyncio.SelectorEventLoop if sys.platform == "win32" else None
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(self._serve(listening))

    async def _serve(self, listening: socket.socket) -> None:
        if self._context.camera:
            self._context.camera.hub.attach(asyncio.get_running_loop())
        asyncio.get_running_loop().create_server = self._accept  # type: ignore[method-assign, assignment]
        self._started.set()
        renewal = asyncio.create_task(self._renew_certificate())
        await self._server.serve(sockets=[listening])
        renewal.cancel()
        for connection in list(self._server.server_state.connections):  # that came while it ended
            if isinstance(connection, H11Protocol) and connection.transport:
                connection.transport.abort()
        await asyncio.sleep(0)  # the loop closes them

    async def _renew_certificate(self) -> None:
        """Takes up a certificate that was renewed, for new connections; names one that cannot be used, and keeps on."""
        first, certificate, key = self._server.config.ssl, self._access.certificate, self._access.key
        if first is None or certificate is None or key is None:
            return
        newest, known = first, _times(certificate, key)

        def choose(connection: SSLSocket | SSLObject, _name: str | None, _context: SSLContext) -> None:
            connection.context = newest  # one for all: a context keeps a certificate for each kind of key

        first.sni_callback = choose  # type: ignore[assignment, unused-ignore]
        while True:
            await asyncio.sleep(_SECONDS_BETWEEN_RENEWALS)
            if (now := _times(certificate, key)) == known:
                continue
            known = now
            try:
                renewed = SSLContext(PROTOCOL_TLS_SERVER)
                renewed.load_cert_chain(certificate, key)
                newest = renewed
            except OSError as error:
                _log.warning("%s and %s were changed, and cannot be used: %s", certificate, key, error)

    async def _accept(
        self,
        factory: Callable[[], asyncio.Protocol],
        *,
        sock: socket.socket,
        ssl: SSLContext | None,
        backlog: int,
    ) -> Acceptor:
        """Stands in for `loop.create_server`, which uvicorn calls."""
        connections = self._server.server_state.connections
        return Acceptor(
            factory,
            sock,
            context=ssl,
            connections=connections,
            has_room=lambda unmade: unmade + len(connections) < _MOST_CONNECTIONS,
            handshake_seconds=_HEAD_SECONDS,
            shutdown_seconds=_SECONDS_TO_END,
        )


def _times(*files: Path) -> list[int]:
    """Returns when files were changed, in nanoseconds; 0 for one that is gone."""
    times = []
    for file in files:
        try:
            times.append(file.stat().st_mtime_ns)
        except OSError:
            times.append(0)
    return times


def _listen(access: Access) -> socket.socket:
    """Opens the listening socket; what is set on it holds for all connections."""
    family = socket.AF_INET6 if ":" in access.host else socket.AF_INET
    # With the protocol named: else asyncio leaves TCP_NODELAY off, and each answer takes 40 ms more
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":  # there it would share the port with another program
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for name, value in (("TCP_NOTSENT_LOWAT", _UNSENT), ("TCP_USER_TIMEOUT", _SILENT_MS)):
            if hasattr(socket, name):
                with contextlib.suppress(OSError):  # a kernel without it
                    listening.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        if family == socket.AF_INET6:  # `[::]` is every address, also on Windows
            with contextlib.suppress(OSError):
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.bind((access.host, access.port))
        listening.listen(_MOST_CONNECTIONS)  # at once: who reads the address may ask before the server has started
    except OSError as error:
        listening.close()
        where = f"{access.host}:{access.port}"
        raise OutputError(f"{where} cannot be listened on: {error.strerror}; choose another address") from error
    listening.setblocking(False)
    return listening

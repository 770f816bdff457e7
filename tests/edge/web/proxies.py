"""What stands between a browser and a server: a reverse proxy with a prefix, a slow line."""

import contextlib
import socket
import threading
import time
from urllib.parse import urlsplit


class Proxy:
    """Forwards connections to a server, whose address may change; use it in a `with` block.

    `prefix` is taken off the path of each request. `rate` is the bytes a second of each connection.

    Attributes:
        received: Bytes that the server has sent.
    """

    def __init__(self, url: str, prefix: str = "", rate: float = 0.0) -> None:
        self.received = 0
        self._prefix = prefix.encode()
        self._rate = rate
        self.target = url
        self._socket = socket.create_server(("127.0.0.1", 0))
        if rate:  # or what the kernel keeps would be more than the line
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}{prefix}/"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                connection, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        """Forwards one request: the connection ends with its answer."""
        with contextlib.suppress(OSError), client:
            head = b""
            while b"\r\n\r\n" not in head:
                chunk = client.recv(65536)
                if not chunk:
                    return
                head += chunk
            line, _, rest = head.partition(b"\r\n")
            method, path, version = line.split(b" ")
            if not path.startswith(self._prefix + b"/"):
                client.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            line = b" ".join([method, path[len(self._prefix) :], version])
            address = urlsplit(self.target)
            assert address.hostname is not None
            assert address.port is not None
            with socket.socket() as server:
                if self._rate:
                    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
                try:
                    server.connect((address.hostname, address.port))
                except OSError:
                    client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    return
                server.sendall(line + b"\r\nConnection: close\r\n" + rest)
                threading.Thread(target=self._send_rest, args=(client, server), daemon=True).start()
                while chunk := server.recv(4096 if self._rate else 65536):
                    self.received += len(chunk)
                    client.sendall(chunk)
                    if self._rate:
                        time.sleep(len(chunk) / self._rate)
            client.shutdown(socket.SHUT_RDWR)  # closed alone, it would stay open while the other thread reads from it

    @staticmethod
    def _send_rest(client: socket.socket, server: socket.socket) -> None:
        """Forwards what is left of a request's body, and ends the answer when the client has gone."""
        with contextlib.suppress(OSError):
            while chunk := client.recv(65536):
                server.sendall(chunk)
            server.shutdown(socket.SHUT_RDWR)

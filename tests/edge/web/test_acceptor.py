import asyncio
import selectors
import socket
from collections.abc import Callable

from catsdogs_edge.web.acceptor import Acceptor


class Greeting(asyncio.Protocol):
    """Says one byte, and stays."""

    def __init__(self, made: set[object]) -> None:
        self._made = made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._made.add(self)
        transport.write(b"!")


def accept(listening: socket.socket, most: int) -> Acceptor:
    made: set[object] = set()
    has_room: Callable[[int], bool] = lambda unmade: unmade + len(made) < most  # noqa: E731
    return Acceptor(
        lambda: Greeting(made),
        listening,
        context=None,
        connections=made,
        has_room=has_room,
        handshake_seconds=1,
        shutdown_seconds=1,
    )


def listen() -> socket.socket:
    listening = socket.create_server(("127.0.0.1", 0), backlog=256)
    listening.setblocking(False)
    return listening


async def ask(listening: socket.socket, count: int) -> list[bytes]:
    streams = [await asyncio.open_connection(*listening.getsockname()) for _ in range(count)]
    return list(await asyncio.gather(*(reader.read(1) for reader, _ in streams)))


def test_as_many_as_may_be_at_a_time_are_taken_and_the_others_closed() -> None:
    async def main() -> list[bytes]:
        listening = listen()
        acceptor = accept(listening, 40)
        answers = await ask(listening, 50)
        acceptor.close()
        listening.close()
        await acceptor.wait_closed()
        return answers

    answers = asyncio.run(main())
    assert (answers.count(b"!"), answers.count(b"")) == (40, 10)


def test_a_selector_that_bears_no_closed_socket_goes_on() -> None:
    """As on Windows: uvicorn closes the socket at once."""

    async def main() -> None:
        listening = listen()
        acceptor = accept(listening, 4)
        await ask(listening, 1)
        acceptor.close()
        listening.close()
        await asyncio.sleep(0.05)
        await acceptor.wait_closed()

    def loop() -> asyncio.AbstractEventLoop:
        return asyncio.SelectorEventLoop(selectors.SelectSelector())

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


def test_what_is_accepted_while_it_is_closed_is_closed_too() -> None:
    async def main() -> list[bytes]:
        listening = listen()
        acceptor = accept(listening, 40)
        loop, streams = asyncio.get_running_loop(), []
        for _ in range(20):
            client = socket.create_connection(listening.getsockname())
            client.setblocking(False)
            streams.append(client)
        await asyncio.sleep(0)  # it has begun with some of them
        await asyncio.sleep(0)
        acceptor.close()
        listening.close()
        await acceptor.wait_closed()
        answers = []
        for client in streams:
            try:
                answers.append(await asyncio.wait_for(loop.sock_recv(client, 1), 5))
            except ConnectionResetError:
                answers.append(b"")
            client.close()
        return answers

    assert set(asyncio.run(main())) <= {b"", b"!"}

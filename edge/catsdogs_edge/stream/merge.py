"""Several streams of results as one, each at its own pace."""

import queue
import threading
import time
from collections.abc import Generator, Iterator, Sequence

from catsdogs_edge.stream.frame_result import FrameResult

_LONGEST_WAIT = 0.5  # seconds until a thread looks whether it is to end

Results = Generator[FrameResult, None, None]


def merge(streams: Sequence[Results]) -> Results:
    """Yields the results of several streams as they come, until all have ended; raises the first error of any.

    Each stream runs in a thread of its own, and is closed there: at its end, or when nobody asks any more.
    """
    results: queue.Queue[FrameResult | Exception | None] = queue.Queue(len(streams))
    ended = threading.Event()
    threads = [
        threading.Thread(target=_run, args=(stream, results, ended), name="catsdogs-stream", daemon=True)
        for stream in streams
    ]
    try:
        for thread in threads:
            thread.start()
        yield from _take(results, len(threads))
    finally:
        ended.set()
        deadline = time.monotonic() + 2 * _LONGEST_WAIT  # one whose driver hangs is left alone
        for thread in threads:
            if thread.ident is not None:  # it was started
                thread.join(max(deadline - time.monotonic(), 0.0))


def _take(results: "queue.Queue[FrameResult | Exception | None]", running: int) -> Iterator[FrameResult]:
    while running:
        try:
            item = results.get(timeout=_LONGEST_WAIT)  # not for ever: on Windows, Ctrl-C would wait, too
        except queue.Empty:
            continue
        if isinstance(item, Exception):
            raise item
        if item is None:
            running -= 1
        else:
            yield item


def _run(stream: Results, results: "queue.Queue[FrameResult | Exception | None]", ended: threading.Event) -> None:
    def put(item: FrameResult | Exception | None) -> None:
        while not ended.is_set():
            try:
                results.put(item, timeout=_LONGEST_WAIT)
            except queue.Full:
                continue
            return

    try:
        for result in stream:
            put(result)
            if ended.is_set():
                break
        put(None)
    except Exception as error:  # noqa: BLE001 - raised again, in the thread that asks
        put(error)
    finally:
        stream.close()

"""A bar with rate and time left on standard error, where that is a terminal."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import takewhile

from catsdogs_edge.errors import CatsDogsError


@contextmanager
def progress(images: Iterable[object] | int | None, *, done: int = 0) -> Iterator[Callable[[int], object]]:
    """Shows a bar during the block; yields a function to call with the number of images that are done now.

    `images` are what there is to do, found once more in a thread of its own to count it, because a million names are
    not kept; or how many that is, with the `done` ones; or None where it cannot be known, as with a list on standard
    input.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - 45 ms that only a terminal should wait
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    stop = threading.Event()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=images if isinstance(images, int) else None, completed=done, rate="")

        def count(images: Iterable[object]) -> None:
            with contextlib.suppress(CatsDogsError):  # who classifies them will meet it, too
                bar.update(task, total=sum(1 for _ in takewhile(lambda _: not stop.is_set(), images)))

        if images is not None and not isinstance(images, int):
            threading.Thread(target=count, args=(images,), name="catsdogs-count", daemon=True).start()
        try:
            yield lambda count: bar.update(task, advance=count, rate=f"{bar.tasks[0].speed or 0:.0f} images/s")
        finally:
            stop.set()

"""A bar with rate and time left on standard error, where that is a terminal."""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
from rich.text import Text

from catsdogs_edge.errors import CatsDogsError


class _Rate(ProgressColumn):
    """Pictures a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:.0f} pictures/s")


@contextmanager
def progress(paths: Iterable[Path] | None) -> Iterator[Callable[[], object]]:
    """Shows a bar during the block; gives a function to call for each picture.

    Args:
        paths: What there is to do, found once more in a thread of its own to count it: a million names are not kept.
            None where that cannot be known, as with a list on standard input.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda: None
        return
    stop = threading.Event()
    with Progress(
        BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn(), console=console, transient=True
    ) as bar:
        task = bar.add_task("", total=None)

        def count(paths: Iterable[Path]) -> None:
            with contextlib.suppress(CatsDogsError):  # who classifies them will meet it, too
                bar.update(task, total=sum(1 for _ in takewhile(lambda _: not stop.is_set(), paths)))

        if paths is not None:
            threading.Thread(target=count, args=(paths,), name="catsdogs-count", daemon=True).start()
        try:
            yield lambda: bar.advance(task)
        finally:
            stop.set()

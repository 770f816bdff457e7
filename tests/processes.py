"""Processes and threads that tests start."""

import contextlib
import re
import subprocess
import threading
from collections.abc import Iterator
from typing import AnyStr

import pytest


@contextlib.contextmanager
def ending(process: "subprocess.Popen[AnyStr]") -> Iterator["subprocess.Popen[AnyStr]"]:
    """Waits for a process at the end of the block, as `Popen` does, and kills it first where the block fails.

    `Popen` alone would wait without end for a server that nobody stops any more, and the failure be never seen.
    """
    with process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


@contextlib.contextmanager
def started(*command: object) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Starts a command that says where its page is, and returns it with that address; kills it at the end."""
    process = subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr
    said = []
    try:
        for line in process.stderr:
            said.append(line)
            if address := re.search(r"https?://[^\s/]+/(?=[;\s])", line):  # a page's, not a camera's
                yield process, address[0]
                return
        pytest.fail(f"it ended without an address: {said}")
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def join(*threads: threading.Thread, seconds: float = 60.0) -> None:
    """Waits until threads have ended; fails where one has not: without a limit, it would be waited for without end."""
    for thread in threads:
        thread.join(seconds)
        assert not thread.is_alive(), f"{thread.name} does not end"

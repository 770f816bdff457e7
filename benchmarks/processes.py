"""Runs each thing that is measured in a process of its own, several times in turn, and gives medians; also of calls.

In one process, engines disturb each other: idle threads of one keep the cores from the other.
"""

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from catsdogs_edge.runtime.cpu import Cpu, usable_cpus


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process took: medians over its runs."""

    wall: float
    """Seconds from start to end."""
    cpu: float
    """Seconds of all cores, in the program and in the system."""
    memory: float
    """Largest resident set in MB (2**20 bytes)."""


def measure(commands: Mapping[str, Sequence[str | Path]], runs: int) -> dict[str, Cost]:
    """Runs commands in turn.

    Args:
        commands: By name; what they print is thrown away.
        runs: Of each.

    Raises:
        RuntimeError: One failed.
    """
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            costs[name].append(_run(command))
    return {
        name: Cost(*(statistics.median(getattr(cost, field) for cost in found) for field in ("wall", "cpu", "memory")))
        for name, found in costs.items()
    }


def median_ms(call: Callable[[], object], runs: int, warm_up: int) -> float:
    """Returns the median of what a call takes in this process, in milliseconds, after some that do not count."""
    seconds = []
    for _ in range(warm_up + runs):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds[warm_up:])


def per_image(one: Cost, every: Cost, count: int) -> float:
    """Returns the milliseconds of an image without the start, of a process on one image and of one on `count`."""
    return 1000 * (every.wall - one.wall) / (count - 1)


def machine() -> str:
    """Describes where this ran."""
    cpu = Cpu.detect()
    vnni = "with VNNI" if cpu.has_vnni else "without VNNI"
    return f"{usable_cpus()} cores of {cpu.machine} {vnni}, {platform.system()}, Python {platform.python_version()}"


def _run(command: Sequence[str | Path]) -> Cost:
    start = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr  # noqa: S101 - for mypy; it is a pipe
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command} failed: {said.decode(errors='replace')}")
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return Cost(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / scale)

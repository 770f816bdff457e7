"""What this CPU can do for INT8, and how much of it a process may use."""

import math
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Cpu:
    """A processor as far as INT8 speed and accuracy depend on it."""

    machine: str
    """`x86_64`, `arm64` or what else the system calls it, in lower case."""
    features: frozenset[str]
    """Flags in the system's spelling; empty where the system does not tell."""
    name: str = ""
    """The name, such as `AMD EPYC`; empty where the system does not tell."""

    @classmethod
    def detect(cls) -> "Cpu":
        """Looks at the machine that this runs on; features and name are known on Linux only."""
        machine = {"amd64": "x86_64", "aarch64": "arm64"}.get(platform.machine().lower(), platform.machine().lower())
        listing = Path("/proc/cpuinfo")
        flags: set[str] = set()
        model = ""
        if listing.is_file():
            for line in listing.read_text(encoding="utf-8", errors="replace").splitlines():
                name, _, value = line.partition(":")
                if name.strip() in {"flags", "Features"}:
                    flags.update(value.split())
                elif name.strip() == "model name":
                    model = value.strip()
        return cls(machine, frozenset(flags), model)

    @property
    def has_vnni(self) -> bool:
        """x86 adds up products of 8-bit numbers in 32 bits; without it, in 16 bits that can overflow."""
        return bool({"avx512_vnni", "avx_vnni"} & self.features)

    @property
    def has_amx(self) -> bool:
        """Intel: multiplies whole tiles of 8-bit numbers, which OpenVINO makes more of than ONNX Runtime's own code."""
        return "amx_int8" in self.features

    @property
    def has_dot_product(self) -> bool:
        """ARM multiplies and adds four 8-bit numbers at once; without it, INT8 is hardly faster than FP32."""
        return "asimddp" in self.features


def usable_cpus(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Counts the CPUs that this process may use: at least 1."""
    return allowed_cpus(cgroup) or os.cpu_count() or 1


def allowed_cpus(cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Counts the CPUs to which this process is limited, by affinity or by a container; None if it may use all.

    `os.cpu_count` counts those of the machine: as many threads in a container of one CPU only take turns. Linux shows a
    container's limits in control groups, version 2 or 1; they are rounded up to whole CPUs.
    """
    everything = os.cpu_count() or 1
    limits = [everything]
    if hasattr(os, "sched_getaffinity"):
        limits.append(len(os.sched_getaffinity(0)))
    v1 = _numbers(cgroup / "cpu" / "cpu.cfs_quota_us") + _numbers(cgroup / "cpu" / "cpu.cfs_period_us")
    quotas = (_numbers(cgroup / "cpu.max"), v1)
    limits += [math.ceil(quota[0] / quota[1]) for quota in quotas if len(quota) == 2 and min(quota) > 0]
    return min(limits) if min(limits) < everything else None


def _numbers(file: Path) -> tuple[int, ...]:
    """Reads whole numbers; none where there is no such file, or it says `max`."""
    words = file.read_text(encoding="ascii").split() if file.is_file() else []
    return tuple(map(int, words)) if all(word.lstrip("-").isdecimal() for word in words) else ()


def busy_share(seconds: float = 1.0, listing: Path = Path("/proc/stat")) -> float | None:
    """Waits, and returns the share of this process's CPUs, 0 to 1, that was at work meanwhile; None if it is not known.

    What a host takes away from a virtual machine counts as work.
    """
    before = _ticks(listing)
    if before is None:
        return None
    time.sleep(seconds)
    busy, total = (after - earlier for after, earlier in zip(_ticks(listing) or before, before, strict=True))
    return busy / total if total else None  # a container may number the CPUs in another way


def _ticks(listing: Path) -> tuple[int, int] | None:
    """Reads how long the CPUs that may be used have worked, and have been there, in ticks of the kernel."""
    if not listing.is_file() or not hasattr(os, "sched_getaffinity"):
        return None
    usable = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    busy = total = 0
    for line in listing.read_text(encoding="ascii").splitlines():
        name, *numbers = line.split()
        if name in usable:
            # user, nice, system, idle, iowait, irq, softirq, steal (proc_stat(5)); guest time is in user time already
            times = list(map(int, numbers[:8]))
            busy += sum(times) - times[3] - times[4]
            total += sum(times)
    return busy, total

"""What this machine offers: wheels, CPU, execution providers, cameras, display."""

import platform
from dataclasses import dataclass
from pathlib import Path

import cv2
import onnxruntime as ort

from catsdogs_edge.capture.cameras import Camera, find_cameras
from catsdogs_edge.errors import ProviderError
from catsdogs_edge.runtime.cpu import Cpu, usable_cpus
from catsdogs_edge.runtime.display import why_no_window
from catsdogs_edge.runtime.providers import Provider
from catsdogs_edge.runtime.session import open_session
from catsdogs_edge.runtime.wheels import installed_wheels, wheel_conflicts

PROBE = Path(__file__).with_name("probe.onnx")
"""One convolution, from tests/edge/make_probe_model.py."""


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine, as far as it matters here."""

    versions: dict[str, str]
    """Versions of Python, ONNX Runtime and OpenCV."""
    wheels: dict[str, list[str]]
    """Installed wheels, by family."""
    conflicts: list[str]
    """Wheels that overwrite each other's files, and what to do; empty where all is well."""
    cpu: str
    cpus: int
    """Cores that this process may use."""
    vnni: bool | None
    """Whether the CPU is an x86 with VNNI, which makes INT8 fast and exact; None where the system does not tell."""
    dot_product: bool | None
    """Whether the CPU is an ARM with the dot product instructions, which make INT8 fast; None likewise."""
    int8_note: str
    """What to expect of INT8 on this CPU; empty where there is nothing to say."""
    providers: dict[str, str]
    """For each provider of this ONNX Runtime: `ok`, or why it does not work here."""
    cameras: list[Camera]
    """The cameras that the system knows; they are not opened."""
    display: str
    """`ok`, or why there can be no window."""

    @classmethod
    def detect(cls) -> "Machine":
        """Looks at the machine that this runs on."""
        cpu = Cpu.detect()
        return cls(
            {"Python": platform.python_version(), "ONNX Runtime": ort.__version__, "OpenCV": cv2.__version__},
            installed_wheels(),
            wheel_conflicts(),
            cpu.machine,
            usable_cpus(),
            cpu.has_vnni if cpu.features else None,
            cpu.has_dot_product if cpu.features else None,
            _int8_note(cpu),
            {provider.value: _try(provider) for provider in _offered()},
            find_cameras(),
            why_no_window() or "ok",
        )

    def describe(self) -> list[str]:
        """Describes the machine in a few lines."""
        families = "; ".join(", ".join(names) for names in self.wheels.values() if names)
        feature = "dot product" if self.cpu == "arm64" else "VNNI"
        has = self.dot_product if self.cpu == "arm64" else self.vnni
        known = "the system does not tell" if has is None else "yes" if has else "no"
        lines = [
            f"Python {self.versions['Python']}; {families}",
            f"CPU        {self.cpu}, {self.cpus} usable, {feature}: {known}",
            *(f"provider   {name}: {verdict}" for name, verdict in self.providers.items()),
            *(f"camera     {item.index}: {item.name} ({item.path}): {item.permission}" for item in self.cameras),
        ]
        if not self.cameras:
            lines.append("camera     none")
        return [*lines, f"display    {self.display}", *(f"CONFLICT   {conflict}" for conflict in self.conflicts)]


def _offered() -> list[Provider]:
    available = ort.get_available_providers()
    return [item for item in Provider if item is not Provider.AUTO and item.onnx_name in available]


def _try(provider: Provider) -> str:
    try:
        open_session(PROBE, provider)
    except ProviderError as error:
        return str(error)
    return "ok"


def _int8_note(cpu: Cpu) -> str:
    if not cpu.features:
        return ""
    if cpu.machine == "x86_64" and not cpu.has_vnni:
        return "this CPU has no VNNI: export models of your own with --target x86, or they can lose accuracy here"
    if cpu.machine == "arm64" and not cpu.has_dot_product:
        return "this CPU has no dot product instructions: expect INT8 to be hardly faster than fp32"
    if cpu.has_amx and Provider.OPENVINO not in _offered():
        return "this CPU has AMX: INT8 is about twice as fast with the extra edge-openvino, in a fresh environment"
    return ""

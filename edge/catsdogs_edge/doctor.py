"""Examines a model file on the machine that it is to run on."""

import json
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import onnxruntime as ort

from catsdogs_edge import selftest
from catsdogs_edge.classifier import Classifier
from catsdogs_edge.contract import Precision
from catsdogs_edge.cpu import Cpu
from catsdogs_edge.providers import Provider


@dataclass(frozen=True, slots=True)
class Report:
    """What was found."""

    model: str
    """The file."""
    provider: str
    """ONNX Runtime's name of what it ran on."""
    precision: Precision
    """Of the file."""
    outcome: selftest.Outcome
    """Of the file's own test."""
    seconds: float
    """That the test took."""
    versions: dict[str, str]
    """Of Python, ONNX Runtime and OpenCV."""
    machine: str
    """Of the CPU."""
    int8_note: str
    """What INT8 is to expect of this CPU; empty where nothing is in the way."""

    def to_json(self) -> str:
        """Gives all of it, and the verdict, as JSON."""
        verdict = {"passed": self.outcome.passed, "largest_difference": self.outcome.largest}
        return json.dumps(asdict(self) | verdict, indent=2)

    def describe(self) -> str:
        """Says it in a few lines, the verdict last."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        lines = [f"{versions}; {self.machine}", f"{self.model}: {self.precision.value} on {self.provider}"]
        if self.precision is Precision.INT8 and self.int8_note:
            lines.append(self.int8_note)
        lines += [f"  {name:<12} differs by {value:.2g}" for name, value in self.outcome.differences.items()]
        lines.append(f"  file         {'unchanged' if self.outcome.intact else 'CHANGED since it was published'}")
        if not self.outcome.consistent:
            lines.append("  its probabilities are NOT the softmax of its logits")
        lines.append(
            f"{'PASS' if self.outcome.passed else 'FAIL'}: largest difference of logits {self.outcome.largest:.2g}, "
            f"allowed {self.outcome.tolerance:.2g} ({self.seconds:.2f} s)",
        )
        return "\n".join(lines)


def examine(model: Path, provider: Provider) -> Report:
    """Runs a model file's own test.

    Args:
        model: From `catsdogs-export`.
        provider: Where to run it.

    Raises:
        ModelError: The file is missing, broken, or carries no test.
        ProviderError: The named provider does not run here.
    """
    start = time.perf_counter()
    classifier = Classifier.load(model, provider)
    outcome = selftest.run(classifier, model)
    cpu = Cpu.this()
    return Report(
        str(model),
        classifier.provider,
        classifier.contract.precision,
        outcome,
        time.perf_counter() - start,
        {"Python": platform.python_version(), "ONNX Runtime": ort.__version__, "OpenCV": cv2.__version__},
        cpu.machine,
        _int8_note(cpu),
    )


def _int8_note(cpu: Cpu) -> str:
    if not cpu.features:
        return ""
    if cpu.machine == "x86_64" and not cpu.has_vnni:
        return "this CPU has no VNNI: use a file exported with --target x86, another one can lose accuracy here"
    if cpu.machine == "arm64" and not cpu.has_dot_product:
        return "this CPU has no dot product instructions: expect INT8 to be hardly faster than fp32"
    return ""

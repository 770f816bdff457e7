"""Examines a machine, and a model file on it."""

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from catsdogs_edge.doctor.machine import PROBE, Machine
from catsdogs_edge.model import selftest
from catsdogs_edge.model.bundled import MODEL
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.contract import Precision
from catsdogs_edge.runtime.providers import Provider
from catsdogs_edge.runtime.session import open_session


@dataclass(frozen=True, slots=True)
class ModelReport:
    """How a model file does here."""

    path: str
    provider: str
    operators: dict[str, int]
    precision: Precision
    outcome: selftest.Outcome
    seconds: float
    """Time that loading and the test took."""

    def describe(self) -> list[str]:
        """Describes the test in a few lines, the verdict last."""
        outcome = self.outcome
        placed = ", ".join(f"{count} operators on {name}" for name, count in self.operators.items())
        lines = [f"{self.path}: {self.precision.value} on {self.provider} ({placed})"]
        lines += [f"  {name:<12} differs by {value:.2g}" for name, value in outcome.differences.items()]
        lines.append(f"  file         {'unchanged' if outcome.intact else 'CHANGED since it was published'}")
        if not outcome.consistent:
            lines.append("  its probabilities are NOT the softmax of its logits")
        if not outcome.familiar:
            lines.append("  its familiarity scores are NOT what they were")
        verdict = "PASS" if outcome.passed else "FAIL"
        differ = f"largest difference of logits {outcome.largest:.2g}, allowed {outcome.tolerance:.2g}"
        return [*lines, f"{verdict}: {differ} ({self.seconds:.2f} s)"]


@dataclass(frozen=True, slots=True)
class Report:
    """What was found."""

    machine: Machine
    model: ModelReport | None

    @property
    def passed(self) -> bool:
        """Whether no wheels are in each other's way, and the model, if there is one, passed its test."""
        return not self.machine.conflicts and (self.model is None or self.model.outcome.passed)

    def to_json(self) -> str:
        """Returns all of it, and the verdict, as JSON."""
        found = {"passed": self.passed} | asdict(self)
        if self.model:
            outcome = self.model.outcome
            found["model"] |= {"passed": outcome.passed, "largest_difference": _finite(outcome.largest)}
            differences = {name: _finite(value) for name, value in outcome.differences.items()}
            found["model"]["outcome"]["differences"] = differences
        return json.dumps(found, indent=2, allow_nan=False)

    def describe(self) -> str:
        """Describes machine and model in lines, the verdict last."""
        lines = self.machine.describe()
        if self.model:
            if self.model.precision is Precision.INT8 and self.machine.int8_note:
                lines.append(f"note       {self.machine.int8_note}")
            lines += self.model.describe()
        return "\n".join(lines)


def _finite(value: float) -> float | None:
    """Returns a number as JSON may have it."""
    return value if math.isfinite(value) else None


def examine(model: Path | None, provider: Provider) -> Report:
    """Looks at this machine, and runs a model file's own test; raises `ModelError` for a file that cannot.

    Without a file, it is the one that comes with the package or, for a named provider, which may want floats, a
    convolution. Raises `ProviderError` where the named provider does not run here.
    """
    if model is None and provider is not Provider.AUTO:
        open_session(PROBE, provider)
        return Report(Machine.detect(), None)
    return Report(Machine.detect(), _test(model or MODEL, provider))


def _test(path: Path, provider: Provider) -> ModelReport:
    start = time.perf_counter()
    classifier = Classifier.load(path, provider, allow_changed=True)
    outcome, precision = selftest.run(classifier, path), classifier.contract.precision
    seconds = time.perf_counter() - start
    return ModelReport(str(path), classifier.provider, classifier.placement(), precision, outcome, seconds)

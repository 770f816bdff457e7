"""Which model answers, and where: the same in every row."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.contract import NEITHER, Precision
from catsdogs_edge.output.files import sha256


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """A model file that is open on an execution provider."""

    classes: tuple[str, ...]
    """Names of the probabilities, in the order of the contract."""
    provider: str
    """ONNX Runtime's name of what it runs on."""
    precision: Precision
    path: Path
    labels: tuple[str, ...]
    """All possible answers: the classes and, where the model can tell and may, neither."""
    has_familiarity: bool
    """Whether the file has the score that "neither" takes."""
    has_maps: bool
    """Whether the file can say where in an image its answers come from."""

    @classmethod
    def from_classifier(cls, classifier: Classifier, path: Path) -> "ModelInfo":
        """Describes a classifier that was loaded from `path`."""
        contract = classifier.contract
        return cls(
            classes=contract.classes,
            provider=classifier.provider,
            precision=contract.precision,
            path=path,
            labels=classifier.labels,
            has_familiarity=contract.familiarity is not None,
            has_maps=classifier.has_maps,
        )

    def row_fields(self) -> dict[str, str]:
        """Returns the fields of every row: the provider, and the file's SHA-256 as `sha256sum` prints it."""
        return {"provider": self.provider, "model": self.sha256}

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file in hexadecimal; read once, when it is asked for first."""
        return sha256(self.path)

    def describe(self) -> str:
        """Describes the model in a few words."""
        words = f"{self.path.name} ({self.precision.value}) on {self.provider}"
        return words if self.has_familiarity else f"{words}; it has no familiarity score, so it cannot say '{NEITHER}'"

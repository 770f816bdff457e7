"""Compares models on three levels; what differs beyond a limit is never published.

(A) same tensors: Keras against ONNX fp32, logits. Finds a wrong conversion.
(B) same files: Keras behind our decode against the edge runner, labels and probabilities. Finds a runner
    that reads, turns, resizes or orders colours in another way.
(C) labelled pictures: a smaller precision against fp32, labels, accuracy and familiarity. Finds a lossy quantization.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from catsdogs_edge.classifier import Classifier
from catsdogs_edge.contract import Contract
from catsdogs_edge.errors import ParityError
from catsdogs_edge.folder import classify_files
from catsdogs_edge.image import RgbBatch, load_batch
from catsdogs_edge.metrics import drop_interval
from catsdogs_edge.scores import Scores, softmax
from catsdogs_export.models import Answers, Model
from catsdogs_export.run_folder import Picture

LOGIT_LIMIT = 1e-3
"""Of level A. Both add up the same float32 products in another order: 1e-5 has been seen; a channel
exchanged or a mean off by one grey level makes 1e-2 and more."""

PROBABILITY_LIMIT = 1e-3
"""Of level B. A probability moves by at most a quarter of the difference of two logits."""

AGREEMENT_LIMIT = 0.99
"""Of level C: share of pictures with the same label. On photographs 0.997 has been seen. With few
pictures, one that differs is always allowed."""

KEPT_LIMIT = 0.5
"""Of level C: familiar pictures that a smaller precision may lose, in percentage points of all."""

_BATCH_SIZE = 8
_WORST = 10


@dataclass(frozen=True, slots=True)
class SameTensors:
    """Level A."""

    tensors: int
    """Pictures and drawn extremes that were compared."""
    max_logit_difference: float
    """Largest absolute difference of two logits."""
    max_familiarity_difference: float | None
    """The same of familiarity; None where the model does not say."""
    limit: float = LOGIT_LIMIT


@dataclass(frozen=True, slots=True)
class SameFiles:
    """Level B."""

    files: int
    """Pictures that were compared."""
    agreement: float
    """Share with the same label, 0 to 1; must be 1."""
    max_probability_difference: float
    """Largest absolute difference of two probabilities, or of familiarity."""
    limit: float = PROBABILITY_LIMIT


@dataclass(frozen=True, slots=True)
class Kept:
    """Level C, of familiarity."""

    fp32: float
    """Share of the pictures, all of which show a class, that are familiar to the fp32 model, 0 to 1."""
    candidate: float
    """The same for the smaller precision."""
    agreement: float
    """Share that is familiar to both or to neither of them, 0 to 1."""
    mean_difference: float
    """Mean absolute difference of familiarity; for the record."""
    threshold: float
    """Least familiarity of what is familiar."""

    def describe(self) -> str:
        """Says it in one line."""
        return (
            f"{self.candidate:.2%} familiar, before {self.fp32:.2%} (limit: {KEPT_LIMIT:g} points less); the same "
            f"decision on {self.agreement:.2%} (limit {AGREEMENT_LIMIT:.0%})"
        )


@dataclass(frozen=True, slots=True)
class Worst:
    """A picture that two models see differently."""

    path: str
    """Its file."""
    fp32: float
    """Probability of the true class by fp32."""
    candidate: float
    """The same by the smaller precision."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Level C."""

    pictures: int
    """Labelled pictures that were compared."""
    agreement: float
    """Share with the same label, 0 to 1."""
    accuracy_fp32: float
    """Share of right labels, 0 to 1."""
    accuracy: float
    """The same for the smaller precision."""
    drop: float
    """Accuracy that is lost, in percentage points; below 0 where it is won."""
    drop_interval: tuple[float, float]
    """Its 95 % interval. Where the setting was chosen by these pictures, too, it is a little optimistic."""
    mean_logit_difference: float
    """Mean absolute difference of the logits; for the record."""
    worst: tuple[Worst, ...]
    """Pictures whose probabilities differ most, the worst first."""
    max_drop: float
    """Limit of `drop`, in percentage points."""
    kept: Kept | None
    """Of familiarity; None where the model does not say."""

    def describe(self) -> str:
        """Says it in one line."""
        low, high = self.drop_interval
        return (
            f"same label on {self.agreement:.2%} of {self.pictures} pictures; accuracy {self.accuracy:.2%}, before "
            f"{self.accuracy_fp32:.2%}: {self.drop:+.2f} points lost (95 %: {low:+.2f} to {high:+.2f}; limit "
            f"{self.max_drop:g})"
        )

    @property
    def why_not(self) -> str:
        """What is beyond a limit, or nothing."""
        if self.drop > self.max_drop:
            return f"loses {self.drop:.2f} points of accuracy, expected at most {self.max_drop:g}"
        allowed = max(1, int(self.pictures * (1 - AGREEMENT_LIMIT)))
        if round(self.pictures * (1 - self.agreement)) > allowed:
            return f"gives the same label as fp32 on {self.agreement:.1%}, expected {AGREEMENT_LIMIT:.0%}"
        kept = self.kept
        if kept and round(self.pictures * (1 - kept.agreement)) > allowed:
            return f"agrees with fp32 on what is familiar on {kept.agreement:.1%}, expected {AGREEMENT_LIMIT:.0%}"
        if kept and round(self.pictures * (kept.fp32 - kept.candidate)) > max(1, self.pictures * KEPT_LIMIT / 100):
            return f"takes {kept.candidate:.2%} of the pictures for familiar, fp32 {kept.fp32:.2%}"
        return ""


def extremes(size: int) -> RgbBatch:
    """Gives tensors on which preprocessing mistakes show: black, white, one for each colour, noise.

    Returns:
        uint8 RGB, shape (6, size, size, 3).
    """
    batch = np.zeros((6, size, size, 3), np.uint8)
    batch[1] = 255
    for channel in range(3):
        batch[2 + channel, :, :, channel] = 255
    batch[5] = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    return batch


def predict(model: Model, pictures: Sequence[Picture], size: int) -> Answers:
    """Gives the answers to pictures read by our own decode."""
    return Answers.join(model(batch) for batch in _batches(pictures, size))


def same_tensors(keras_model: Model, onnx_model: Model, pictures: Sequence[Picture], size: int) -> SameTensors:
    """Level A, on the pictures and on `extremes`.

    Raises:
        ParityError: Two logits differ by more than `LOGIT_LIMIT`, or one is not finite.
    """
    worst = {"logits": 0.0, "familiarity": 0.0}
    count = 0
    for batch in (extremes(size), *_batches(pictures, size)):
        expected, found = keras_model(batch), onnx_model(batch)
        worst["logits"] = max(worst["logits"], _difference(expected.logits, found.logits))
        if (expected.familiarity is None) != (found.familiarity is None):
            raise ParityError("level A: one of Keras and ONNX has no familiarity score")
        if expected.familiarity is not None and found.familiarity is not None:
            worst["familiarity"] = max(worst["familiarity"], _difference(expected.familiarity, found.familiarity))
        count += len(batch)
    for name, difference in worst.items():
        if difference > LOGIT_LIMIT:
            raise ParityError(
                f"level A: Keras and ONNX disagree on the same tensors: {name} differ by up to {difference:.3g}, "
                f"expected at most {LOGIT_LIMIT:g}",
            )
    return SameTensors(count, worst["logits"], None if expected.familiarity is None else worst["familiarity"])


def _difference(expected: Scores, found: Scores) -> float:
    """Gives the largest absolute difference; infinite where a value is not finite."""
    difference = float(np.abs(expected - found).max())
    return difference if np.isfinite(difference) else float("inf")


def same_files(
    keras_model: Model, runner: Classifier, pictures: Sequence[Picture], classes: Sequence[str]
) -> SameFiles:
    """Level B.

    Args:
        keras_model: The reference.
        runner: The ONNX file as the edge runs it, accepting all pictures.
        pictures: To classify.
        classes: Names of the Keras model's output neurons, in order.

    Raises:
        ParityError: A label differs, or a probability by more than `PROBABILITY_LIMIT`.
    """
    temperature = runner.contract.temperature
    answers = predict(keras_model, pictures, runner.contract.image_size)
    expected = softmax(answers.logits / np.float32(temperature))
    rows = list(classify_files(runner, [picture.path for picture in pictures]))
    unread = next((row for row in rows if row.prediction is None), None)
    if unread is not None:
        raise ParityError(f"level B: the runner does not read {unread.path}: {unread.error}")
    found = np.array([row.prediction.probabilities for row in rows if row.prediction])
    labels = [classes[best] for best in expected.argmax(axis=1)]
    same = [
        row.prediction is not None and row.prediction.label == label for row, label in zip(rows, labels, strict=True)
    ]
    agreement = sum(same) / len(same)
    worst = float(np.abs(expected - found).max())
    if answers.familiarity is not None:
        familiarity = np.array([row.prediction.familiarity for row in rows if row.prediction], np.float32)
        worst = max(worst, _difference(answers.familiarity, familiarity))
    if agreement < 1 or worst > PROBABILITY_LIMIT:
        raise ParityError(
            f"level B: Keras and the edge runner disagree on the same files: {agreement:.1%} of the labels agree, "
            f"expected all; probabilities differ by up to {worst:.3g}, expected at most {PROBABILITY_LIMIT:g}",
        )
    return SameFiles(len(rows), agreement, worst)


def measure_loss(
    before: Answers, after: Answers, pictures: Sequence[Picture], max_drop: float, contract: Contract
) -> Loss:
    """Level C; whether the result is within the limits is for the caller to ask (`Loss.why_not`).

    Args:
        before: Of the fp32 model.
        after: Of the smaller precision, to the same pictures.
        pictures: With their labels.
        max_drop: In percentage points.
        contract: With the rule for familiarity, if there is one.
    """
    truth = np.array([picture.label for picture in pictures])
    fp32, candidate = before.logits, after.logits
    right_fp32, right = fp32.argmax(axis=1) == truth, candidate.argmax(axis=1) == truth
    lost, won = int((right_fp32 & ~right).sum()), int((~right_fp32 & right).sum())
    low, high = drop_interval(lost, won, len(pictures))
    every = np.arange(len(truth))
    sure_fp32, sure = softmax(fp32)[every, truth], softmax(candidate)[every, truth]
    worst = np.argsort(-np.abs(sure_fp32 - sure), kind="stable")[:_WORST]
    return Loss(
        pictures=len(pictures),
        agreement=float((fp32.argmax(axis=1) == candidate.argmax(axis=1)).mean()),
        accuracy_fp32=float(right_fp32.mean()),
        accuracy=float(right.mean()),
        drop=100 * (lost - won) / len(pictures),
        drop_interval=(100 * low, 100 * high),
        mean_logit_difference=float(np.abs(fp32 - candidate).mean()),
        worst=tuple(Worst(str(pictures[place].path), float(sure_fp32[place]), float(sure[place])) for place in worst),
        max_drop=max_drop,
        kept=_measure_kept(before, after, contract),
    )


def _measure_kept(before: Answers, after: Answers, contract: Contract) -> Kept | None:
    if contract.familiarity is None or before.familiarity is None or after.familiarity is None:
        return None
    threshold = contract.familiarity.threshold
    familiar = before.familiarity >= threshold, after.familiarity >= threshold
    return Kept(
        fp32=float(familiar[0].mean()),
        candidate=float(familiar[1].mean()),
        agreement=float((familiar[0] == familiar[1]).mean()),
        mean_difference=float(np.abs(before.familiarity - after.familiarity).mean()),
        threshold=threshold,
    )


def _batches(pictures: Sequence[Picture], size: int) -> Iterator[RgbBatch]:
    for start in range(0, len(pictures), _BATCH_SIZE):
        yield load_batch([picture.path for picture in pictures[start : start + _BATCH_SIZE]], size)

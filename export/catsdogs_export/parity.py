"""Compares models on three levels; what differs beyond a limit is never published.

(A) same tensors: Keras against ONNX fp32, logits. Finds a wrong conversion.
(B) same files: Keras behind our decode against the edge runner, labels and probabilities. Finds a runner
    that reads, turns, resizes or orders colours in another way.
(C) labelled images: a smaller precision against fp32, labels, accuracy and familiarity. Finds a lossy quantization.
"""

import logging
import math
from dataclasses import dataclass

import numpy as np
from msgspec import Struct, field

from catsdogs_edge.classify.batching import classify_files
from catsdogs_edge.errors import ParityError
from catsdogs_edge.evaluation.paired import compare_answers
from catsdogs_edge.images.decode import RgbBatch
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.contract import Contract, Precision
from catsdogs_edge.model.scores import Outputs, Scores
from catsdogs_export.predictors import ModelOnImages, Predictor, load_batches

_log = logging.getLogger(__name__)

LOGIT_LIMIT = 1e-3
"""Of level A. Both add up the same float32 products in another order: 1e-5 has been seen; a channel
exchanged or a mean off by one grey level makes 1e-2 and more."""

PROBABILITY_LIMIT = 1e-3
"""Of level B. A probability moves by at most a quarter of the difference of two logits."""

AGREEMENT_LIMIT = 0.99
"""Of level C: share of images with the same label. On photographs 0.997 has been seen. With few images, one that
differs is always allowed."""

KEPT_LIMIT = 0.5
"""Of level C: familiar images that a smaller precision may lose, in percentage points of all."""

_WORST = 10


class TensorParity(Struct, frozen=True, kw_only=True):
    """Level A."""

    tensors: int
    """Images and drawn extremes that were compared."""
    max_logit_difference: float
    """Largest absolute difference of two logits."""
    max_familiarity_difference: float | None
    """The same of familiarity; None where the model has no such score."""
    limit: float = LOGIT_LIMIT

    def describe(self) -> str:
        """Describes it in one line."""
        difference = self.max_familiarity_difference
        familiarity = "" if difference is None else f", of familiarity {difference:.2g}"
        return (
            f"level A, fp32 against Keras on {self.tensors} tensors: largest difference of logits "
            f"{self.max_logit_difference:.2g}{familiarity} (limit {self.limit:g})"
        )


class FileParity(Struct, frozen=True, kw_only=True):
    """Level B."""

    files: int
    agreement: float
    """Share with the same label, 0 to 1; must be 1."""
    max_probability_difference: float
    """Largest absolute difference of two probabilities, or of familiarity."""
    limit: float = PROBABILITY_LIMIT

    def describe(self) -> str:
        """Describes it in one line."""
        return (
            f"level B, the same on {self.files} files: {self.agreement:.2%} of the labels agree, largest difference of "
            f"probabilities {self.max_probability_difference:.2g} (limit {self.limit:g})"
        )


class FamiliarityParity(Struct, frozen=True, kw_only=True):
    """Level C, of familiarity."""

    images: int = field(name="pictures")
    fp32: float
    """Share of the images, all of which show a class, that are familiar to the fp32 model, 0 to 1."""
    candidate: float
    """The same for the smaller precision."""
    agreement: float
    """Share that is familiar to both or to neither of them, 0 to 1."""
    mean_difference: float
    """Mean absolute difference of familiarity; for the record."""
    threshold: float
    """Least familiarity of what is familiar."""

    def describe(self) -> str:
        """Describes it in one line."""
        return (
            f"{self.candidate:.2%} familiar, before {self.fp32:.2%} (limit: {KEPT_LIMIT:g} points less); the same "
            f"decision on {self.agreement:.2%} ({_agreement_limit(self.images)})"
        )


class WorstImage(Struct, frozen=True, kw_only=True):
    """An image that two models see differently."""

    path: str
    fp32: float
    """Probability of the true class by fp32."""
    candidate: float
    """The same by the smaller precision."""


class LabelParity(Struct, frozen=True, kw_only=True):
    """Level C."""

    images: int = field(name="pictures")
    agreement: float
    """Share with the same label, 0 to 1."""
    accuracy_fp32: float
    """Share of right labels, 0 to 1."""
    accuracy: float
    """The same for the smaller precision."""
    drop: float
    """Accuracy that is lost, in percentage points; below 0 where it is won."""
    drop_interval: tuple[float, float]
    """Its 95 % interval. Where the setting was chosen by these images, too, it is a little optimistic."""
    mean_logit_difference: float
    """Mean absolute difference of the logits; for the record."""
    worst: tuple[WorstImage, ...]
    """Images whose probabilities differ most, the worst first."""
    max_drop: float
    """Limit of `drop`, in percentage points."""
    familiarity: FamiliarityParity | None = field(name="kept")
    """Parity of familiarity; None where the model has no such score."""

    def describe(self) -> str:
        """Describes it in one line."""
        low, high = self.drop_interval
        return (
            f"same label on {self.agreement:.2%} of {self.images} images ({_agreement_limit(self.images)}); "
            f"accuracy {self.accuracy:.2%}, before "
            f"{self.accuracy_fp32:.2%}: {self.drop:+.2f} points lost (95 %: {low:+.2f} to {high:+.2f}; limit "
            f"{self.max_drop:g})"
        )

    @property
    def why_not(self) -> str:
        """What is beyond a limit; empty where nothing is."""
        if self.drop > self.max_drop:
            return f"loses {self.drop:.2f} points of accuracy, expected at most {self.max_drop:g}"
        allowed = _allowed(self.images)
        if round(self.images * (1 - self.agreement)) > allowed:
            return f"gives the same label as fp32 on {self.agreement:.1%}, expected {AGREEMENT_LIMIT:.0%}"
        if (found := self.familiarity) is None:
            return ""
        if round(self.images * (1 - found.agreement)) > allowed:
            return f"agrees with fp32 on what is familiar on {found.agreement:.1%}, expected {AGREEMENT_LIMIT:.0%}"
        fewer = round(self.images * (found.fp32 - found.candidate))
        if fewer > max(1, self.images * KEPT_LIMIT / 100):
            return (
                f"takes {found.candidate:.2%} of the images for familiar, fp32 {found.fp32:.2%}, expected at most "
                f"{KEPT_LIMIT:g} points less"
            )
        return ""


def _allowed(images: int) -> int:
    """Returns how many of so many images may get another label; one, where no number of them could prove the limit."""
    return max(1, int(images * (1 - AGREEMENT_LIMIT)))


def _agreement_limit(images: int) -> str:
    """Says what holds for so many images."""
    if images * (1 - AGREEMENT_LIMIT) >= 1:
        return f"limit {AGREEMENT_LIMIT:.0%}"
    least = math.ceil(1 / (1 - AGREEMENT_LIMIT))
    return f"{images} images are too few to prove {AGREEMENT_LIMIT:.0%}, which takes {least}: one may differ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """What a comparison found: levels A and B for fp32, level C for a smaller precision."""

    tensors: TensorParity | None = None
    files: FileParity | None = None
    labels: LabelParity | None = None


def run_parity(reference: ModelOnImages[Predictor], candidate: ModelOnImages[Classifier], max_drop: float) -> Parity:
    """Compares a model file with what it was made from, on all levels that its precision has.

    The reference is Keras for fp32, and fp32 for a smaller precision; the candidate is the file as the edge opens it,
    accepting all images. `max_drop` is the accuracy that may be lost, in percentage points.

    Raises:
        ParityError: They differ beyond a limit.
    """
    contract = candidate.model.contract
    if contract.precision is Precision.FP32:
        _log.info("level A: same tensors")
        tensors = compare_tensors(reference, candidate)
        _log.info("level B: same files")
        return Parity(tensors=tensors, files=compare_files(reference, candidate))
    _log.info("level C: labelled images, %d of them", len(candidate.images))
    labels = compare_labels(reference, candidate, max_drop)
    if labels.why_not:
        raise ParityError(f"level C: {contract.precision.value} {labels.why_not}")
    return Parity(labels=labels)


def extremes(size: int) -> RgbBatch:
    """Returns tensors on which preprocessing mistakes show, uint8 RGB (6, size, size, 3): colours and noise."""
    batch = np.zeros((6, size, size, 3), np.uint8)
    batch[1] = 255
    for channel in range(3):
        batch[2 + channel, :, :, channel] = 255
    batch[5] = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    return batch


def compare_tensors(reference: ModelOnImages[Predictor], candidate: ModelOnImages[Classifier]) -> TensorParity:
    """Level A, on the reference's images and on `extremes`."""
    size = candidate.model.contract.image_size
    logits, familiarity, count = 0.0, [0.0], 0
    for batch in (extremes(size), *load_batches(reference.images, size)):
        expected, found = reference.model.predict(batch), candidate.model.predict(batch)
        logits = max(logits, largest_difference(expected.logits, found.logits))
        if (expected.familiarity is None) != (found.familiarity is None):
            raise ParityError("level A: one of Keras and ONNX has no familiarity score")
        if expected.familiarity is not None and found.familiarity is not None:
            familiarity.append(largest_difference(expected.familiarity, found.familiarity))
        count += len(batch)
    for name, difference in (("logits", logits), ("familiarity", max(familiarity))):
        if difference > LOGIT_LIMIT:
            raise ParityError(
                f"level A: Keras and ONNX disagree on the same tensors: {name} differ by up to {difference:.3g}, "
                f"expected at most {LOGIT_LIMIT:g}"
            )
    largest = max(familiarity) if candidate.model.contract.familiarity else None
    return TensorParity(tensors=count, max_logit_difference=logits, max_familiarity_difference=largest)


def largest_difference(expected: Scores, found: Scores) -> float:
    """Returns the largest absolute difference; infinite where a value is not finite."""
    difference = float(np.abs(expected - found).max())
    return difference if np.isfinite(difference) else float("inf")


def compare_files(reference: ModelOnImages[Predictor], candidate: ModelOnImages[Classifier]) -> FileParity:
    """Level B: the candidate, opened by the edge, reads the files of the reference's images itself."""
    outputs = reference.outputs
    rows = list(classify_files(candidate.model, [image.path for image in reference.images]))
    unread = next((row for row in rows if row.prediction is None), None)
    if unread is not None:
        raise ParityError(f"level B: the runner does not read {unread.path}: {unread.error}")
    predictions = [row.prediction for row in rows if row.prediction]
    classes = reference.model.contract.classes
    labels = [classes[best] for best in outputs.logits.argmax(axis=1)]
    agreement = float(np.mean([found.label == label for found, label in zip(predictions, labels, strict=True)]))
    worst = largest_difference(
        outputs.probabilities, np.array([[*found.probabilities.values()] for found in predictions])
    )
    if outputs.familiarity is not None:
        familiarity = np.array([found.familiarity for found in predictions], np.float32)
        worst = max(worst, largest_difference(outputs.familiarity, familiarity))
    if agreement < 1 or worst > PROBABILITY_LIMIT:
        raise ParityError(
            f"level B: Keras and the edge runner disagree on the same files: {agreement:.1%} of the labels agree, "
            f"expected all; probabilities differ by up to {worst:.3g}, expected at most {PROBABILITY_LIMIT:g}"
        )
    return FileParity(files=len(rows), agreement=agreement, max_probability_difference=worst)


def compare_labels(
    reference: ModelOnImages[Predictor], candidate: ModelOnImages[Predictor], max_drop: float
) -> LabelParity:
    """Level C; whether the result is within the limits is for the caller to ask (`LabelParity.why_not`)."""
    images = candidate.images
    truth = np.array([image.label for image in images])
    fp32, found = reference.outputs.logits, candidate.outputs.logits
    right_fp32, right = fp32.argmax(axis=1) == truth, found.argmax(axis=1) == truth
    change = compare_answers(right_fp32, right)
    every = np.arange(len(truth))
    sure_fp32, sure = (model.outputs.probabilities[every, truth] for model in (reference, candidate))
    worst = np.argsort(-np.abs(sure_fp32 - sure), kind="stable")[:_WORST]
    return LabelParity(
        images=len(images),
        agreement=float((fp32.argmax(axis=1) == found.argmax(axis=1)).mean()),
        accuracy_fp32=float(right_fp32.mean()),
        accuracy=float(right.mean()),
        drop=change.drop,
        drop_interval=change.interval,
        mean_logit_difference=float(np.abs(fp32 - found).mean()),
        worst=tuple(
            WorstImage(path=str(images[index].path), fp32=float(sure_fp32[index]), candidate=float(sure[index]))
            for index in worst
        ),
        max_drop=max_drop,
        familiarity=_compare_familiarity(reference.outputs, candidate.outputs, candidate.model.contract),
    )


def _compare_familiarity(before: Outputs, after: Outputs, contract: Contract) -> FamiliarityParity | None:
    if contract.familiarity is None or before.familiarity is None or after.familiarity is None:
        return None
    threshold = contract.familiarity.threshold
    familiar = before.familiarity >= threshold, after.familiarity >= threshold
    return FamiliarityParity(
        images=len(familiar[0]),
        fp32=float(familiar[0].mean()),
        candidate=float(familiar[1].mean()),
        agreement=float((familiar[0] == familiar[1]).mean()),
        mean_difference=float(np.abs(before.familiarity - after.familiarity).mean()),
        threshold=threshold,
    )

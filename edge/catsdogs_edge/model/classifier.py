"""Runs a self-describing ONNX file on images."""

import threading
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import overload

import numpy as np
import onnxruntime as ort

from catsdogs_edge.errors import ImageError, ModelError, ProviderError
from catsdogs_edge.images.decode import RgbBatch
from catsdogs_edge.images.inputs import ImageInput, describe_input, load_input
from catsdogs_edge.model.bundled import MODEL
from catsdogs_edge.model.contract import NEITHER, Contract, Precision
from catsdogs_edge.model.onnx_file import OnnxFile, read_onnx_file
from catsdogs_edge.model.prediction import Prediction, decide
from catsdogs_edge.model.scores import Outputs
from catsdogs_edge.runtime.providers import Provider
from catsdogs_edge.runtime.session import RUN_ERRORS, open_session, placement

# These have no kernels for ONNX's integer operators (TensorRT and OpenVINO have)
_FLOATS_ONLY = frozenset(
    provider.onnx_name for provider in (Provider.CUDA, Provider.MIGRAPHX, Provider.COREML, Provider.DIRECTML)
)

LONGEST_RUN = 60.0
"""Seconds for one batch: a model can hold a loop that does not end."""

MOST_IN_BATCH = 64
"""Images of one inference; more are classified one batch after the other."""

_NO_FILE = OnnxFile({}, None)


class Classifier:
    """A model with its contract, ready to classify.

    Attributes:
        contract: What the model file says about itself.
        metadata: All entries of the file's `metadata_props`.
        intact: Whether the file is as it was made, byte for byte; None where it does not say.
        provider: The ONNX Runtime provider that it runs on, such as `CPUExecutionProvider`.
        threshold: Least familiarity, 0 to 1, of what is not "neither"; None where that is never the answer.
        labels: All that it may answer.
    """

    def __init__(
        self, session: ort.InferenceSession, contract: Contract, *, accept_all: bool = False, file: OnnxFile = _NO_FILE
    ) -> None:
        self.contract = contract
        rule = contract.familiarity
        self.threshold = None if rule is None or accept_all else rule.threshold
        self.labels = contract.classes if self.threshold is None else (*contract.classes, NEITHER)
        self.metadata = file.metadata
        self.intact = file.intact
        self.provider: str = session.get_providers()[0]
        self._session = session

    @classmethod
    def load(
        cls,
        path: str | Path = MODEL,
        provider: Provider = Provider.AUTO,
        *,
        threads: int = 0,
        spinning: bool = True,
        accept_all: bool = False,
        allow_changed: bool = False,
    ) -> "Classifier":
        """Opens a model file.

        Args:
            path: An ONNX file that `catsdogs-export` wrote; else the one that comes with catsdogs.
            provider: Where to run it.
            threads: Threads of one inference; 0 takes one for each physical core, or what a container allows.
            spinning: Idle threads wait at full speed; see `open_session`.
            accept_all: Never answer "neither".
            allow_changed: Also open a file that has changed since it was made, so that it can be examined.

        Raises:
            ModelError: The file is missing, broken, changed, without a contract, or does not match its contract.
            ProviderError: A named provider does not run here.
        """
        path = Path(path)
        file = read_onnx_file(path)
        if file.intact is False and not allow_changed:
            raise ModelError(f"{path} has changed since it was made (its hash is another): export or copy it again")
        contract = Contract.from_metadata(file.metadata, str(path))
        session = open_session(path, provider, threads=threads, spinning=spinning)
        _check_graph(session, contract, path)
        if contract.precision is Precision.INT8 and session.get_providers()[0] in _FLOATS_ONLY:
            if provider is not Provider.AUTO:
                beside = (path.with_name(name) for name in ("model.fp16.onnx", "model.onnx"))
                better = next((file for file in beside if file.is_file()), "the fp16 or fp32 file of the same export")
                raise ProviderError(
                    f"{path} is INT8, which {provider.onnx_name} computes as floats, slower than floats: "
                    f"use {better} with --provider {provider.value}"
                )
            session = open_session(path, Provider.CPU, threads=threads, spinning=spinning)
        return cls(session, contract, accept_all=accept_all, file=file)

    def predict(self, batch: RgbBatch) -> Outputs:
        """Asks the model about a batch.

        Args:
            batch: uint8 RGB, shape (N, S, S, 3) with S the contract's `image_size`.

        Raises:
            ModelError: It does not answer within `LONGEST_RUN`, or not for each image.
            ProviderError: The provider cannot go on, as where a GPU's memory is full.
        """
        options = ort.RunOptions()
        deadline = threading.Timer(LONGEST_RUN, setattr, (options, "terminate", True))
        deadline.daemon = True
        deadline.start()
        try:
            results = self._session.run(list(self.contract.outputs), {self.contract.input_name: batch}, options)
        except RUN_ERRORS as error:  # such as a GPU whose memory others have taken
            if options.terminate:
                raise ModelError(f"the model does not answer within {LONGEST_RUN:.0f} s") from error
            said = " ".join(str(error).split())
            raise ProviderError(f"{self.provider} failed: {said}; try another --provider") from error
        finally:
            deadline.cancel()
        logits, probabilities, *scores = (np.asarray(result, np.float32) for result in results)
        if {len(result) for result in (logits, probabilities, *scores)} != {len(batch)}:
            raise ModelError(f"the model gives {len(logits)} answers for {len(batch)} images: export it again")
        return Outputs(logits, probabilities, scores[0] if scores else None)

    def decide(self, outputs: Outputs) -> list[Prediction]:
        """Turns the outputs for N images into N predictions."""
        scores = [None] * len(outputs.logits) if outputs.familiarity is None else outputs.familiarity.tolist()
        return [
            decide(row, score, self.contract.classes, self.threshold)
            for row, score in zip(outputs.probabilities.tolist(), scores, strict=True)
        ]

    @overload
    def classify(self, images: ImageInput) -> Prediction: ...  # type: ignore[overload-overlap] # a str is a path

    @overload
    def classify(self, images: Iterable[ImageInput]) -> list[Prediction]: ...

    def classify(self, images: ImageInput | Iterable[ImageInput]) -> Prediction | list[Prediction]:
        """Classifies an image, or several of any sizes: one prediction for one image, a list for all others.

        Args:
            images: A path, the bytes of an image file, pixels as uint8 RGB (H, W, 3) (OpenCV has BGR: turn them with
                `cv2.cvtColor`), or an image of Pillow; or any number of these, of which `MOST_IN_BATCH` at a time are
                in memory.

        Raises:
            ImageError: One cannot be read or decoded; which one, and why.
            TypeError: It is nothing that holds an image.
            ModelError, ProviderError: See `predict`.
        """
        if isinstance(images, str | bytes | bytearray | memoryview | np.ndarray) or not isinstance(images, Iterable):
            return self._classify([images])[0]
        every = iter(images)
        predictions: list[Prediction] = []
        while batch := list(islice(every, MOST_IN_BATCH)):
            predictions += self._classify(batch, len(predictions))
        return predictions

    def _classify(self, images: Sequence[object], before: int = 0) -> list[Prediction]:
        pixels = []
        for number, image in enumerate(images, before):
            try:
                pixels.append(load_input(image, self.contract.image_size))
            except ImageError as error:
                raise ImageError(f"{describe_input(image, number)}: {error}") from error
        return self.decide(self.predict(np.stack(pixels)))

    def placement(self) -> dict[str, int]:
        """Counts the operators of the graph on each ONNX Runtime provider."""
        return {name: operators.total() for name, operators in placement(self._session).items()}


def _check_graph(session: ort.InferenceSession, contract: Contract, path: Path) -> None:
    """Refuses a graph that its contract does not describe."""
    size, classes = contract.image_size, len(contract.classes)
    (first, *_), outputs = session.get_inputs(), {node.name: node for node in session.get_outputs()}
    found = [(node.name, node.type, node.shape[1:]) for node in session.get_inputs()]
    if found != [(contract.input_name, "tensor(uint8)", [size, size, 3])] or isinstance(first.shape[0], int):
        raise ModelError(
            f"{path} takes {found}, its contract promises one uint8 input '{contract.input_name}' "
            f"(N,{size},{size},3) with N free: export it again"
        )
    for name in contract.outputs:
        node = outputs.get(name)
        shape = [] if name == contract.familiarity_name else [classes]
        if node is None or node.type != "tensor(float)" or node.shape[1:] != shape:
            raise ModelError(
                f"{path} has the outputs {[(node.name, node.type, node.shape[1:]) for node in outputs.values()]}, "
                f"its contract promises '{name}' (N{''.join(f',{length}' for length in shape)}) of float32: export it "
                "again"
            )

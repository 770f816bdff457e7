"""Runs a self-describing ONNX file on images."""

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Self, overload

import numpy as np
import onnxruntime as ort

from catsdogs_edge.errors import ImageError, ModelError, ProviderError
from catsdogs_edge.images.decode import RgbBatch
from catsdogs_edge.images.inputs import ImageInput, describe_input, load_input
from catsdogs_edge.model.bundled import MODEL
from catsdogs_edge.model.class_maps import CLASS_MAPS, FAMILIARITY_MAP, MAPS_KEY, BatchMaps, with_maps
from catsdogs_edge.model.contract import NEITHER, Contract, Precision
from catsdogs_edge.model.onnx_file import OnnxFile, read_onnx_file
from catsdogs_edge.model.prediction import Prediction, decide
from catsdogs_edge.model.scores import Outputs, Scores
from catsdogs_edge.runtime.deadline import deadline
from catsdogs_edge.runtime.providers import ON_CORES, Provider
from catsdogs_edge.runtime.session import RUN_ERRORS, open_session, placement

# These have no kernels for ONNX's integer operators (TensorRT and OpenVINO have)
_FLOATS_ONLY = frozenset(
    provider.onnx_name for provider in (Provider.CUDA, Provider.MIGRAPHX, Provider.COREML, Provider.DIRECTML)
)

LONGEST_RUN = 60.0
"""Seconds for one batch: a model can hold a loop that does not end."""

MOST_IN_BATCH = 64
"""Images of one inference; more are classified one batch after the other."""

FIXED_BATCH = 32
"""Images of each inference on a provider that prepares anew for each other number of them; the last ones are padded."""

_ALONE = 4  # so many, as the regions of a frame, are faster one after the other than padded

# They search algorithms, or compile, for each shape: one for a camera's frame, one for all others
_PREPARES = frozenset(provider.onnx_name for provider in (Provider.CUDA, Provider.TENSORRT, Provider.MIGRAPHX))

_NO_FILE = OnnxFile({}, None)


class Classifier:
    """A model with its contract, ready to classify; threads may share it.

    Attributes:
        contract: What the model file says about itself.
        metadata: All entries of the file's `metadata_props`.
        intact: Whether the file is as it was made, byte for byte; None where it does not say.
        provider: The ONNX Runtime provider that it runs on, such as `CPUExecutionProvider`.
        threshold: Least familiarity, 0 to 1, of what is not "neither"; None where that is never the answer.
        labels: All that it may answer.
        fixed_batch: Images to which each inference is padded, on providers that prepare anew for each number of them
            (a few go one by one); None on others.
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        contract: Contract,
        *,
        accept_all: bool = False,
        file: OnnxFile = _NO_FILE,
        open_maps: Callable[[], ort.InferenceSession] | None = None,
    ) -> None:
        self.contract = contract
        rule = contract.familiarity
        self.threshold = None if rule is None or accept_all else rule.threshold
        self.labels = contract.classes if self.threshold is None else (*contract.classes, NEITHER)
        self.metadata = file.metadata
        self.intact = file.intact
        self.provider: str = session.get_providers()[0]
        self.fixed_batch = FIXED_BATCH if self.provider in _PREPARES else None
        self._session = session
        self._open_maps = open_maps
        self._map_session: ort.InferenceSession | None = None
        self._map_lock = threading.Lock()
        # DirectML allows one inference at a time, and a GPU's memory might not hold several
        self._turn = nullcontext() if self.provider in ON_CORES else threading.Lock()

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
    ) -> Self:
        """Opens a model file.

        Args:
            path: An ONNX file that `catsdogs-export` wrote; else the one that comes with catsdogs.
            provider: Where to run it.
            threads: Threads of one inference; 0 takes one for each physical core, or what a container allows.
            spinning: Idle threads wait at full speed: less latency, more power.
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
        half = contract.precision is Precision.FP16
        session = open_session(path, provider, threads=threads, spinning=spinning, half=half)
        _check_graph(session, contract, path)
        if contract.precision is Precision.INT8 and session.get_providers()[0] in _FLOATS_ONLY:
            if provider is not Provider.AUTO:
                beside = (path.with_name(name) for name in ("model.fp16.onnx", "model.onnx"))
                better = next((file for file in beside if file.is_file()), "the fp16 or fp32 file of the same export")
                raise ProviderError(
                    f"{path} is INT8, which {provider.onnx_name} computes as floats, slower than floats: "
                    f"use {better} with --provider {provider.value}"
                )
            provider = Provider.CPU
            session = open_session(path, provider, threads=threads, spinning=spinning)

        metadata = file.metadata  # not the file, which has all of the model in memory

        def open_maps() -> ort.InferenceSession:
            content = with_maps(path, metadata)
            return open_session(path, provider, threads=threads, spinning=spinning, half=half, content=content)

        return cls(session, contract, accept_all=accept_all, file=file, open_maps=open_maps)

    @property
    def has_maps(self) -> bool:
        """Whether it can say where in an image its answers come from."""
        return self._open_maps is not None and MAPS_KEY in self.metadata

    def predict(self, batch: RgbBatch, *, maps: bool = False) -> Outputs:
        """Asks the model about a batch.

        Args:
            batch: uint8 RGB, shape (N, S, S, 3) with S the contract's `image_size`.
            maps: Also say where in the images the answers come from. The first time, the model is opened once more.

        Raises:
            ModelError: It does not answer within `LONGEST_RUN`, or not for each image; or it has no maps.
            ProviderError: The provider cannot go on, as where a GPU's memory is full.
        """
        names = list(self.contract.outputs)
        if not maps:
            return _to_outputs(self._run(self._session, names, batch), len(batch))
        session = self._open_map_session()
        there = [node.name for node in session.get_outputs()]
        map_names = [name for name in (CLASS_MAPS, FAMILIARITY_MAP) if name in there]
        results = self._run(session, [*names, *map_names], batch)
        classes, *familiarity = results[len(names) :]
        found = BatchMaps(classes, familiarity[0] if familiarity else None)
        return replace(_to_outputs(results[: len(names)], len(batch)), maps=found)

    def _open_map_session(self) -> ort.InferenceSession:
        with self._map_lock:  # threads that ask at the same time share it
            if self._map_session is None:
                if self._open_maps is None:
                    raise ModelError("this model cannot say where its answers come from: load it from a file")
                self._map_session = self._open_maps()
            return self._map_session

    def _run(self, session: ort.InferenceSession, names: list[str], batch: RgbBatch) -> list[Scores]:
        """Returns the outputs of these names for a batch; see `fixed_batch`."""
        size = self.fixed_batch
        if size is None:
            return self._run_once(session, names, batch)
        if len(batch) <= min(_ALONE, size):
            size = 1
        parts = []
        for start in range(0, len(batch), size):
            some = batch[start : start + size]
            padding = np.zeros((size - len(some), *batch.shape[1:]), np.uint8)
            results = self._run_once(session, names, np.concatenate([some, padding]) if len(padding) else some)
            parts.append([result[: len(result) - len(padding)] for result in results])
        return [np.concatenate(results) for results in zip(*parts, strict=True)]

    def _run_once(self, session: ort.InferenceSession, names: list[str], batch: RgbBatch) -> list[Scores]:
        """Runs the model; off the cores of the CPU, one batch after the other."""
        with self._turn:
            return self._run_alone(session, names, batch)

    def _run_alone(self, session: ort.InferenceSession, names: list[str], batch: RgbBatch) -> list[Scores]:
        with deadline(LONGEST_RUN) as options:
            try:
                results = session.run(names, {self.contract.input_name: batch}, options)
            except RUN_ERRORS as error:  # such as a GPU whose memory others have taken
                if options.terminate:
                    raise ModelError(f"the model does not answer within {LONGEST_RUN:.0f} s") from error
                said = " ".join(str(error).split())
                raise ProviderError(f"{self.provider} failed: {said}; try another --provider") from error
        return [np.asarray(result, np.float32) for result in results]

    def decide(self, outputs: Outputs) -> list[Prediction]:
        """Turns the outputs for N images into N predictions."""
        scores = [None] * len(outputs.logits) if outputs.familiarity is None else outputs.familiarity.tolist()
        classes, maps = self.contract.classes, outputs.maps
        return [
            decide(row, score, classes, self.threshold, maps.of_image(index, classes) if maps else None)
            for index, (row, score) in enumerate(zip(outputs.probabilities.tolist(), scores, strict=True))
        ]

    @overload
    def classify(self, images: ImageInput, *, maps: bool = ...) -> Prediction: ...  # type: ignore[overload-overlap] # a str is a path

    @overload
    def classify(self, images: Iterable[ImageInput], *, maps: bool = ...) -> list[Prediction]: ...

    def classify(
        self, images: ImageInput | Iterable[ImageInput], *, maps: bool = False
    ) -> Prediction | list[Prediction]:
        """Classifies an image, or several of any sizes: one prediction for one image, a list for all others.

        Args:
            images: A path, the bytes of an image file, pixels as uint8 RGB (H, W, 3) (OpenCV has BGR: turn them with
                `cv2.cvtColor`), or an image of Pillow; or any number of these, of which `MOST_IN_BATCH` at a time are
                in memory.
            maps: Also say where in the images the answers come from (`Prediction.map`).

        Raises:
            ImageError: One cannot be read or decoded; which one, and why.
            TypeError: It is nothing that holds an image.
            ModelError, ProviderError: See `predict`.
        """
        if isinstance(images, str | bytes | bytearray | memoryview | np.ndarray) or not isinstance(images, Iterable):
            return self._classify([images], maps=maps)[0]
        every = iter(images)
        predictions: list[Prediction] = []
        while batch := list(islice(every, MOST_IN_BATCH)):
            predictions += self._classify(batch, len(predictions), maps=maps)
        return predictions

    def _classify(self, images: Sequence[object], before: int = 0, *, maps: bool) -> list[Prediction]:
        pixels = []
        for number, image in enumerate(images, before):
            try:
                pixels.append(load_input(image, self.contract.image_size))
            except ImageError as error:
                raise ImageError(f"{describe_input(image, number)}: {error}") from error
        return self.decide(self.predict(np.stack(pixels), maps=maps))

    def placement(self) -> dict[str, int]:
        """Counts the operators of the graph on each ONNX Runtime provider."""
        return {name: operators.total() for name, operators in placement(self._session).items()}


def _to_outputs(results: Sequence[Scores], images: int) -> Outputs:
    """Names the results for so many images; raises `ModelError` where there are more or fewer."""
    logits, probabilities, *scores = results
    if {len(result) for result in results} != {images}:
        raise ModelError(f"the model gives {len(logits)} answers for {images} images: export it again")
    return Outputs(logits, probabilities, scores[0] if scores else None)


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

"""Says of a network where in an image its answers come from: class activation maps, exact ones.

Logits are linear in what is pooled over all positions of the last feature map. So the head can be applied to each
position, before the pooling, and the mean over the positions is the logit: Zhou et al., "Learning Deep Features for
Discriminative Localization", 2016. The same holds for familiarity before its sigmoid, on two feature maps, and on the
map of the class that has the largest logit of the whole image.

What computes the maps is no part of the graph, which stays as fast as it is: it is a graph of its own in the metadata,
which `catsdogs_edge.model.class_maps` puts behind the other where somebody asks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import onnx
from msgspec import Struct
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from catsdogs_edge.errors import ParityError
from catsdogs_edge.model import class_maps
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.contract import Contract, Precision
from catsdogs_export.float_nodes import ancestors_of
from catsdogs_export.parity import largest_difference
from catsdogs_export.predictors import load_batches
from catsdogs_export.run_folder import LabelledImage
from catsdogs_export.seal import FAMILIARITY_TOLERANCE

_Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearScore:
    """Familiarity before its sigmoid, as a weighted sum of the features of both stages; all float32."""

    last: _Floats
    """Weights of the last stage's features, shape (W,)."""
    earlier: _Floats
    """Weights of the earlier stage's features, shape (E,)."""
    bias: float
    largest_logit: float = 0.0
    """Weight of the largest logit, less the mean of all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SquaredScore:
    """Familiarity before its sigmoid, as a weighted sum of squares; all float32."""

    weights: _Floats
    """Shape (K,)."""
    bias: float
    directions: _Floats
    """Shape (E, K): what is squared are the earlier stage's E features along these, plus the offset."""
    offset: _Floats
    """Shape (K,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a network does with pooled features; all float32."""

    kernel: _Floats
    """Shape (W, C): from the pooled output of the last stage to logits."""
    bias: _Floats
    """Shape (C,)."""
    score: LinearScore | SquaredScore | None = None
    """None without familiarity."""

    @classmethod
    def from_network(cls, network: keras.Model) -> "Head":
        """Reads it from the layers that `catsdogs_train` names."""
        layers = {layer.name: layer.get_weights() for layer in network.layers if layer.name in _LAYERS}
        kernel, bias = layers["logits"]
        if "score" not in layers:
            return cls(kernel=kernel, bias=bias)
        weights, score_bias = layers["score"][0][:, 0], float(layers["score"][1][0])
        if "directions" in layers:
            directions, offset = layers["directions"]
            squared = SquaredScore(weights=weights, bias=score_bias, directions=directions, offset=offset)
            return cls(kernel=kernel, bias=bias, score=squared)
        largest = 0.0
        if len(network.get_layer("both_stages").input) > 2:
            weights, largest = weights[:-1], float(weights[-1])
        last, earlier = np.split(weights, [len(kernel)])
        linear = LinearScore(last=last, earlier=earlier, bias=score_bias, largest_logit=largest)
        return cls(kernel=kernel, bias=bias, score=linear)


MEAN_LIMIT = 1e-3
"""Largest difference of a logit and the mean of its map: sums of the same float32 numbers in another order."""

CORRELATION_LIMIT = 0.9
"""Least correlation of the maps of a smaller precision with those of fp32. Seen: 0.99 and more."""

_MAPS = class_maps.CLASS_MAPS
_LAYERS = frozenset({"logits", "both_stages", "score", "directions"})


def record_maps(model: onnx.ModelProto, head: Head, contract: Contract) -> dict[str, str]:
    """Returns the metadata entry with the graph that computes the maps of a model, whatever its precision.

    Raises `ParityError` where the model does not pool what its answers follow from.
    """
    graph = _Fragment(model, contract)
    last, earlier = _feature_maps(model, head, contract)
    weights = graph.constant("kernel", np.ascontiguousarray(head.kernel.T)[:, :, np.newaxis, np.newaxis])
    features = graph.read(last)
    rounded = contract.precision is not Precision.FP32
    maps = graph.add("Conv", [features, weights, graph.constant("bias", head.bias)], "" if rounded else _MAPS)
    if rounded:  # what its logits lose by rounding, and by the ends of their range, is lost everywhere alike
        column = graph.constant("column", np.array([0, -1, 1, 1]))
        logits = graph.add("Reshape", [contract.logits_name, column])
        lost = graph.add("Sub", [logits, graph.add("GlobalAveragePool", [maps])])
        maps = graph.add("Add", [maps, lost], _MAPS)
    outputs: dict[str, list[str | int]] = {_MAPS: ["N", len(contract.classes), "height", "width"]}
    if head.score is not None and earlier is not None:
        if isinstance(head.score, SquaredScore):
            score = _squared_score(graph, head.score, graph.read(earlier))
        else:
            largest = None
            if weight := head.score.largest_logit:
                largest = _largest_logit(graph, weight, len(contract.classes), maps, contract.logits_name)
            score = _linear_score(graph, head.score, features, graph.read(earlier), largest)
        graph.add("Squeeze", [score, graph.constant("channel", np.array([1]))], class_maps.FAMILIARITY_MAP)
        outputs[class_maps.FAMILIARITY_MAP] = ["N", "earlier_height", "earlier_width"]
    return class_maps.to_metadata(graph.serialize(outputs))


class MapParity(Struct, frozen=True, kw_only=True):
    """How the maps of a file fit its answers, and those of fp32."""

    images: int
    mean_difference: float
    """Largest absolute difference of a logit and the mean of its map."""
    familiarity_difference: float | None
    """The same of familiarity and the sigmoid of the mean of its map; None where the model has no such score."""
    correlation: float | None
    """With the maps of fp32, of what speaks for the first class against the others; None for fp32."""
    familiarity_limit: float
    limit: float = MEAN_LIMIT

    def describe(self) -> str:
        """Describes it in one line."""
        familiarity = self.familiarity_difference
        of_familiarity = ""
        if familiarity is not None:
            of_familiarity = f", of familiarity {familiarity:.2g} (limit {self.familiarity_limit:g})"
        as_fp32 = "" if self.correlation is None else f"; correlation with those of fp32 {self.correlation:.3f}"
        return (
            f"the mean of a map is the answer on {self.images} images: largest difference of a logit "
            f"{self.mean_difference:.2g} (limit {self.limit:g}){of_familiarity}{as_fp32}"
        )


def compare_maps(candidate: Classifier, images: Sequence[LabelledImage], fp32: Classifier | None = None) -> MapParity:
    """Checks the maps of a file on images; those of a smaller precision also against fp32.

    Raises `ParityError` where they differ beyond a limit.
    """
    logits, familiarity, found, expected = 0.0, None, [], []
    for batch in load_batches(images, candidate.contract.image_size):
        outputs = candidate.predict(batch, maps=True)
        assert outputs.maps is not None  # noqa: S101 - for mypy
        logits = max(logits, largest_difference(outputs.logits, outputs.maps.classes.mean(axis=(2, 3))))
        if outputs.familiarity is not None and outputs.maps.familiarity is not None:
            means = 0.5 + 0.5 * np.tanh(0.5 * outputs.maps.familiarity.mean(axis=(1, 2)))  # the sigmoid
            familiarity = max(familiarity or 0.0, largest_difference(outputs.familiarity, means))
        found.append(_evidence(outputs.maps))
        if fp32 is not None:
            reference = fp32.predict(batch, maps=True).maps
            assert reference is not None  # noqa: S101 - for mypy
            expected.append(_evidence(reference))
    precision = candidate.contract.precision
    limits = (("a logit", logits, MEAN_LIMIT), ("familiarity", familiarity or 0.0, FAMILIARITY_TOLERANCE[precision]))
    for name, difference, limit in limits:
        if difference > limit:
            raise ParityError(
                f"maps of {precision.value}: {name} and the mean of its map differ by {difference:.3g}, expected "
                f"at most {limit:g}"
            )
    correlation = float(np.corrcoef(np.concatenate(found), np.concatenate(expected))[0, 1]) if expected else None
    if correlation is not None and not correlation >= CORRELATION_LIMIT:
        raise ParityError(
            f"maps of {precision.value} and of fp32 have a correlation of {correlation:.3f}, expected at least "
            f"{CORRELATION_LIMIT:g}"
        )
    return MapParity(
        images=len(images),
        mean_difference=logits,
        familiarity_difference=familiarity,
        correlation=correlation,
        familiarity_limit=FAMILIARITY_TOLERANCE[precision],
    )


def _evidence(maps: class_maps.BatchMaps) -> _Floats:
    """Returns what speaks for the first class, at each position of each image, one after the other."""
    return class_maps.class_evidence(maps.classes, 0, axis=1).ravel()


def _feature_maps(model: onnx.ModelProto, head: Head, contract: Contract) -> tuple[str, str | None]:
    """Returns the names of the feature maps that logits and, beside them, familiarity are pooled from."""
    nodes = model.graph.node
    for_logits = ancestors_of(nodes, contract.logits_name)
    pools = [node for node in nodes if node.op_type == "GlobalAveragePool"]
    last = [node.input[0] for node in pools if node.output[0] in for_logits]
    earlier = [node.input[0] for node in pools if node.output[0] not in for_logits]
    if len(last) != 1 or (head.score is not None and len(earlier) != 1):
        raise ParityError(f"the graph pools {last} for its logits and {earlier} for familiarity, expected one of each")
    return last[0], earlier[0] if earlier else None


def _largest_logit(graph: "_Fragment", weight: float, classes: int, maps: str, logits: str) -> str:
    """Weighs what each position says for the class of the largest logit, less the mean of all classes."""
    index = graph.add("ArgMax", [logits], axis=1, keepdims=0)
    off_and_on = graph.constant("off_and_on", weight * (np.array([0, 1], np.float32) - 1 / classes))
    weights = graph.add("OneHot", [index, graph.constant("classes", np.array([classes])), off_and_on])
    column = graph.add("Reshape", [weights, graph.constant("column", np.array([0, -1, 1, 1]))])
    return graph.add("ReduceSum", [graph.add("Mul", [maps, column]), graph.constant("channel", np.array([1]))])


def _linear_score(graph: "_Fragment", score: LinearScore, last: str, earlier: str, largest: str | None) -> str:
    """Adds what both stages say; the last one, which has half as many rows and columns, or one more, is enlarged."""
    shape = (1, -1, 1, 1)
    of_last = graph.add("Conv", [last, graph.constant("score_last", score.last.reshape(shape))])
    if largest:
        of_last = graph.add("Add", [of_last, largest])
    bias = graph.constant("score_bias", np.array([score.bias], np.float32))
    of_earlier = graph.add("Conv", [earlier, graph.constant("score_earlier", score.earlier.reshape(shape)), bias])
    enlarged = graph.add(
        "Resize", [of_last, "", "", graph.add("Shape", [of_earlier])], mode="nearest",
        coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    )  # fmt: skip
    # Where it has not exactly half as many, some are repeated more often: the mean is to stay what it was.
    shift = graph.add("Sub", [graph.add("GlobalAveragePool", [of_last]), graph.add("GlobalAveragePool", [enlarged])])
    return graph.add("Add", [graph.add("Add", [enlarged, shift]), of_earlier])


def _squared_score(graph: "_Fragment", score: SquaredScore, earlier: str) -> str:
    """Shares out a sum of weighted squares: w y^2 is w y times y, and y is linear in the features of each position."""
    matrix, offset = graph.constant("directions", score.directions), graph.constant("offset", score.offset)
    pooled = graph.add("Flatten", [graph.add("GlobalAveragePool", [earlier])])
    distances = graph.add("Gemm", [pooled, matrix, offset])
    weighted = graph.add("Mul", [distances, graph.constant("score", score.weights)])
    slopes = graph.add("Gemm", [weighted, matrix], transB=1)
    column = graph.constant("column", np.array([0, -1, 1, 1]))
    products = graph.add("Mul", [earlier, graph.add("Reshape", [slopes, column])])
    axis = graph.constant("channel", np.array([1]))
    of_position = graph.add("ReduceSum", [products, axis])
    of_offset = graph.add("ReduceSum", [graph.add("Mul", [weighted, offset]), axis])
    bias = graph.constant("score_bias", np.array([score.bias], np.float32))
    rest = graph.add("Reshape", [graph.add("Add", [of_offset, bias]), column])
    return graph.add("Add", [of_position, rest])


class _Fragment:
    """Nodes to put behind those of another graph, whose values and constants they may use."""

    def __init__(self, model: onnx.ModelProto, contract: Contract) -> None:
        self._graph = onnx.GraphProto()
        self._is_half = contract.precision is Precision.FP16
        self._there: dict[str, onnx.TensorProto] = {tensor.name: tensor for tensor in model.graph.initializer}
        self._own: dict[str, str] = {}

    def read(self, value: str) -> str:
        """Returns a value of the other graph in float32."""
        return self.add("Cast", [value], to=TensorProto.FLOAT) if self._is_half else value

    def constant(self, name: str, array: NDArray[Any]) -> str:
        """Returns the name of a constant: one of the other graph, if it has that one, too."""
        if name not in self._own:
            self._own[name] = self._find(array) or f"{_MAPS}/{name}"
            if self._own[name] not in self._there:
                self._graph.initializer.append(numpy_helper.from_array(array, self._own[name]))
        return self._own[name]

    def _find(self, array: NDArray[Any]) -> str | None:
        data_type = helper.np_dtype_to_tensor_dtype(array.dtype)
        same = (
            name
            for name, tensor in self._there.items()
            if tuple(tensor.dims) == array.shape
            and tensor.data_type == data_type
            and np.array_equal(numpy_helper.to_array(tensor), array)
        )
        return next(same, None)

    def add(self, operator: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """Adds a node; returns the name of its output."""
        name = f"{_MAPS}/{len(self._graph.node)}"
        self._graph.node.append(helper.make_node(operator, inputs, [output or name], name, **attributes))
        return output or name

    def serialize(self, outputs: dict[str, list[str | int]]) -> bytes:
        """Returns the nodes, their constants and their outputs, by name with their shapes."""
        for name, shape in outputs.items():
            self._graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        content: bytes = self._graph.SerializeToString()
        return content

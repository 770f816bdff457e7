"""Rewrites a graph so that it computes less and answers the same.

Two things cost time in a ResNet50 as it is converted. A 1x1 convolution with stride 2 reads one position in four of
what the layers before it have computed everywhere. And a first convolution on three channels, with a mean to subtract
from each, works on runs of three numbers, where the kernels of ONNX Runtime are made for long ones.
"""

import math
from collections.abc import Collection
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

_EACH_FOR_ITSELF = frozenset({"Add", "Mul", "Relu"})
"""Operators that compute each position from the same position of their inputs."""


def skip_unread_positions(model: onnx.ModelProto) -> None:
    """Computes only every second row and column where 1x1 convolutions with stride 2 read no others.

    The stride moves up to the last operator that has to compute all positions: in ResNet50, the 3x3 convolution at the
    end of a stage. The other way into that stage's sum, which is needed whole elsewhere, is thinned out by a 1x1
    pooling with stride 2. What is left is computed by the same numbers in the same order. Graphs without such
    convolutions stay as they are.

    Args:
        model: Pictures as (N, C, H, W); changed in place.
    """
    graph = _Graph(model)
    for name in [output for node in model.graph.node for output in node.output]:
        readers = [node for node in graph.readers(name) if _reads_every_second(node)]
        known = {node.output[0] for node in readers}
        if len(readers) > 1 or (readers and graph.can_be_thinned(name, known)):
            thinned = graph.thin_out(name, known)
            for node in readers:
                node.input[0] = thinned
                _set(node, "strides", [1, 1])
    graph.forget_shapes()


def widen_first_convolution(model: onnx.ModelProto) -> None:
    """Turns pictures into blocks of 2x2 pixels with 12 channels, which the first convolution reads with stride 1.

    The kernel's taps are sorted likewise, with zeros where its size is odd. What comes before that convolution (a
    mean, for each channel) is computed on whole rows. A graph that does not begin so stays as it is.

    Args:
        model: uint8 pictures (N, S, S, 3), changed to (N, 3, S, S) before a first convolution with stride 2; changed
            in place.
    """
    graph = _Graph(model)
    (image, *_), size = model.graph.input, model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    turn = next((node for node in model.graph.node if node.op_type == "Transpose"), None)
    conv = graph.only_reader(turn.output[0]) if turn else None
    if turn is None or conv is None or conv.op_type != "Conv" or list(_get(turn, "perm", [])) != [0, 3, 1, 2]:
        return
    weights = graph.constants.get(conv.input[1])
    before = graph.pointwise(image.name, turn)
    layout = None if weights is None else _Blocks.of(conv, weights, size)
    if before is None or weights is None or layout is None:
        return
    half = size // 2
    pixels = [f"{image.name}_{step}" for step in ("in_pairs", "in_blocks", "in_rows", "as_blocks")]
    start = [
        helper.make_node("Reshape", [image.name, graph.add([0, half, 2, half, 6], pixels[0])], [pixels[0]], pixels[0]),
        helper.make_node("Transpose", [pixels[0]], [pixels[1]], pixels[1], perm=[0, 1, 3, 2, 4]),
        helper.make_node("Reshape", [pixels[1], graph.add([0, half, half * 12], pixels[2])], [pixels[2]], pixels[2]),
    ]
    for place, node in enumerate(start):
        model.graph.node.insert(place, node)
    first, last = before[0], before[-1]
    first.input[0] = pixels[2]
    for node in before:
        for place, name in enumerate(node.input):
            if name in graph.constants:
                value = graph.constants[name].ravel()
                row = value[0] if value.size == 1 else np.tile(value, half * 4)
                node.input[place] = graph.add(row, f"{name}_in_rows")
    back = helper.make_node(
        "Reshape", [last.output[0], graph.add([0, half, half, 12], pixels[3])], [pixels[3]], pixels[3]
    )
    model.graph.node.insert(list(model.graph.node).index(turn), back)
    turn.input[0] = pixels[3]
    conv.input[1] = graph.add(layout.sort(weights), f"{conv.input[1]}_in_blocks")
    _set(conv, "kernel_shape", [layout.taps // 2] * 2)
    _set(conv, "strides", [1, 1])
    _set(conv, "pads", [layout.before, layout.before, layout.after, layout.after])
    graph.forget_shapes()


class _Blocks:
    """How a convolution with stride 2 reads blocks of 2x2 pixels.

    Attributes:
        taps: Of the widened kernel, in pixels, along one axis.
        front: Taps that are zeros, before the others.
        before: Blocks of padding before the picture.
        after: Blocks of padding after it.
    """

    def __init__(self, taps: int, front: int, before: int, after: int) -> None:
        self.taps, self.front, self.before, self.after = taps, front, before, after

    @classmethod
    def of(cls, conv: onnx.NodeProto, weights: NDArray[Any], size: int) -> "_Blocks | None":
        """Finds it; None where there is none."""
        kernel, pads = list(weights.shape[2:]), list(_get(conv, "pads", [0, 0, 0, 0]))
        plain = _is_explicit(conv) and list(_get(conv, "strides", [1, 1])) == [2, 2] and _get(conv, "group", 1) == 1
        if not plain or size % 2 or weights.shape[1] != 3 or kernel[0] != kernel[1] or len(set(pads)) != 1:
            return None
        pad = pads[0]
        front = pad % 2  # each window begins with a block
        taps = 2 * math.ceil((kernel[0] + front) / 2)
        positions = (size + 2 * pad - kernel[0]) // 2 + 1
        before = (pad + front) // 2
        after = positions - 1 + taps // 2 - size // 2 - before
        return cls(taps, front, before, after) if after >= 0 else None

    def sort(self, weights: NDArray[Any]) -> NDArray[Any]:
        """Changes (O, 3, K, K) to (O, 12, taps / 2, taps / 2): channels are row in the block, column, colour."""
        outputs, _, kernel, _ = weights.shape
        wide = np.zeros((outputs, 3, self.taps, self.taps), weights.dtype)
        wide[:, :, self.front : self.front + kernel, self.front : self.front + kernel] = weights
        half = self.taps // 2
        blocks = wide.reshape(outputs, 3, half, 2, half, 2).transpose(0, 3, 5, 1, 2, 4)
        return np.ascontiguousarray(blocks.reshape(outputs, 12, half, half))


class _Graph:
    """A graph to walk through and to change.

    Attributes:
        constants: Values of its initializers and of its `Constant` nodes.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self._outputs = {value.name for value in model.graph.output}
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Constant" and (value := _get(node, "value", None)) is not None:
                self.constants[node.output[0]] = numpy_helper.to_array(value)

    def readers(self, name: str) -> list[onnx.NodeProto]:
        """Gives the nodes that take a value."""
        return [node for node in self._graph.node if name in node.input]

    def only_reader(self, name: str) -> onnx.NodeProto | None:
        """Gives the node that takes a value, if there is one and the value is no output."""
        readers = self.readers(name)
        return readers[0] if len(readers) == 1 and name not in self._outputs else None

    def add(self, values: list[int] | NDArray[Any] | np.generic, name: str) -> str:
        """Adds an initializer, named after what it is for, unless it is there."""
        name = f"{name}_constant"
        if all(tensor.name != name for tensor in self._graph.initializer):
            self._graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def pointwise(self, start: str, end: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """Lists the nodes from a value to a node, if each takes but the one before and numbers for the channels.

        The channels are their last axis. Nobody else reads what is between.
        """
        nodes: list[onnx.NodeProto] = []
        while (node := self.only_reader(start)) != end:
            if node is None or node.op_type not in {"Cast", "Add", "Sub", "Mul", "Div"} or node.input[0] != start:
                return None
            if any(name not in self.constants or self.constants[name].size not in {1, 3} for name in node.input[1:]):
                return None
            nodes.append(node)
            start = node.output[0]
        return nodes or None

    def thin_out(self, name: str, readers: Collection[str]) -> str:
        """Makes every second row and column of a value.

        Args:
            name: Of the value.
            readers: The nodes that need no more of it, by their first outputs.

        Returns:
            Name of what they are to read: the same, if nobody else reads it.
        """
        node = self._maker(name)
        if node is not None and self.can_be_thinned(name, readers):
            if node.op_type == "Conv" and not (_is_1x1(node) and list(_get(node, "strides", [1, 1])) == [1, 1]):
                _set(node, "strides", [2 * stride for stride in _get(node, "strides", [1, 1])])
                return name
            sources = [node.input[0]] if node.op_type == "Conv" else dict.fromkeys(node.input)  # each once
            for source in [source for source in sources if source not in self.constants]:
                thinned = self.thin_out(source, {node.output[0]})
                for place, taken in enumerate(node.input):
                    if taken == source:
                        node.input[place] = thinned
            return name
        thinned = f"{name}_every_second"
        if not any(thinned in other.output for other in self._graph.node):
            pooling = helper.make_node("MaxPool", [name], [thinned], thinned, kernel_shape=[1, 1], strides=[2, 2])
            self._graph.node.insert(0 if node is None else list(self._graph.node).index(node) + 1, pooling)
        return thinned

    def can_be_thinned(self, name: str, readers: Collection[str]) -> bool:
        """Tells whether what makes a value can make every second row and column instead; see `thin_out`."""
        node = self._maker(name)
        if node is None or name in self._outputs:
            return False
        if any(reader.output[0] not in readers for reader in self.readers(name)):
            return False
        if node.op_type == "Conv":
            return _is_explicit(node)
        return node.op_type in _EACH_FOR_ITSELF and self._is_the_same_everywhere(node)

    def _maker(self, name: str) -> onnx.NodeProto | None:
        return next((node for node in self._graph.node if name in node.output), None)

    def _is_the_same_everywhere(self, node: onnx.NodeProto) -> bool:
        """Tells whether a node's constants do not depend on the position."""
        constants = [self.constants[name] for name in node.input if name in self.constants]
        return all(value.size == 1 or (value.ndim >= 3 and value.shape[-2:] == (1, 1)) for value in constants)

    def forget_shapes(self) -> None:
        """Removes what is not used any more, and the shapes of what comes in between."""
        used = {name for node in self._graph.node for name in node.input}
        kept = [tensor for tensor in self._graph.initializer if tensor.name in used]
        del self._graph.initializer[:], self._graph.value_info[:]
        self._graph.initializer.extend(kept)


def _reads_every_second(node: onnx.NodeProto) -> bool:
    strides = list(_get(node, "strides", [1, 1]))
    return node.op_type == "Conv" and _is_explicit(node) and _is_1x1(node) and strides == [2, 2]


def _is_1x1(conv: onnx.NodeProto) -> bool:
    return list(_get(conv, "kernel_shape", [])) == [1, 1] and not any(_get(conv, "pads", []))


def _is_explicit(conv: onnx.NodeProto) -> bool:
    """Tells whether the padding is given in numbers, and the taps lie side by side."""
    return _get(conv, "auto_pad", b"NOTSET") == b"NOTSET" and set(_get(conv, "dilations", [1])) == {1}


def _get(node: onnx.NodeProto, name: str, otherwise: Any) -> Any:
    return next((helper.get_attribute_value(item) for item in node.attribute if item.name == name), otherwise)


def _set(node: onnx.NodeProto, name: str, value: list[int]) -> None:
    for item in [item for item in node.attribute if item.name == name]:
        node.attribute.remove(item)
    node.attribute.append(helper.make_attribute(name, value))

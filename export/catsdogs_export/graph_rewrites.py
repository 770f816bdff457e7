"""Rewrites a graph so that it computes less and answers the same.

Two things cost time in a ResNet50 as it is converted. A 1x1 convolution with stride 2 reads one position in four of
what the layers before it have computed everywhere. And a first convolution on three channels, with a mean to subtract
from each, works on runs of three numbers, where the kernels of ONNX Runtime are made for long ones.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

_EACH_FOR_ITSELF = frozenset({"Add", "Mul", "Relu"})  # output positions depend on the same input position


def skip_unread_positions(model: ir.Model) -> None:
    """Computes only every second row and column where 1x1 convolutions with stride 2 read no others, in place.

    The stride moves up to the last operator that has to compute all positions: in ResNet50, the 3x3 convolution at the
    end of a stage. The other way into that stage's sum, which is needed whole elsewhere, is thinned out by a 1x1
    pooling with stride 2. What is left is computed by the same numbers in the same order. Graphs without such
    convolutions stay as they are.
    """
    for value in [output for node in model.graph for output in node.outputs]:
        readers = [node for node in value.consumers() if _reads_every_second(node)]
        if len(readers) > 1 or (readers and _can_be_thinned(value, readers)):
            thinned = _thin_out(model.graph, value, readers)
            for node in readers:
                node.replace_input_with(0, thinned)
                _set(node, strides=[1, 1])
    _clean_up(model)


def widen_first_convolution(model: ir.Model) -> None:
    """Turns images into blocks of 2x2 pixels with 12 channels, which the first convolution reads with stride 1.

    The kernel's taps are sorted likewise, with zeros where its size is odd. What comes before that convolution (a
    mean, for each channel) is computed on whole rows. A graph that does not begin so stays as it is: uint8 images
    (N, S, S, 3), changed to (N, 3, S, S) before a first convolution with stride 2.
    """
    graph, image = model.graph, model.graph.inputs[0]
    turn = next((node for node in graph if node.op_type == "Transpose"), None)
    conv = _only_reader(turn.outputs[0]) if turn else None
    if turn is None or conv is None or conv.op_type != "Conv" or _get(turn, "perm", []) != [0, 3, 1, 2]:
        return
    kernel, size = conv.inputs[1], image.shape[1] if image.shape else None
    weights, before = _constant(kernel), _pointwise(image, turn)
    layout = None if weights is None or not isinstance(size, int) else _Blocks.from_convolution(conv, weights, size)
    if before is None or weights is None or layout is None or kernel is None or not isinstance(size, int):
        return
    half, first, last = size // 2, before[0], before[-1]

    def reshape(reader: ir.Node, source: ir.Value, name: str, shape: Sequence[int]) -> ir.Value:
        node = ir.node("Reshape", [source, _add(graph, np.array(shape, np.int64), name)], name=name)
        node.outputs[0].name = name
        graph.insert_before(reader, node)
        return node.outputs[0]

    pairs = reshape(first, image, f"{image.name}_in_pairs", [0, half, 2, half, 6])
    # For each block, six numbers of the first row of a pair and six of the second: half the time of a Transpose
    one_each = _add(graph, np.array([1, 1], np.int64), f"{image.name}_rows_of_a_pair")
    rows = ir.node("Split", [pairs, one_each], {"axis": 2}, num_outputs=2, name=f"{image.name}_rows")
    blocks = ir.node("Concat", rows.outputs, {"axis": 4}, name=f"{image.name}_in_blocks")
    graph.insert_before(first, [rows, blocks])
    first.replace_input_with(0, reshape(first, blocks.outputs[0], f"{image.name}_in_rows", [0, half, half * 12]))
    for node in before:
        for index, value in enumerate(node.inputs):
            if value is not None and (constant := _constant(value)) is not None:
                flat = constant.ravel()
                row = flat[0] if flat.size == 1 else np.tile(flat, half * 4)
                node.replace_input_with(index, _add(graph, row, f"{value.name}_in_rows"))
    turn.replace_input_with(0, reshape(turn, last.outputs[0], f"{image.name}_as_blocks", [0, half, half, 12]))
    conv.replace_input_with(1, _add(graph, layout.sort(weights), f"{kernel.name}_in_blocks"))
    pads = [layout.before, layout.before, layout.after, layout.after]
    _set(conv, kernel_shape=[layout.taps // 2] * 2, strides=[1, 1], pads=pads)
    _clean_up(model)


@dataclass(frozen=True, slots=True)
class _Blocks:
    """How a convolution with stride 2 reads blocks of 2x2 pixels."""

    taps: int
    """Width of the widened kernel along one axis, in pixels."""
    front: int
    """Leading taps that are zeros."""
    before: int
    """Blocks of padding before the image."""
    after: int
    """Blocks of padding after it."""

    @classmethod
    def from_convolution(cls, conv: ir.Node, weights: NDArray[Any], size: int) -> "_Blocks | None":
        """Returns the layout for a convolution; None where there is none."""
        kernel, pads = list(weights.shape[2:]), _get(conv, "pads", [0, 0, 0, 0])
        plain = _is_explicit(conv) and _get(conv, "strides", [1, 1]) == [2, 2] and _get(conv, "group", 1) == 1
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


def _thin_out(graph: ir.Graph, value: ir.Value, readers: Collection[ir.Node]) -> ir.Value:
    """Makes every second row and column of a value, and returns it: the same value, if nobody else reads it."""
    node = value.producer()
    if node is not None and _can_be_thinned(value, readers):
        if node.op_type == "Conv" and not (_is_1x1(node) and _get(node, "strides", [1, 1]) == [1, 1]):
            _set(node, strides=[2 * stride for stride in _get(node, "strides", [1, 1])])
            return value
        sources = node.inputs[:1] if node.op_type == "Conv" else dict.fromkeys(node.inputs)  # each once
        for source in [source for source in sources if source is not None and _constant(source) is None]:
            thinned = _thin_out(graph, source, [node])
            for index in [index for index, taken in enumerate(node.inputs) if taken is source]:
                node.replace_input_with(index, thinned)
        return value
    name = f"{value.name}_every_second"
    for reader in value.consumers():
        if reader.outputs[0].name == name:
            return reader.outputs[0]
    pooling = ir.node("MaxPool", [value], {"kernel_shape": [1, 1], "strides": [2, 2]}, name=name)
    pooling.outputs[0].name = name
    if node is None:
        graph.insert_before(graph[0], pooling)
    else:
        graph.insert_after(node, pooling)
    return pooling.outputs[0]


def _can_be_thinned(value: ir.Value, readers: Collection[ir.Node]) -> bool:
    """Returns whether what makes a value can make every second row and column instead; see `_thin_out`."""
    node = value.producer()
    if node is None or value.is_graph_output() or any(reader not in readers for reader in value.consumers()):
        return False
    if node.op_type == "Conv":
        return _is_explicit(node)
    constants = [constant for item in node.inputs if item and (constant := _constant(item)) is not None]
    is_same_everywhere = all(item.size == 1 or (item.ndim >= 3 and item.shape[-2:] == (1, 1)) for item in constants)
    return node.op_type in _EACH_FOR_ITSELF and is_same_everywhere


def _pointwise(start: ir.Value, end: ir.Node) -> list[ir.Node] | None:
    """Lists the nodes from a value to a node, if each takes but the one before and numbers for the channels.

    The channels are their last axis. Nobody else reads what is between.
    """
    nodes: list[ir.Node] = []
    while (node := _only_reader(start)) is not end:
        if node is None or node.op_type not in {"Cast", "Add", "Sub", "Mul", "Div"} or node.inputs[0] is not start:
            return None
        constants = [None if value is None else _constant(value) for value in node.inputs[1:]]
        if any(constant is None or constant.size not in {1, 3} for constant in constants):
            return None
        nodes.append(node)
        start = node.outputs[0]
    return nodes or None


def _only_reader(value: ir.Value) -> ir.Node | None:
    """Returns the node that takes a value, if there is one and the value is no output."""
    readers = list(value.consumers())
    return readers[0] if len(readers) == 1 and not value.is_graph_output() else None


def _constant(value: ir.Value | None) -> NDArray[Any] | None:
    """Returns the value of an initializer or of a `Constant` node; None for all others."""
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def _add(graph: ir.Graph, values: NDArray[Any], name: str) -> ir.Value:
    """Adds an initializer, named after what it is for, unless it is there."""
    name = f"{name}_constant"
    if name not in graph.initializers:
        graph.register_initializer(ir.Value(name=name, const_value=ir.tensor(values, name=name)))
    return graph.initializers[name]


def _clean_up(model: ir.Model) -> None:
    """Removes initializers that are not used any more, and types and shapes of what comes in between.

    Some have changed; and what converts to fp16 would cast initializers that have an entry.
    """
    for name in [name for name, value in model.graph.initializers.items() if not value.uses()]:
        del model.graph.initializers[name]
    between = [value for node in model.graph for value in node.outputs if not value.is_graph_output()]
    for value in (*between, *model.graph.initializers.values()):
        value.type = value.shape = None


def _reads_every_second(node: ir.Node) -> bool:
    return node.op_type == "Conv" and _is_explicit(node) and _is_1x1(node) and _get(node, "strides", [1, 1]) == [2, 2]


def _is_1x1(conv: ir.Node) -> bool:
    return _get(conv, "kernel_shape", []) == [1, 1] and not any(_get(conv, "pads", []))


def _is_explicit(conv: ir.Node) -> bool:
    """Returns whether the padding is given in numbers, and the taps lie side by side."""
    return _get(conv, "auto_pad", "NOTSET") == "NOTSET" and set(_get(conv, "dilations", [1])) == {1}


def _get(node: ir.Node, name: str, otherwise: Any) -> Any:
    if name not in node.attributes:
        return otherwise
    value = node.attributes[name].value
    return list(value) if isinstance(value, tuple) else value


def _set(node: ir.Node, **attributes: list[int]) -> None:
    for name, value in attributes.items():
        node.attributes[name] = ir.AttrInt64s(name, value)

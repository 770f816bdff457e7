import copy
import re
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from catsdogs_export import graph_rewrites

Node = onnx.NodeProto


def skip_unread_positions(model: onnx.ModelProto) -> onnx.ModelProto:
    graph = ir.from_proto(model)
    graph_rewrites.skip_unread_positions(graph)
    return ir.to_proto(graph)


def widen_first_convolution(model: onnx.ModelProto) -> onnx.ModelProto:
    graph = ir.from_proto(model)
    graph_rewrites.widen_first_convolution(graph)
    return ir.to_proto(graph)


def conv(source: str, name: str, kernel: int = 1, stride: int = 1, pad: int = 0, *, same: bool = False) -> Node:
    node = helper.make_node(
        "Conv", [source, f"{name}_w", f"{name}_b"], [name], name, kernel_shape=[kernel] * 2, strides=[stride] * 2
    )
    padding = helper.make_attribute("auto_pad", "SAME_UPPER") if same else helper.make_attribute("pads", [pad] * 4)
    node.attribute.append(padding)
    return node


def make(nodes: list[Node], outputs: list[str], size: int, shapes: dict[str, tuple[int, ...]]) -> onnx.ModelProto:
    """A graph on float (N, 4, S, S), with random constants."""
    random = np.random.default_rng(0)
    constants = [
        numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name) for name, shape in shapes.items()
    ]
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, size, size])
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", "C", "H", "W"]) for name in outputs]
    graph = helper.make_graph(nodes, "graph", [image], results, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def answers(model: onnx.ModelProto, batch: NDArray[np.generic]) -> list[NDArray[np.float32]]:
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(item) for item in session.run(None, {session.get_inputs()[0].name: batch})]


def strides(model: onnx.ModelProto) -> dict[str, list[int]]:
    return {
        node.name: next(list(item.ints) for item in node.attribute if item.name == "strides")
        for node in model.graph.node
        if node.op_type in {"Conv", "MaxPool"}
    }


SHAPES = {
    "a_w": (4, 4, 3, 3), "a_b": (4,), "b_w": (4, 4, 1, 1), "b_b": (4,), "c_w": (6, 4, 1, 1), "c_b": (6,),
    "d_w": (6, 4, 1, 1), "d_b": (6,), "scale": (1, 4, 1, 1),
}  # fmt: skip

BLOCK = [
    conv("x", "a", 3, pad=1),
    conv("a", "b"),
    helper.make_node("Mul", ["b", "scale"], ["scaled"], "scaled"),
    helper.make_node("Add", ["scaled", "x"], ["sum"], "sum"),
    helper.make_node("Relu", ["sum"], ["out"], "out"),
    conv("out", "c", stride=2),
    conv("out", "d", stride=2),
]
"""The end of a stage of a ResNet50, and the beginning of the next."""


@pytest.mark.parametrize("size", [8, 9])
def test_a_stride_moves_up_to_what_needs_all_positions(size: int) -> None:
    model = make(BLOCK, ["c", "d"], size, SHAPES)
    batch = np.random.default_rng(1).normal(size=(2, 4, size, size)).astype(np.float32)
    before = answers(model, batch)
    assert strides(model) == {"a": [1, 1], "b": [1, 1], "c": [2, 2], "d": [2, 2]}
    model = skip_unread_positions(model)
    assert strides(model) == {"a": [2, 2], "b": [1, 1], "x_every_second": [2, 2], "c": [1, 1], "d": [1, 1]}
    for one, other in zip(before, answers(model, batch), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_somebody_else_reads_is_computed_whole() -> None:
    """As where familiarity reads a stage."""
    nodes = [*BLOCK, helper.make_node("GlobalAveragePool", ["out"], ["mean"], "mean")]
    model = make(nodes, ["c", "d", "mean"], 8, SHAPES)
    batch = np.random.default_rng(1).normal(size=(2, 4, 8, 8)).astype(np.float32)
    before = answers(model, batch)
    model = skip_unread_positions(model)
    assert strides(model) == {"a": [1, 1], "b": [1, 1], "out_every_second": [2, 2], "c": [1, 1], "d": [1, 1]}
    for one, other in zip(before, answers(model, batch), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_constant_for_each_position_stops_it() -> None:
    model = make(BLOCK, ["c", "d"], 8, SHAPES | {"scale": (1, 4, 8, 8)})
    batch = np.random.default_rng(1).normal(size=(1, 4, 8, 8)).astype(np.float32)
    before = answers(model, batch)
    model = skip_unread_positions(model)
    assert "scaled_every_second" in strides(model)
    for one, other in zip(before, answers(model, batch), strict=True):
        np.testing.assert_array_equal(one, other)


SCALE = helper.make_node("Constant", [], ["scale"], value=numpy_helper.from_array(np.ones((4, 6, 6), np.float32)))


def nameless(nodes: list[Node]) -> list[Node]:
    copies = copy.deepcopy(nodes)
    for node in copies:
        node.name = ""
    return copies


@pytest.mark.parametrize(
    ("nodes", "outputs"),
    [
        (nameless([*BLOCK, helper.make_node("GlobalAveragePool", ["out"], ["mean"])]), ["c", "d", "mean"]),
        ([conv("x", "a", 3, pad=1), helper.make_node("Mul", ["a", "a"], ["out"]), conv("out", "c", stride=2)],
         ["c"]),
        ([SCALE, conv("x", "a", 3), helper.make_node("Mul", ["a", "scale"], ["out"]), conv("out", "c", stride=2)],
         ["c"]),
    ],
)  # fmt: skip
def test_odd_graphs_answer_the_same(nodes: list[Node], outputs: list[str]) -> None:
    """Nodes without names; a value that is taken twice; a constant that is a node."""
    shapes = {name: shape for name, shape in SHAPES.items() if not any(name in node.output for node in nodes)}
    model = make(nodes, outputs, 8, shapes)
    batch = np.random.default_rng(1).normal(size=(2, 4, 8, 8)).astype(np.float32)
    before = answers(model, batch)
    model = skip_unread_positions(model)
    for one, other in zip(before, answers(model, batch), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "nodes",
    [
        [conv("x", "a", 3, pad=1), helper.make_node("Softplus", ["a"], ["out"], "out"), conv("out", "c", stride=2)],
        [conv("x", "a", 3, pad=1), conv("a", "c", stride=1)],  # reads all
        [conv("x", "a", 3, pad=1, stride=2), conv("a", "b"), conv("b", "c", 1, stride=2, same=True)],
        [conv("x", "a", 3, pad=1), conv("a", "b", stride=2), conv("a", "c")],  # one reads every second, one all
    ],
)
def test_other_graphs_stay_as_they_are(nodes: list[Node]) -> None:
    model = make(nodes, ["c"], 8, SHAPES)
    before = ir.to_proto(ir.from_proto(model))
    assert list(skip_unread_positions(model).graph.node) == list(before.graph.node)


def first_layers(
    size: int, kernel: int, pad: int, stride: int = 2, *, one: object = 1.0, twice: bool = False, watched: bool = False
) -> onnx.ModelProto:
    """uint8 images (N, S, S, 3), minus a mean (or twice that), to a first convolution; it may be watched."""
    random = np.random.default_rng(kernel)
    weights = random.normal(size=(5, 3, kernel, kernel)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["x"], ["cast"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["cast", "one"], ["mul"], "mul"),
        helper.make_node("Add", ["mul", "mean"], ["centred" if not twice else "half"], "centred"),
        *([helper.make_node("Add", ["half", "mean"], ["centred"], "again")] if twice else []),
        helper.make_node("Transpose", ["centred"], ["turned"], "turned", perm=[0, 3, 1, 2]),
        conv("turned", "c", kernel, stride, pad),
    ]
    constants = {
        "one": np.asarray(one, np.float32), "mean": np.array([-103, -116, -123], np.float32), "c_w": weights,
        "c_b": np.zeros(5, np.float32),
    }  # fmt: skip
    image = helper.make_tensor_value_info("x", TensorProto.UINT8, ["N", size, size, 3])
    results = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", "C", "H", "W"])
        for name in (["c", "centred"] if watched else ["c"])
    ]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "graph", [image], results, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(("kernel", "pad"), [(7, 3), (7, 2), (5, 2), (3, 1), (3, 0), (4, 1), (2, 0)])
def test_the_first_convolution_answers_the_same_from_blocks(kernel: int, pad: int) -> None:
    model = first_layers(32, kernel, pad)
    batch = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), np.uint8)
    (before,) = answers(model, batch)
    model = widen_first_convolution(model)
    widened = next(node for node in model.graph.node if node.op_type == "Conv")
    assert next(list(item.ints) for item in widened.attribute if item.name == "strides") == [1, 1]
    (after,) = answers(model, batch)
    assert after.shape == before.shape
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-3)  # values of some hundreds, in another order


@pytest.mark.parametrize(("one", "twice"), [([[[[1.0]]]], False), (2.0, False), (1.0, True)])
def test_constants_of_any_shape_and_taken_twice(one: object, twice: bool) -> None:
    model = first_layers(32, 7, 3, one=one, twice=twice)
    batch = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), np.uint8)
    (before,) = answers(model, batch)
    model = widen_first_convolution(model)
    assert "x_in_blocks" in {node.name for node in model.graph.node}
    np.testing.assert_allclose(answers(model, batch)[0], before, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("size", "stride", "watched"), [(33, 2, False), (32, 1, False), (32, 2, True)])
def test_another_beginning_stays_as_it_is(size: int, stride: int, watched: bool) -> None:
    model = first_layers(size, 7, 3, stride, watched=watched)
    before = ir.to_proto(ir.from_proto(model))
    assert widen_first_convolution(model) == before


def test_a_resnet50_becomes_lean(published: Path) -> None:
    """Else a change in the converter would take the gain away unseen."""
    fp32, int8 = (onnx.load(published / name) for name in ("model.onnx", "model.int8.onnx"))
    halved = [name for name, stride in strides(fp32).items() if stride == [2, 2] and "block" in name]
    layers = [match.group() for match in (re.search(r"conv\d_block\d_(out|\d)", name) for name in halved) if match]
    assert layers == ["conv2_block2_out", "conv2_block3_2", "conv3_block3_out", "conv3_block4_2", "conv4_block6_out"]
    assert [name.endswith("_every_second") for name in halved] == [True, False, True, False, True]
    assert "image_in_blocks" in [node.name for node in int8.graph.node]

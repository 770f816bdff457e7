"""Writes tiny.onnx: a model of one layer that says "cat" to red images and "dog" to blue ones.

And familiar.onnx: the same, to which grey images are not familiar.

    python -m tests.edge.make_tiny_model

Its input, outputs, contract and self-test are those of a real model, so that every test of the edge can use it.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from catsdogs_edge.model.class_maps import CLASS_MAPS, FAMILIARITY_MAP, to_metadata
from catsdogs_export.seal import seal
from tests.edge.contracts import CONTRACT, FAMILIAR

PATH = Path(__file__).with_name("tiny.onnx")
FAMILIAR_PATH = PATH.with_name("familiar.onnx")


def make_tiny_model(size: int = 224, *, familiarity: bool = False) -> onnx.ModelProto:
    """Builds mean colour -> linear layer -> softmax; familiarity is that red is far from blue."""
    weights = np.array([[0.05, -0.05], [0, 0], [-0.05, 0.05]], np.float32)  # red, green, blue -> cat, dog
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 2]) for name in ("logits", "probabilities")]
    constants, nodes = {"weights": weights}, []
    if familiarity:
        constants |= {"half": np.array([0.5, -0.5], np.float32), "bias": np.array(-4, np.float32)}
        nodes = [
            helper.make_node("MatMul", ["logits", "half"], ["difference"]),
            helper.make_node("Abs", ["difference"], ["distance"]),
            helper.make_node("Add", ["distance", "bias"], ["score"]),
            helper.make_node("Sigmoid", ["score"], ["familiarity"]),
        ]
        outputs.append(helper.make_tensor_value_info("familiarity", TensorProto.FLOAT, ["N"]))
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["pixels"], ["colour"], axes=[1, 2], keepdims=0),
            helper.make_node("MatMul", ["colour", "weights"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"]),
            *nodes,
        ],
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", size, size, 3])],
        outputs,
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def make_maps(size: int = 224, *, familiarity: bool = False) -> dict[str, str]:
    """Builds the same for parts of an image: 7 x 7 for the classes, 14 x 14 for familiarity."""
    nodes = [
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Transpose", ["weights"], ["rows"], perm=[1, 0]),
        helper.make_node("Reshape", ["rows", "kernel_shape"], ["kernel"]),
    ]
    constants = {"kernel_shape": np.array([2, 3, 1, 1])}
    outputs: dict[str, list[str | int | None]] = {CLASS_MAPS: ["N", 2, 7, 7]}
    for name, parts in ((CLASS_MAPS, 7), ("finer_maps", 14))[: 1 + familiarity]:
        edge = size // parts
        pool = helper.make_node(
            "AveragePool", ["planes"], [f"{name}/colours"], kernel_shape=[edge] * 2, strides=[edge] * 2
        )
        nodes += [pool, helper.make_node("Conv", [f"{name}/colours", "kernel"], [name])]
    if familiarity:  # the distance is the difference or its negative, whichever is above 0
        constants |= {
            "channel": np.array([1]),
            "column": np.array([-1, 1, 1]),
            "halves": np.array([[[0.5]], [[-0.5]]], np.float32),
        }
        nodes += [
            helper.make_node("Sign", ["difference"], ["sign"]),
            helper.make_node("Reshape", ["sign", "column"], ["signs"]),
            helper.make_node("Mul", ["finer_maps", "halves"], ["parts"]),
            helper.make_node("ReduceSum", ["parts", "channel"], ["differences"], keepdims=0),
            helper.make_node("Mul", ["differences", "signs"], ["distances"]),
            helper.make_node("Add", ["distances", "bias"], [FAMILIARITY_MAP]),
        ]
        outputs[FAMILIARITY_MAP] = ["N", 14, 14]
    graph = onnx.GraphProto(
        node=nodes,
        initializer=[numpy_helper.from_array(array, name) for name, array in constants.items()],
        output=[helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
    )
    return to_metadata(graph.SerializeToString())


if __name__ == "__main__":
    PATH.write_bytes(seal(make_tiny_model(), CONTRACT, make_maps()))
    FAMILIAR_PATH.write_bytes(seal(make_tiny_model(familiarity=True), FAMILIAR, make_maps(familiarity=True)))

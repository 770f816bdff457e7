"""Writes tiny.onnx: a model of one layer that says "cat" to red images and "dog" to blue ones.

And familiar.onnx: the same, to which grey images are not familiar.

    python -m tests.edge.make_tiny_model

Its input, outputs, contract and self-test are those of a real model, so that every test of the edge can use it.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

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


if __name__ == "__main__":
    PATH.write_bytes(seal(make_tiny_model(), CONTRACT))
    FAMILIAR_PATH.write_bytes(seal(make_tiny_model(familiarity=True), FAMILIAR))

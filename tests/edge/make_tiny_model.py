"""Writes tiny.onnx: a model of one layer that says "cat" to red pictures and "dog" to blue ones.

    python -m tests.edge.make_tiny_model

Its input, outputs, contract and self-test are those of a real model, so that every test of the edge can use it.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from catsdogs_export.finish import finish
from tests.edge.contracts import CONTRACT

PATH = Path(__file__).with_name("tiny.onnx")


def make_tiny_model(size: int = 224) -> onnx.ModelProto:
    """Builds mean colour -> linear layer -> softmax."""
    weights = np.array([[0.05, -0.05], [0, 0], [-0.05, 0.05]], np.float32)  # red, green, blue -> cat, dog
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["pixels"], ["colour"], axes=[1, 2], keepdims=0),
            helper.make_node("MatMul", ["colour", "weights"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", size, size, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 2]) for name in ("logits", "probabilities")],
        [numpy_helper.from_array(weights, "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


if __name__ == "__main__":
    onnx.save(make_tiny_model(), PATH)
    finish(PATH, CONTRACT)

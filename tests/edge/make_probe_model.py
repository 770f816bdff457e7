"""Writes probe.onnx: one convolution, on which `catsdogs-doctor` tries each execution provider.

python -m tests.edge.make_probe_model
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

PATH = Path(__file__).parents[2] / "edge" / "catsdogs_edge" / "doctor" / "probe.onnx"


def make_probe_model() -> onnx.ModelProto:
    """Builds a 1x1 convolution of float32 (1, 3, 8, 8)."""
    kernel = numpy_helper.from_array(np.ones((4, 3, 1, 1), np.float32), "kernel")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "kernel"], ["y"])],
        "probe",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 8, 8])],
        [kernel],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


if __name__ == "__main__":
    onnx.save(make_probe_model(), PATH)

"""Converts a graph to fp16, for CUDA; on a CPU it only is slower."""

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

from catsdogs_edge.model.contract import Contract
from catsdogs_export.float_nodes import kept_in_float


def to_fp16(fp32: onnx.ModelProto, contract: Contract) -> onnx.ModelProto:
    """Returns an fp16 version of a graph, which is left as it is; inputs and outputs keep their types."""
    model = onnx.ModelProto()
    model.CopyFrom(fp32)
    kept = kept_in_float(model.graph.node, contract)
    half: onnx.ModelProto = convert_float_to_float16(model, keep_io_types=True, node_block_list=kept)
    # A node that takes one value twice, such as a square, gets that value's cast twice.
    once = {node.output[0]: node for node in half.graph.node}
    half.graph.ClearField("node")
    half.graph.node.extend(once.values())
    return half

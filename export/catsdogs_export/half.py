"""Converts an ONNX file to fp16, for CUDA; on a CPU it only is slower."""

from pathlib import Path

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

from catsdogs_edge.contract import Contract
from catsdogs_export.graph import kept_in_float


def to_fp16(fp32: Path, fp16: Path, contract: Contract) -> None:
    """Writes an fp16 version of an ONNX file; inputs and outputs keep their types.

    Args:
        fp32: From `convert`.
        fp16: To write; overwritten if it exists.
        contract: Of either file.
    """
    model = onnx.load(fp32)
    kept = kept_in_float(model.graph.node, contract)
    half = convert_float_to_float16(model, keep_io_types=True, node_block_list=kept)
    # A node that takes one value twice, such as a square, gets that value's cast twice.
    once = {node.output[0]: node for node in half.graph.node}
    half.graph.ClearField("node")
    half.graph.node.extend(once.values())
    onnx.save(half, fp16)

"""Which nodes of a graph stay in float32, and the graph in float16: for CUDA, on a CPU it only is slower."""

from collections.abc import Sequence

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

from catsdogs_edge.model.contract import Contract


def kept_in_float(nodes: Sequence[onnx.NodeProto], contract: Contract) -> list[str]:
    """Returns the names of the nodes, in topological order, that stay in float32 whatever the precision.

    They are the softmax and the division by the temperature before it, where small differences would be rounded away;
    all from the input to the first convolution: pixels minus a mean, which would be rounded for nothing; and what is
    there for familiarity alone: a few small sums. Not the pooling before them: to change its large input back into
    floats would take longer than all the rest of it.
    """
    names = []
    after_logits = ancestors_of(nodes, contract.probabilities_name) - ancestors_of(nodes, contract.logits_name)
    from_pixels = {contract.input_name}
    for node in nodes:
        is_before_convolution = node.op_type not in {"Conv", "QuantizeLinear"} and from_pixels & set(node.input)
        if is_before_convolution:
            from_pixels |= set(node.output)
        if is_before_convolution or after_logits & set(node.output):
            names.append(node.name)
    if contract.familiarity:
        alone = ancestors_of(nodes, contract.familiarity_name) - ancestors_of(nodes, contract.logits_name)
        found = [node for node in nodes if node.output[0] in alone and node.op_type != "GlobalAveragePool"]
        names += [node.name for node in found if node.name not in names]
    return names


def ancestors_of(nodes: Sequence[onnx.NodeProto], output: str) -> set[str]:
    """Returns the names of all values that an output follows from, and itself."""
    needed = {output}
    for node in reversed(nodes):
        if needed & set(node.output):
            needed |= set(node.input)
    return needed


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

"""Questions about an ONNX graph that more than one step asks."""

from collections.abc import Sequence

import onnx

from catsdogs_edge.model.contract import Contract


def kept_in_float(nodes: Sequence[onnx.NodeProto], contract: Contract) -> list[str]:
    """Returns the names of the nodes, in topological order, that stay in float32 whatever the precision.

    They are the softmax, whose small values would be rounded away; all from the input to the first convolution: pixels
    minus a mean, which would be rounded for nothing; and what is there for familiarity alone: a few small sums. Not the
    pooling before them: to change its large input back into floats would take longer than all the rest of it.
    """
    names = []
    reached = {contract.input_name}
    for node in nodes:
        first = node.op_type not in {"Conv", "QuantizeLinear"} and reached & set(node.input)
        if first:
            reached |= set(node.output)
        if first or contract.probabilities_name in node.output:
            names.append(node.name)
    if contract.familiarity:
        both = [values_behind(nodes, name) for name in (contract.familiarity_name, contract.logits_name)]
        alone = [node for node in nodes if node.output[0] in both[0] - both[1] and node.op_type != "GlobalAveragePool"]
        names += [node.name for node in alone if node.name not in names]
    return names


def values_behind(nodes: Sequence[onnx.NodeProto], output: str) -> set[str]:
    """Returns the names of all values that an output follows from, and itself."""
    needed = {output}
    for node in reversed(nodes):
        if needed & set(node.output):
            needed |= set(node.input)
    return needed

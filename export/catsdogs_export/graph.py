"""Questions about an ONNX graph that more than one step asks."""

from collections.abc import Iterable

import onnx

from catsdogs_edge.contract import Contract


def preprocessing_and_softmax(nodes: Iterable[onnx.NodeProto], contract: Contract) -> list[str]:
    """Names the nodes that stay in float32 whatever the precision.

    They are the softmax, whose small values would be rounded away, and all from the input to the first
    convolution: pixels minus a mean, which would be rounded for nothing.

    Args:
        nodes: Of the graph, in topological order.
        contract: Names the input and the outputs.
    """
    names = []
    reached = {contract.input_name}
    for node in nodes:
        first = node.op_type not in {"Conv", "QuantizeLinear"} and reached & set(node.input)
        if first:
            reached |= set(node.output)
        if first or contract.probabilities_name in node.output:
            names.append(node.name)
    return names

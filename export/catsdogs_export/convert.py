"""Converts a Keras model to ONNX with tf2onnx, and keeps that converter's quirks in one place."""

import os

import keras
import onnx
import onnx_ir as ir
import tensorflow as tf
import tf2onnx

from catsdogs_edge.errors import ParityError
from catsdogs_edge.model.contract import Contract
from catsdogs_export.graph_rewrites import skip_unread_positions

os.environ["TF2ONNX_CATCH_ERRORS"] = "FALSE"
"""Else an optimizer of tf2onnx that fails is a warning, and each works on a copy: 2.5 GB more for a ResNet50."""

OPSET = 17
"""From opset 18 on, tf2onnx writes global average pooling as ReduceMean, which no quantizer knows."""


def convert(network: keras.Model, contract: Contract) -> onnx.ModelProto:
    """Converts a network on the TensorFlow backend to a checked graph with the inputs and outputs of its contract.

    `from_function`, because tf2onnx 1.17's `from_keras` fails with Keras 3 (onnx/tensorflow-onnx#2448).

    Raises:
        ParityError: The converted graph is not valid, or has other inputs or outputs than the contract.
    """
    shape = (None, contract.image_size, contract.image_size, 3)
    signature = [tf.TensorSpec(shape, tf.uint8, name=contract.input_name)]

    @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]
    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = network(image, training=False)
        logits, *familiarity = outputs if len(network.outputs) > 1 else [outputs]
        tempered = logits if contract.temperature == 1 else logits / contract.temperature
        # A dictionary, because only its keys become the names of the outputs.
        results = {contract.logits_name: logits, contract.probabilities_name: tf.nn.softmax(tempered)}
        return results | ({contract.familiarity_name: familiarity[0]} if contract.familiarity else {})

    converted, _ = tf2onnx.convert.from_function(serve, input_signature=signature, opset=OPSET)
    graph = ir.from_proto(converted)
    skip_unread_positions(graph)
    model: onnx.ModelProto = ir.to_proto(graph)
    check_graph(model, contract)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    return model


def check_graph(model: onnx.ModelProto, contract: Contract) -> None:
    """Refuses a graph that tf2onnx got wrong: it goes on where it cannot convert, and can leak inputs."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ParityError(f"the converted graph is not valid ONNX: {error}") from error
    inputs = [(value.name, value.type.tensor_type.elem_type) for value in model.graph.input]
    if inputs != [(contract.input_name, onnx.TensorProto.UINT8)]:
        raise ParityError(
            f"the converted graph has the inputs {[name for name, _ in inputs]}, expected one of uint8: "
            f"'{contract.input_name}'"
        )
    outputs = [value.name for value in model.graph.output]
    if sorted(outputs) != sorted(contract.outputs):
        raise ParityError(f"the converted graph has the outputs {outputs}, expected {list(contract.outputs)}")

"""The converter's known faults, each with the reason why `convert` does what it does."""

import keras
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import tensorflow as tf
import tf2onnx
from msgspec.structs import replace

from catsdogs_edge.errors import ParityError
from catsdogs_export.convert import OPSET, check_graph, convert
from tests.edge import contracts

CONTRACT = replace(contracts.CONTRACT, image_size=32)


def network(*, leaky: bool = False) -> keras.Model:
    image = keras.Input((32, 32, 3), dtype="uint8", name="image")
    if leaky:
        centred = keras.applications.resnet50.preprocess_input(keras.ops.cast(image, "float32"))
    else:
        centred = keras.layers.Rescaling(1.0, [-100.0, -110.0, -120.0])(image)
    features = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(centred))
    return keras.Model(image, keras.layers.Dense(2)(features))


def test_a_plain_network_converts() -> None:
    model = convert(network(), CONTRACT)
    assert [value.name for value in model.graph.output] == ["logits", "probabilities"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


def test_keras_own_preprocessing_leaks_a_second_input() -> None:
    with pytest.raises(ParityError, match=r"has the inputs \[.*, .*\], expected one"):
        convert(network(leaky=True), CONTRACT)


def test_from_keras_fails_on_keras_3() -> None:
    """onnx/tensorflow-onnx#2448; when this test fails, `convert` may become simpler."""
    sequential = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    with pytest.raises(KeyError, match="keras_tensor"):
        tf2onnx.convert.from_keras(sequential, opset=OPSET)


def test_opset_18_would_write_a_pooling_that_no_quantizer_knows() -> None:
    signature = [tf.TensorSpec((None, 32, 32, 3), tf.uint8, name="image")]
    function = tf.function(network(), input_signature=signature)
    pooling = {}
    for opset in (OPSET, 18):
        model, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=opset)
        pooling[opset] = {"GlobalAveragePool", "ReduceMean"} & {node.op_type for node in model.graph.node}
    assert pooling == {OPSET: {"GlobalAveragePool"}, 18: {"ReduceMean"}}


def test_other_outputs_are_refused() -> None:
    model = convert(network(), CONTRACT)
    del model.graph.output[1]
    with pytest.raises(ParityError, match=r"has the outputs \['logits'\]"):
        check_graph(model, CONTRACT)


def test_an_invalid_graph_is_refused() -> None:
    model = convert(network(), CONTRACT)
    model.graph.node.append(onnx.helper.make_node("Relu", ["nowhere"], ["somewhere"]))
    with pytest.raises(ParityError, match="not valid ONNX"):
        check_graph(model, CONTRACT)


def test_the_batch_is_free() -> None:
    model = convert(network(), CONTRACT)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for count in (1, 3):
        batch = np.zeros((count, 32, 32, 3), np.uint8)
        assert session.run(["logits"], {"image": batch})[0].shape == (count, 2)


def test_an_optimizer_that_fails_is_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("as a bug in an optimizer would")

    monkeypatch.setattr("tf2onnx.optimizer.identity_optimizer.IdentityOptimizer._optimize", fail)
    with pytest.raises(RuntimeError, match="as a bug in an optimizer would"):
        convert(network(), CONTRACT)

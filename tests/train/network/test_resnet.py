from pathlib import Path

import keras
import numpy as np
import pytest

from catsdogs_edge.errors import DataError
from catsdogs_train.network.resnet import build_network, fold_normalization, get_backbone, to_inference_model, unfreeze
from catsdogs_train.settings import ComputeDtype, Unfreeze
from tests.train.small_network import build_small_resnet


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing\.h5: No such file"):
        build_network(2, "missing.h5")
    (tmp_path / "text.weights.h5").write_text("text")
    with pytest.raises(DataError, match="not weights of"):
        build_network(2, str(tmp_path / "text.weights.h5"))
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(DataError, match="not weights of"):
        build_network(2, str(tmp_path / "other.weights.h5"))


def test_the_network_preprocesses_as_imagenet_s_own_function(tmp_path: Path) -> None:
    """Against `preprocess_input` (BGR, mean subtracted) in front of the weights as they are in the file."""
    keras.utils.set_random_seed(1)
    backbone = keras.applications.ResNet50(include_top=False, weights=None, pooling="avg", input_shape=(224, 224, 3))
    backbone.save_weights(tmp_path / "random.weights.h5")
    network = build_network(3, str(tmp_path / "random.weights.h5"))
    batch = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
    centred = keras.applications.resnet50.preprocess_input(batch.astype(np.float32))
    features = keras.ops.convert_to_numpy(backbone(centred, training=False))
    kernel, bias = network.get_layer("logits").get_weights()
    # The same float32 products added up in another order.
    np.testing.assert_allclose(network(batch, training=False), features @ kernel + bias, rtol=1e-3, atol=1e-4)


def test_a_file_that_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"not the model\.keras of a run"):
        build_network(2, str(tmp_path / "model.keras"), 32)
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)]).save(tmp_path / "other.keras")
    with pytest.raises(DataError, match=r"not the model\.keras of a run"):
        build_network(2, str(tmp_path / "other.keras"), 32)
    image = keras.Input((32, 32, 3))
    narrow = keras.Model(image, keras.layers.GlobalAveragePooling2D()(image))
    keras.Sequential([narrow, keras.layers.Dense(2)]).save(tmp_path / "narrow.keras")
    with pytest.raises(DataError, match=r"of a run \(no layer called conv4_block1_out\)"):
        build_network(2, str(tmp_path / "narrow.keras"), 32)


@pytest.mark.parametrize("precision", [ComputeDtype.FLOAT32, ComputeDtype.BFLOAT16])
def test_an_earlier_run_brings_its_own_layers(small_weights: Path, precision: ComputeDtype) -> None:
    network = build_network(3, str(small_weights), None, precision)
    (saved,) = (layer for layer in keras.saving.load_model(small_weights).layers if layer.name == "resnet50")
    backbone = get_backbone(network)
    assert [layer.name for layer in backbone.layers] == [layer.name for layer in saved.layers]
    assert backbone.get_layer("conv1_conv").compute_dtype == precision.value
    assert network.output_shape == (None, 3)
    for found, expected in zip(backbone.get_weights(), saved.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert to_inference_model(network, 64).input_shape == (None, 64, 64, 3)


def test_only_the_output_layer_learns() -> None:
    network = build_network(2, "none")
    assert [variable.path for variable in network.trainable_variables] == ["logits/kernel", "logits/bias"]
    assert network.output_shape == (None, 2)
    assert network.input.dtype == "uint8"


@pytest.mark.parametrize(
    ("part", "first", "last_frozen"),
    [
        (Unfreeze.CONV5, "conv5_block1_1_conv", "conv4_block6_3_conv"),
        (Unfreeze.CONV4, "conv4_block4_1_conv", "conv4_block3_3_conv"),
        (Unfreeze.ALL, "conv1_conv", None),
    ],
)
def test_a_part_is_unfrozen_to_the_end_but_for_batch_normalization(
    part: Unfreeze, first: str, last_frozen: str | None
) -> None:
    network = build_network(2, "none", 32)
    unfreeze(network, part)
    learning = {variable.path.split("/")[-2] for variable in network.trainable_variables}
    assert {first, "conv5_block3_3_conv", "logits"} <= learning
    assert last_frozen not in learning
    assert not [name for name in learning if name.endswith("_bn")]


def test_what_is_computed_in_bfloat16_is_saved_in_float32() -> None:
    keras.utils.set_random_seed(0)
    network = build_network(2, "none", 32, ComputeDtype.BFLOAT16)
    assert network.get_layer("resnet50").get_layer("conv1_conv").compute_dtype == "bfloat16"
    assert network.get_layer("subtract_imagenet_mean").compute_dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"
    batch = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    twin = to_inference_model(network, 32)
    assert {layer.compute_dtype for layer in twin.get_layer("resnet50").layers} == {"float32"}
    logits = np.asarray(twin(batch, training=False))
    assert logits.dtype == np.float32
    # bfloat16 has 8 bits: 0.4 % in each of 50 layers.
    np.testing.assert_allclose(logits, network(batch, training=False), rtol=0.1, atol=0.05 * np.abs(logits).max())


def test_a_backbone_answers_the_same_without_batch_normalization() -> None:
    backbone = get_backbone(build_small_resnet(2))
    folded = fold_normalization(backbone)
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in folded.layers)
    images = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype(np.float32)
    np.testing.assert_allclose(folded(images), backbone(images, training=False), rtol=1e-4, atol=1e-5)

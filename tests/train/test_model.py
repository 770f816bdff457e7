from pathlib import Path

import keras
import numpy as np
import pytest

from catsdogs_edge.errors import DataError
from catsdogs_train.model import build_network


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
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


def test_only_the_output_layer_learns() -> None:
    network = build_network(2, "none")
    assert [variable.path for variable in network.trainable_variables] == ["logits/kernel", "logits/bias"]
    assert network.output_shape == (None, 2)
    assert network.input.dtype == "uint8"

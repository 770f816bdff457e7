"""The network: uint8 RGB in, ImageNet mean subtracted inside, ResNet50, one output neuron for each class."""

import contextlib
import logging
import re
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.errors import DataError
from catsdogs_train.network.precision import dtype_policy_scope
from catsdogs_train.settings import ComputeDtype, Unfreeze

_log = logging.getLogger(__name__)

IMAGENET_MEAN = (123.68, 116.779, 103.939)
"""Mean of red, green and blue over ImageNet, as the published ResNet50 weights expect it.

From "caffe" mode of `keras.applications.imagenet_utils.preprocess_input`: the mean is subtracted and
nothing is divided. Scaling by 1/255 is the well-known mistake with these weights.
"""

_FIRST_UNFROZEN = {Unfreeze.CONV5: "conv5_block1", Unfreeze.CONV4: "conv4_block4", Unfreeze.ALL: "conv1"}

_Shape: TypeAlias = tuple[int | None, int | None, int]
_Floats: TypeAlias = NDArray[np.float32]


def build_network(
    class_count: int, weights: str, image_size: int | None = 224, precision: ComputeDtype = ComputeDtype.FLOAT32
) -> keras.Model:
    """Builds a ResNet50, uint8 RGB (N, S, S, 3) to float32 logits, with a frozen backbone and a new output layer.

    He et al., "Deep Residual Learning for Image Recognition", 2016, as in `keras.applications.ResNet50`; from an
    earlier run, with the layers of that run.

    The published weights expect blue, green, red. Instead of turning every image around, the input channels of the
    first convolution are turned around once, here: the same sums, in another order.

    Args:
        class_count: Number of output neurons.
        weights: `imagenet` (downloaded by Keras), `none` (random), or the path of a weights file of
            `keras.applications.ResNet50(include_top=False)`, or of the `model.keras` of an earlier run.
        image_size: S, a multiple of 8; None takes any, as training does, which may show smaller views than the images
            that it validates on.
        precision: Of the backbone; not `auto`.

    Raises:
        DataError: The weights cannot be downloaded or do not fit.
    """
    with dtype_policy_scope(precision):  # also of the whole: for the scaled loss that Keras adds to a float16 model
        return add_ends(_build_backbone((image_size, image_size, 3), weights), class_count)


def add_ends(backbone: keras.Model, class_count: int) -> keras.Model:
    """Puts the mean before a backbone, which is frozen, and an output layer behind it."""
    backbone.trainable = False
    image = keras.Input(backbone.input.shape[1:], dtype="uint8", name="image")
    # A Rescaling layer, because Keras' own preprocess_input leaks a second input into the ONNX graph.
    mean = [-value for value in IMAGENET_MEAN]
    centred = keras.layers.Rescaling(1.0, mean, dtype="float32", name="subtract_imagenet_mean")(image)
    # training=False keeps batch normalization on its stored statistics, also when layers around it are unfrozen.
    features = backbone(centred, training=False)
    logits = keras.layers.Dense(class_count, dtype="float32", name="logits")(features)
    return keras.Model(image, logits, name="catsdogs")


def load_network(file: Path, image_size: int | None, precision: ComputeDtype) -> keras.Model:
    """Reads the `model.keras` of a run, without its familiarity, for images of another size; see `build_network`.

    Raises `DataError` for a file that is none.
    """
    with dtype_policy_scope(precision):
        backbone, output_layer = _read_run(file, str(file))
        if output_layer is None:
            raise DataError(f"{file}: not the model.keras of a run (no layer called logits)")
        kernel, bias = output_layer
        network = add_ends(_copy(backbone, (image_size, image_size, 3)), len(bias))
        network.get_layer("logits").set_weights([kernel, bias])
    return network


def unfreeze(network: keras.Model, part: Unfreeze) -> None:
    """Lets a part of the backbone learn, but for batch normalization; compile the network afterwards."""
    backbone = get_backbone(network)
    backbone.trainable = True
    for layer in backbone.layers:
        late = layer.name >= _FIRST_UNFROZEN[part]  # names sort as the layers follow each other
        layer.trainable = late and not isinstance(layer, keras.layers.BatchNormalization)


def get_backbone(network: keras.Model) -> keras.Model:
    """Returns the backbone inside a network from `build_network`."""
    (backbone,) = (layer for layer in network.layers if isinstance(layer, keras.Model))
    return backbone


def stage_output(backbone: keras.Model, stage: int) -> str:
    """Returns the name of the layer that ends a stage, 2 to 5; raises `ValueError` where there is none."""
    outputs = [layer.name for layer in backbone.layers if re.fullmatch(rf"conv{stage}_block\d+_out", layer.name)]
    if not outputs:
        raise ValueError(f"no layer called conv{stage}_block1_out")
    return str(outputs[-1])


def build_twin(network: keras.Model, image_size: int | None, precision: ComputeDtype) -> keras.Model:
    """Builds a network of the same layers, with new weights; see `build_network`."""
    with dtype_policy_scope(precision):
        return add_ends(rebuild(get_backbone(network), (image_size, image_size, 3)), network.output.shape[-1])


def to_inference_model(network: keras.Model, image_size: int) -> keras.Model:
    """Returns the network as it is saved and exported: in float32, for one image size, without an optimizer."""
    twin = build_twin(network, image_size, ComputeDtype.FLOAT32)
    twin.set_weights(network.get_weights())
    return twin


def check_weights(weights: str) -> None:
    """Looks whether the weights can be there at all, before anything that takes long; raises `DataError`."""
    if weights in {"imagenet", "none"}:
        return
    try:
        Path(weights).open("rb").close()
    except OSError as error:
        expected = "'imagenet', 'none' or a weights file"
        raise DataError(f"--weights {weights}: {error.strerror} (expected {expected})") from error


def _build_backbone(shape: _Shape, weights: str) -> keras.Model:
    check_weights(weights)
    if weights.endswith(".keras"):
        return _copy(_read_run(Path(weights), f"--weights {weights}")[0], shape)
    resnet50 = partial(keras.applications.ResNet50, include_top=False, input_shape=shape, pooling="avg")
    if weights == "none":
        return resnet50(weights=None)
    if weights == "imagenet":
        _log.info("ImageNet's weights: 95 MB are downloaded, unless Keras has them in its cache")
        try:
            with contextlib.redirect_stdout(sys.stderr):  # Keras prints its progress
                backbone = resnet50()
        except Exception as error:  # Keras raises a bare Exception when a download fails
            if "URL fetch failure" not in str(error):
                raise
            way_out = "connect to the network, or pass a file that holds them with --weights FILE"
            raise DataError(f"the ImageNet weights cannot be downloaded ({error}): {way_out}") from error
    else:
        backbone = resnet50(weights=None)
        try:
            with warnings.catch_warnings():
                # Keras only warns about layers that it does not find in the file, and leaves them random.
                warnings.filterwarnings("error", message=".*freshly-initialized")
                backbone.load_weights(weights)
        except (OSError, ValueError, KeyError, UserWarning) as error:
            expected = "weights of keras.applications.ResNet50(include_top=False)"
            raise DataError(f"--weights {weights}: not {expected} ({error})") from error
    stem = backbone.get_layer("conv1_conv")
    kernel, bias = stem.get_weights()
    stem.set_weights([kernel[:, :, ::-1, :], bias])
    return backbone


def _read_run(file: Path, name: str) -> tuple[keras.Model, tuple[_Floats, _Floats] | None]:
    """Reads the backbone of a `model.keras`, and kernel (W, C) and bias (C,) of its output layer, if it has one.

    A second output of the backbone, which familiarity reads, stays out. Raises `DataError` for a file that is none.
    """
    try:
        run = keras.saving.load_model(file, compile=False)
        tapped = get_backbone(run)
        backbone = keras.Model(tapped.input, tapped.outputs[0], name=tapped.name)
        if len(backbone.output.shape) != 2:
            raise ValueError(f"features of shape {backbone.output.shape[1:]}, expected one row for each image")
        for stage in (4, 5):
            stage_output(backbone, stage)
        layer = next((layer for layer in run.layers if layer.name == "logits"), None)
        if layer is None:
            return backbone, None
        kernel, bias = layer.get_weights()
        return backbone, (kernel, bias)
    except (AttributeError, OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(f"{name}: not the model.keras of a run ({error})") from error


def _copy(backbone: keras.Model, shape: _Shape) -> keras.Model:
    """Copies a backbone, in the current dtype policy, for images of another shape."""
    copy = rebuild(backbone, shape)
    copy.set_weights(backbone.get_weights())
    return copy


def rebuild(
    backbone: keras.Model, shape: _Shape, edit: Callable[[dict[str, Any]], None] = lambda config: None
) -> keras.Model:
    """Builds the same layers anew, with new weights, for images of another shape and in the current dtype policy.

    `edit` may change the configuration of the backbone, as Keras describes it, in place.
    """
    config = backbone.get_config()
    for layer in config["layers"]:
        layer["config"].pop("dtype", None)
        layer.pop("build_config", None)  # shapes that follow from the image's
    config["layers"][0]["config"]["batch_shape"] = (None, *shape)
    edit(config)
    return keras.Model.from_config(config)


def tap_backbone(network: keras.Model, outputs: Any) -> Any:
    """Returns tensors of the backbone, one or a list, as they follow from the network's input; weights are shared."""
    backbone = get_backbone(network)
    tapped = keras.Model(backbone.input, outputs, name=backbone.name)
    return tapped(network.get_layer("subtract_imagenet_mean").output, training=False)


def find_tensors(nodes: Any) -> Iterator[list[Any]]:
    """Finds what a layer is fed by in Keras' description of it: name of a layer, and two numbers."""
    if isinstance(nodes, Mapping):
        if "keras_history" in nodes:
            yield nodes["keras_history"]
        nodes = list(nodes.values())
    if isinstance(nodes, list | tuple):
        for node in nodes:
            yield from find_tensors(node)


def fold_normalization(backbone: keras.Model) -> keras.Model:
    """Returns a backbone of the same answers without batch normalization: its factors go into the convolutions.

    Only for a backbone that does not learn: folded kernels can be a hundred times smaller, and Adam's steps do not
    shrink with them. A CPU needs two thirds of the time.
    """
    gone = {layer.name: layer for layer in backbone.layers if isinstance(layer, keras.layers.BatchNormalization)}
    before = {layer.input._keras_history.operation.name: layer for layer in gone.values()}
    replaced = {layer.name: name for name, layer in before.items()}

    def edit(config: dict[str, Any]) -> None:
        config["layers"] = [layer for layer in config["layers"] if layer["name"] not in gone]
        for layer in config["layers"]:
            for tensor in find_tensors(layer["inbound_nodes"]):
                tensor[0] = replaced.get(tensor[0], tensor[0])

    folded = rebuild(backbone, backbone.input.shape[1:], edit)
    for layer in folded.layers:
        weights = backbone.get_layer(layer.name).get_weights()
        if layer.name in before:
            normalization, (kernel, bias) = before[layer.name], weights
            gamma, beta, mean, variance = normalization.get_weights()
            gain = gamma / np.sqrt(variance + normalization.epsilon)
            weights = [kernel * gain, (bias - mean) * gain + beta]
        layer.set_weights(weights)
    return folded

"""EfficientNet-Lite0, which a user might pick instead of a smaller ResNet, in INT8 for ONNX Runtime and for LiteRT.

    python -m benchmarks.efficientnet_lite OUT --calibrate train/
    python -m benchmarks.lighter compare FULL/ SMALL/ --val val/ --beside OUT/model.int8.onnx --beside OUT/model.tflite

Its shape is that of https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite; its weights are
random, so it has a latency and no accuracy. For ONNX Runtime it goes through the export of `catsdogs-export --int8`.
"""

from pathlib import Path
from typing import Annotated, Any

import keras
import numpy as np
import tensorflow as tf
import typer
from keras import layers
from msgspec.structs import replace

from benchmarks.lighter import write_int8
from benchmarks.peers import calibration_files, quantize_for_litert
from catsdogs_edge.images.decode import load
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.contract import Precision
from catsdogs_train.network.resnet import add_ends

_BLOCKS = (  # how many, kernel, stride of the first, how much wider inside, channels
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)  # fmt: skip
_SIZE = 224  # edge length of its images in pixels


def main(
    out: Annotated[Path, typer.Argument(help="Folder for the files.")],
    calibrate: Annotated[Path, typer.Option(help="Images to calibrate on.")],
) -> None:
    """Write both files."""
    keras.utils.set_random_seed(0)
    network = add_ends(_build(), 2)
    out.mkdir(parents=True, exist_ok=True)
    images = calibration_files(calibrate)
    ours = replace(Classifier.load().contract, familiarity=None, blocks={}, temperature=1.0)
    contract = replace(ours, image_size=_SIZE, precision=Precision.FP32)
    write_int8(network, contract, images, out / "model.int8.onnx")

    @tf.function(input_signature=[tf.TensorSpec((1, _SIZE, _SIZE, 3), tf.uint8)])  # type: ignore[untyped-decorator]
    def logits(batch: Any) -> Any:
        return network(batch, training=False)

    holder = tf.Module()
    holder.logits, holder.weights = logits, [variable.value for variable in network.variables]
    batches = [load(path, _SIZE)[np.newaxis] for path in images]
    (out / "model.tflite").write_bytes(quantize_for_litert(holder, batches))


def _build() -> keras.Model:
    """Builds what lies between the mean and the output layer."""
    image = keras.Input((_SIZE, _SIZE, 3))
    flow = _convolve(layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False), image)
    for count, kernel, stride, wider, channels in _BLOCKS:
        for number in range(count):
            start, strides = flow, 1 if number else stride
            if wider > 1:
                flow = _convolve(layers.Conv2D(wider * flow.shape[-1], 1, use_bias=False), flow)
            flow = _convolve(layers.DepthwiseConv2D(kernel, strides=strides, padding="same", use_bias=False), flow)
            flow = _convolve(layers.Conv2D(channels, 1, use_bias=False), flow, is_last=True)
            flow = layers.Add()([start, flow]) if number else flow
    flow = _convolve(layers.Conv2D(1280, 1, use_bias=False), flow)
    return keras.Model(image, layers.GlobalAveragePooling2D()(flow), name="backbone")


def _convolve(layer: keras.layers.Layer, flow: Any, *, is_last: bool = False) -> Any:
    flow = layers.BatchNormalization()(layer(flow))
    return flow if is_last else layers.ReLU(6.0)(flow)


if __name__ == "__main__":
    typer.run(main)

"""Small networks: to train from them takes a third of the time of a ResNet50, or less."""

from pathlib import Path

import keras
import numpy as np

from catsdogs_train.network.resnet import add_ends


def write_small_run(folder: Path) -> None:
    """Writes the `model.keras` of an earlier run with four convolutions and random weights, named as a ResNet50's."""
    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 3))
    stem = keras.layers.Conv2D(16, 7, strides=4, padding="same", activation="relu", name="conv1_conv")(image)
    earlier = keras.layers.Conv2D(32, 3, strides=4, padding="same", name="conv4_block6_3_conv")(stem)
    earlier = keras.layers.ReLU(name="conv4_block6_out")(earlier)
    last = keras.layers.Conv2D(32, 3, padding="same", name="conv5_block1_1_conv")(earlier)
    last = keras.layers.BatchNormalization(name="conv5_block1_1_bn")(last)
    last = keras.layers.Conv2D(256, 1, name="conv5_block3_3_conv")(last)
    last = keras.layers.ReLU(name="conv5_block3_out")(last)
    backbone = keras.Model(image, keras.layers.GlobalAveragePooling2D(name="avg_pool")(last), name="resnet50")
    folder.mkdir()
    keras.Sequential([backbone, keras.layers.Dense(2)]).save(folder / "model.keras")


def build_small_resnet(classes: int, *, blocks: tuple[int, ...] = (2, 2, 2, 2), has_stem: bool = False) -> keras.Model:
    """Builds a ResNet with so many blocks in each stage, of 64 channels and more, as `build_network` does.

    Its layers have the names and the order of a ResNet50's; its weights, also those of batch normalization, are random.
    Before the blocks is a single convolution, unless it `has_stem`, with batch normalization and pooling.
    """
    keras.utils.set_random_seed(0)
    layers = keras.layers
    image = keras.Input((32, 32, 3))
    flow = layers.Conv2D(64 if has_stem else 16, 3, strides=2, padding="same", name="conv1_conv")(image)
    if has_stem:
        flow = layers.ReLU(name="conv1_relu")(layers.BatchNormalization(name="conv1_bn")(flow))
        flow = layers.MaxPooling2D(3, strides=1, padding="same", name="pool1_pool")(flow)
    for stage, count in enumerate(blocks, 2):
        residual = 16 << stage
        for number in range(1, count + 1):
            block = f"conv{stage}_block{number}"
            strides = 2 if number == 1 and stage > 2 else 1
            shortcut = flow
            if number == 1:
                shortcut = layers.Conv2D(residual, 1, strides=strides, name=f"{block}_0_conv")(flow)
                shortcut = layers.BatchNormalization(name=f"{block}_0_bn")(shortcut)
            for part, filters, size in ((1, residual // 2, 1), (2, residual // 2, 3), (3, residual, 1)):
                step = strides if part == 1 else 1
                name = f"{block}_{part}"
                flow = layers.Conv2D(filters, size, strides=step, padding="same", name=f"{name}_conv")(flow)
                flow = layers.BatchNormalization(name=f"{name}_bn")(flow)
                flow = flow if part == 3 else layers.ReLU(name=f"{name}_relu")(flow)
            flow = layers.Add(name=f"{block}_add")([shortcut, flow])
            flow = layers.ReLU(name=f"{block}_out")(flow)
    pooled = layers.GlobalAveragePooling2D(name="avg_pool")(flow)
    backbone = keras.Model(image, pooled, name="resnet50")
    random = np.random.default_rng(0)
    for layer in backbone.layers:
        if isinstance(layer, layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            scales = (random.uniform(0.8, 1.2, values.shape) for values in (gamma, variance))
            shifts = (random.uniform(-0.2, 0.2, values.shape) for values in (beta, mean))
            layer.set_weights([next(scales), next(shifts), next(shifts), next(scales)])
    return add_ends(backbone, classes)

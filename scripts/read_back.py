"""Reads the weights of an exported INT8 model back into a Keras network, from which `catsdogs-train --weights` goes on.

    python scripts/read_back.py MODEL.onnx NETWORK.keras

For a network of which only the exported file is left, as of the one in the package: INT8 weights become what they stand
for. Batch normalization, which the export folded into the convolutions before it, comes back in another division: what
it scales by makes all kernels equally large, as learning goes wrong where some are a hundred times smaller than others.
Familiarity is left out, because what goes on learns that anew. Of a smaller network (`--teacher`), one that has kept
all blocks.
"""

import re
from pathlib import Path
from typing import Annotated, Any

import keras
import numpy as np
import onnx
import typer
from numpy.typing import NDArray
from onnx import numpy_helper

from catsdogs_edge.errors import ModelError
from catsdogs_edge.model.onnx_file import read_onnx_file
from catsdogs_edge.output.files import atomic_file
from catsdogs_train.backend import set_up_keras
from catsdogs_train.network.resnet import add_ends, build_network, get_backbone, rebuild

_STEM = 7  # edge length of the first kernel
_LEAST = 1e-6  # for a channel of zeros
_LAYER = re.compile(r"conv\d_(?:block\d+_\d_)?conv|logits")  # in the name of its weights


def main(
    model: Annotated[Path, typer.Argument(help="An INT8 file that catsdogs-export wrote.")],
    network: Annotated[Path, typer.Argument(help="The .keras file to write.")],
) -> None:
    """Writes the network."""
    if network.suffix != ".keras" or network.exists():
        raise SystemExit(f"{network}: expected the name of a new file that ends in .keras")
    set_up_keras(0)
    read = read_back(model)
    with atomic_file(network) as temporary:
        read.save(temporary)


def read_back(model: Path) -> keras.Model:
    """Returns the network of an INT8 file: uint8 RGB (N, S, S, 3) to logits (N, C)."""
    try:
        graph = onnx.load_from_string(read_onnx_file(model).content).graph
    except ModelError as error:
        raise SystemExit(str(error)) from error
    image_size = graph.input[0].type.tensor_type.shape.dim[1].dim_value
    tensors = _read_constants(graph)
    layers = [(_LAYER.search(node.input[1]), node) for node in graph.node if node.op_type in {"Conv", "Gemm"}]
    weights = {match[0]: [tensors[name] for name in node.input[1:]] for match, node in layers if match}
    if "logits" not in weights:
        raise SystemExit(f"{model} has no layer called logits: expected a file of catsdogs-export --int8")
    kernel, bias = weights.pop("logits")

    def narrow(config: dict[str, Any]) -> None:
        for layer in config["layers"]:
            if layer["class_name"] == "Conv2D":
                if layer["name"] not in weights:
                    raise SystemExit(f"{model} has no {layer['name']}: expected all blocks of a ResNet50")
                layer["config"]["filters"] = len(weights[layer["name"]][0])

    whole = get_backbone(build_network(len(bias), "none", image_size))
    backbone = rebuild(whole, (image_size, image_size, 3), narrow)
    _fill(backbone, weights)
    network = add_ends(backbone, len(bias))
    network.get_layer("logits").set_weights([kernel, bias])
    return network


def _read_constants(graph: onnx.GraphProto) -> dict[str, NDArray[Any]]:
    """Returns what initializers hold, by name; for quantized ones, also what they stand for, by the name of that."""
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in tensors:
            values, scale, zero = (tensors[name].astype(np.float32) for name in node.input)
            axis = next((item.i for item in node.attribute if item.name == "axis"), 1)
            shape = [-1 if index == axis else 1 for index in range(values.ndim)] if scale.ndim else []
            tensors[node.output[0]] = (values - zero.reshape(shape)) * scale.reshape(shape)
    return tensors


def _fill(backbone: keras.Model, weights: dict[str, list[NDArray[Any]]]) -> None:
    """Sets kernels, shape (O, I, K, K), and biases, by layer; raises `KeyError` for a layer that is not in the file."""
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.Conv2D):
            kernel, *rest = weights[layer.name]
            bias = rest[0] if rest else np.zeros(len(kernel))  # the export leaves out one of zeros
            whole = _from_blocks(kernel) if kernel.shape[1:] == (12, 4, 4) else kernel
            # Each channel's mean square becomes 1 / inputs (LeCun et al., "Efficient BackProp", 1998).
            gain = np.maximum(np.sqrt(np.square(whole).sum(axis=(1, 2, 3))), _LEAST)
            layer.set_weights([whole.transpose(2, 3, 1, 0) / gain, np.zeros_like(bias)])
            normalization = backbone.get_layer(re.sub("conv$", "bn", layer.name))
            variance = np.full_like(gain, 1 - normalization.epsilon)
            normalization.set_weights([gain, bias, np.zeros_like(gain), variance])


def _from_blocks(kernel: NDArray[Any]) -> NDArray[Any]:
    """Undoes what the export makes of the first convolution: blocks of 2 x 2 pixels as 12 channels."""
    outputs, _, half, _ = kernel.shape
    wide = kernel.reshape(outputs, 2, 2, 3, half, half).transpose(0, 3, 4, 1, 5, 2).reshape(outputs, 3, 8, 8)
    front = 8 - _STEM
    return np.ascontiguousarray(wide[:, :, front:, front:])


if __name__ == "__main__":
    typer.run(main)

"""Makes a network smaller in closed form, without training: leaves out channels that others predict, and blocks.

Of each set of channels those are kept from which the others follow best, by a pivoted Cholesky decomposition of their
covariance, weighted by what the convolutions that read them make of each. What goes is predicted from what stays, by
least squares, and the prediction is folded into the kernels and biases of the readers. How much goes is one number for
the whole network: the share of its variance that no set, and no block, may lose more of; the stem a fifth of it.

Sources: He et al., "Channel Pruning for Accelerating Very Deep Neural Networks", 2017 (least squares on activations);
Luo et al., "ThiNet: A Filter Level Pruning Method", 2017 (the reader decides what matters); Harbrecht et al., "On the
low-rank approximation by the pivoted Cholesky decomposition", 2012 (the choice); Veit et al., "Residual Networks Behave
Like Ensembles of Relatively Shallow Networks", 2016 (whole blocks can go).
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.errors import DataError
from catsdogs_edge.images.decode import RgbBatch
from catsdogs_train.network.resnet import add_ends, find_tensors, get_backbone, rebuild, tap_backbone
from catsdogs_train.network.structure import (
    STEM,
    ChannelSet,
    Convolution,
    Structure,
    estimate_cost,
    find_convolutions,
)

Values = NDArray[np.float64]
Indices = NDArray[np.intp]

MULTIPLE = 16
"""Widths are multiples of it: what INT8 kernels for CPUs work best with."""

_POSITIONS = 50  # of each image, at which channels are looked at
_RIDGE = 1e-4  # share of the mean variance that is added to each: what is predicted stays small
_CARE_OF_STEM = 5  # what the stem loses, every block misses: it may lose a fifth of what others may
_STEPS = 30  # of the search for the share that may be lost


@dataclass(frozen=True, slots=True)
class Moments:
    """Of the channels of a layer, over images and positions."""

    mean: Values
    """Shape (C,)."""
    covariance: Values
    """Shape (C, C)."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the layers of a network answer to some images."""

    moments: Mapping[str, Moments]
    """By layer."""
    change: Mapping[str, Values]
    """By block that may go: what it changes, mean of squares in each channel, shape (C,)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What stays of a network."""

    kept: Mapping[str, Indices]
    """By set, the channels that stay, rising."""
    dropped: frozenset[str]
    """Blocks that go."""


def prune(
    network: keras.Model, batches: Iterable[RgbBatch], speedup: float, student_size: int, seed: int
) -> tuple[keras.Model, Plan]:
    """Makes a smaller network of one from `build_network`, for one image size, with an output layer that fits.

    Args:
        network: For images of a fixed size; it stays as it is.
        batches: Images that it learned from, uint8 RGB (N, S, S, 3), some hundred in all.
        speedup: How many times faster it shall be on a CPU, by `estimate_cost`; its image size counts, too.
        student_size: Edge length of its images in pixels.
        seed: For the positions in images that are looked at.

    Returns:
        The network, and what it is of the other one.

    Raises:
        DataError: The network has no blocks to prune, or cannot be made so small.
    """
    backbone = get_backbone(network)
    structure = Structure(backbone)
    if not structure.droppable:
        raise DataError("there is nothing to prune: expected a ResNet50, or what an earlier --teacher made of one")
    statistics = measure(network, batches, seed)
    target = estimate_cost(backbone) / speedup
    plan = choose(network, statistics, target, student_size)
    return apply(network, statistics, plan, student_size), plan


def measure(network: keras.Model, batches: Iterable[RgbBatch], seed: int) -> Statistics:
    """Measures what the blocks of a network answer to images, uint8 RGB (N, S, S, 3) in each batch."""
    backbone = get_backbone(network)
    structure = Structure(backbone)
    layers = sorted({layer for item in structure.sets for layer in item.readers})
    model = keras.Model(network.input, tap_backbone(network, [backbone.get_layer(name).output for name in layers]))
    steps = {block.name: (structure.feeders[block.name], block.output) for block in structure.droppable}
    random = np.random.default_rng(seed)
    sums: dict[str, list[Any]] = {name: [0, 0.0, 0.0] for name in layers}
    changes: dict[str, Any] = dict.fromkeys(steps, 0.0)
    for batch in batches:
        rows = _sample(dict(zip(layers, model.predict_on_batch(batch), strict=True)), random)
        for name, values in rows.items():
            parts = len(values), values.sum(axis=0), values.T @ values
            sums[name] = [before + part for before, part in zip(sums[name], parts, strict=True)]
        for name, (before, after) in steps.items():
            changes[name] = changes[name] + np.square(rows[after] - rows[before]).sum(axis=0)
    moments = {}
    for name, (count, total, squares) in sums.items():
        mean = total / count
        moments[name] = Moments(mean, squares / count - np.outer(mean, mean))
    return Statistics(moments, {name: total / sums[steps[name][1]][0] for name, total in changes.items()})


def _sample(outputs: Mapping[str, NDArray[np.float32]], random: np.random.Generator) -> dict[str, Values]:
    """Returns rows of channels, at the same positions in all layers of one size."""
    positions: dict[int, Indices] = {}
    rows = {}
    for name, output in outputs.items():
        flat = output.reshape(len(output), -1, output.shape[-1])
        pixels = flat.shape[1]
        if pixels not in positions:
            positions[pixels] = np.sort(random.permutation(pixels)[:_POSITIONS])
        rows[name] = np.asarray(flat[:, positions[pixels]], np.float64).reshape(-1, flat.shape[-1])
    return rows


def choose(network: keras.Model, statistics: Statistics, target: float, size: int) -> Plan:
    """Chooses what stays, so that a network for images of that size costs no more than `target`, by `estimate_cost`.

    Raises `DataError` where even the smallest would cost more.
    """
    backbone = get_backbone(network)
    structure = Structure(backbone)
    rankings = {item.name: _rank(_weighted(network, item, statistics)) for item in structure.sets}
    losses = _losses_of_blocks(network, structure, statistics)
    convolutions = find_convolutions(rebuild(backbone, (size, size, 3)))

    def plan_at(share: float) -> Plan:
        kept = {
            name: np.sort(order[: _width(left, share / (_CARE_OF_STEM if name == STEM else 1))])
            for name, (order, left) in rankings.items()
        }
        return Plan(kept, frozenset(name for name, loss in losses.items() if loss <= share))

    def cost_at(share: float) -> float:
        return _cost(backbone, convolutions, plan_at(share))

    low, high = 0.0, 1.0
    if (least := cost_at(high)) > target:
        most = math.floor(10 * estimate_cost(backbone) / least) / 10  # not more than can be reached
        raise DataError(
            f"the smallest network that can be made of it is {most:.1f} times faster: ask --faster for less"
        )
    if cost_at(low) <= target:
        return plan_at(low)
    for _ in range(_STEPS):
        # Shares reach over powers of ten: halve their logarithm; from 0, which has none, step down by tens
        middle = np.sqrt(low * high) if low else high / 10
        if cost_at(middle) > target:
            low = middle
        else:
            high = middle
    return plan_at(high)


def _width(left: Values, share: float) -> int:
    """Returns the least multiple of `MULTIPLE` that leaves no more than this share of the variance."""
    needed = int(np.argmax(left <= share)) + 1 if np.any(left <= share) else len(left)
    return min(-(-needed // MULTIPLE) * MULTIPLE, len(left))


def _rank(matrix: Values) -> tuple[Indices, Values]:
    """Orders channels by what they tell of all, from a covariance (C, C), by a pivoted Cholesky decomposition.

    Returns the channels, the most telling first, and the share of the variance that is left after each, both (C,).
    """
    count, whole = len(matrix), float(matrix.trace())
    left, is_open = matrix.diagonal().copy(), np.ones(count, bool)
    factors, shares = np.zeros_like(matrix), np.zeros(count)
    order: list[int] = []
    for step in range(count):
        pivot = int(np.where(is_open, left, -1.0).argmax())
        if left[pivot] <= 1e-9 * whole / count:  # nothing is left that those before do not tell
            break
        factors[step] = (matrix[pivot] - factors[:step, pivot] @ factors[:step]) / np.sqrt(left[pivot])
        left = np.maximum(left - factors[step] ** 2, 0.0)
        left[pivot], is_open[pivot] = 0.0, False
        order.append(pivot)
        shares[step] = left.sum() / whole
    return np.array([*order, *np.flatnonzero(is_open)], np.intp), shares


def _weighted(network: keras.Model, item: ChannelSet, statistics: Statistics) -> Values:
    """Returns the covariance of a set, in what its readers make of it; the layers of a set count the same."""
    total: Any = 0.0
    for layer in item.readers:
        weights = _importance(network, item.readers[layer])
        weighted = weights[:, None] * statistics.moments[layer].covariance * weights
        total = total + weighted / max(float(weighted.trace()), 1e-300)
    return np.asarray(total / len(item.readers))


def _losses_of_blocks(network: keras.Model, structure: Structure, statistics: Statistics) -> dict[str, float]:
    """Returns, by block that may go, the share of the variance of its output that is its own."""
    readers = {layer: names for item in structure.sets for layer, names in item.readers.items()}
    losses = {}
    for block in structure.droppable:
        squares = _importance(network, readers[block.output]) ** 2
        variance = statistics.moments[block.output].covariance.diagonal()
        losses[block.name] = float(squares @ statistics.change[block.name]) / max(float(squares @ variance), 1e-300)
    return losses


def _importance(network: keras.Model, readers: Iterable[str]) -> Values:
    """Returns how much is made of each channel, shape (C,): the norm of the weights that convolutions have for it.

    What the output layer reads, familiarity reads as well, in a way that is not known yet: there, half of it is the
    same for all channels.
    """
    backbone = get_backbone(network)
    squares = [_squares_of(backbone, name) for name in readers]
    if squares:
        return np.asarray(np.sqrt(np.sum(squares, axis=0)))
    read = np.square(np.asarray(network.get_layer("logits").get_weights()[0], np.float64)).sum(axis=1)
    return np.asarray(np.sqrt(read / read.mean() + 1))


def _squares_of(backbone: keras.Model, convolution: str) -> Values:
    """Returns the sum of the squared weights for each input, with what batch normalization multiplies them by."""
    kernel = np.asarray(backbone.get_layer(convolution).get_weights()[0], np.float64)
    normalization = _normalization(backbone, convolution)
    if normalization is not None:
        gamma, _, _, variance = normalization.get_weights()
        kernel = kernel * gamma / np.sqrt(variance + normalization.epsilon)
    return np.asarray(np.square(kernel).sum(axis=(0, 1, 3)))


def _normalization(backbone: keras.Model, convolution: str) -> keras.layers.BatchNormalization | None:
    name = convolution.removesuffix("conv") + "bn"
    return next((layer for layer in backbone.layers if layer.name == name), None)


def _cost(backbone: keras.Model, convolutions: Iterable[Convolution], plan: Plan) -> float:
    """Returns what `estimate_cost` would say of the network that a plan makes."""
    structure = Structure(backbone, plan.dropped)

    def width(part: str | None, before: int) -> int:
        return before if part is None else len(plan.kept[part])

    return sum(
        item.cost(
            width(structure.inputs.get(item.name, (None, ""))[0], item.inputs),
            width(structure.outputs.get(item.name), item.outputs),
        )
        for item in convolutions
        if structure.has(item.name)
    )


def apply(network: keras.Model, statistics: Statistics, plan: Plan, size: int) -> keras.Model:
    """Makes the network that a plan leaves, for images of that size, with weights that make up for what went."""
    backbone = get_backbone(network)
    structure = Structure(backbone, plan.dropped)
    small = rebuild(backbone, (size, size, 3), partial(_edit, plan, structure, Structure(backbone).feeders))
    for layer in small.layers:
        weights = backbone.get_layer(layer.name).get_weights()
        if layer.name in structure.inputs:
            part, read = structure.inputs[layer.name]
            kernel, bias = weights
            weights = _leave_out_inputs(kernel, bias, plan.kept[part], statistics.moments[read])
        convolution = re.sub("_bn$", "_conv", layer.name)
        if convolution in structure.outputs:
            weights = [values[..., plan.kept[structure.outputs[convolution]]] for values in weights]
        layer.set_weights(weights)
    last, (kernel, bias) = structure.blocks[-1], network.get_layer("logits").get_weights()
    result = add_ends(small, len(bias))
    folded = _leave_out_inputs(kernel, bias, plan.kept[f"conv{last.stage}"], statistics.moments[last.output])
    result.get_layer("logits").set_weights(folded)
    return result


def _leave_out_inputs(kernel: Values, bias: Values, kept: Indices, moments: Moments) -> list[Values]:
    """Leaves out inputs of a kernel (..., C, O), predicted by least squares from those that are kept; and its bias.

    Where a kernel looks at several pixels, the prediction has no constant: around the image, all inputs are zero.
    """
    gone = np.setdiff1d(np.arange(len(moments.mean)), kept)
    mean = moments.mean if kernel[..., 0, 0].size == 1 else np.zeros_like(moments.mean)
    squares = moments.covariance + np.outer(moments.mean - mean, moments.mean - mean)
    ridge = _RIDGE * squares[kept, kept].mean() + 1e-12
    slopes = np.linalg.solve(squares[np.ix_(kept, kept)] + ridge * np.eye(len(kept)), squares[np.ix_(kept, gone)])
    offset = mean[gone] - mean[kept] @ slopes
    lost = kernel[..., gone, :]
    window = tuple(range(lost.ndim - 2))
    return [kernel[..., kept, :] + slopes @ lost, bias + offset @ lost.sum(axis=window)]


def _edit(plan: Plan, structure: Structure, feeders: Mapping[str, str], config: dict[str, Any]) -> None:
    """Changes the configuration of a backbone as a plan says; `feeders` are those of all its blocks."""
    config["layers"] = [layer for layer in config["layers"] if structure.has(layer["name"])]
    for layer in config["layers"]:
        if layer["name"] in structure.outputs:
            layer["config"]["filters"] = len(plan.kept[structure.outputs[layer["name"]]])
        for tensor in find_tensors(layer["inbound_nodes"]):
            while (block := tensor[0].removesuffix("_out")) in plan.dropped:
                tensor[0] = feeders[block]

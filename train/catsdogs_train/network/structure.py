"""Knows how a ResNet is built: its blocks, the channels that stay or go together, and what it costs.

The layers have the names of `keras.applications.ResNet50`, however many of its blocks and channels are there.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import keras

MULTIPLICATIONS_OF_AN_OUTPUT = 80
"""Multiplications that take as long as to write one number, in INT8 on ONNX Runtime.

Fitted to six networks with 0.8 to 3.9 billion multiplications at 224 pixels, whose speed it predicts to 3 %; at 160
pixels it says up to 17 % too much (benchmarks/RESULTS.md, "A lighter network").
"""


STEM = "conv1"
"""What comes before the blocks: one convolution, `conv1_conv`."""

_POOL = "pool1_pool"  # its last layer


@dataclass(frozen=True, slots=True)
class Block:
    """A block: two or three convolutions that follow each other, and what goes around them."""

    stage: int
    """2 to 5."""
    name: str
    """Beginning of the names of its layers, such as `conv2_block1`."""

    @property
    def output(self) -> str:
        """Its last layer."""
        return f"{self.name}_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSet:
    """Channels that stay, or go, together."""

    name: str
    producers: tuple[str, ...]
    """The convolutions that make them."""
    readers: Mapping[str, tuple[str, ...]]
    """By each layer whose outputs they are: the convolutions that read it."""


class Structure:
    """The blocks of a backbone and the sets of channels in them, where some blocks are left out."""

    def __init__(self, backbone: keras.Model, dropped: Iterable[str] = ()) -> None:
        self.dropped = frozenset(dropped)
        self._layers = {layer.name for layer in backbone.layers}
        matches = [re.fullmatch(r"(conv(\d)_block\d+)_out", layer.name) for layer in backbone.layers]
        self.blocks = [Block(int(match[2]), match[1]) for match in matches if match and match[1] not in self.dropped]

    def has(self, layer: str) -> bool:
        """Returns whether a layer of the backbone is in none of the blocks that are left out."""
        return not any(layer.startswith(f"{block}_") for block in self.dropped)

    @cached_property
    def feeders(self) -> dict[str, str]:
        """By block, the layer that feeds it; not for the first one, which the stem feeds."""
        return {after.name: before.output for before, after in pairwise(self.blocks)}

    @property
    def droppable(self) -> list[Block]:
        """The blocks that may go: all but the first of each stage, which change size and width."""
        return [after for before, after in pairwise(self.blocks) if before.stage == after.stage]

    @cached_property
    def sets(self) -> tuple[ChannelSet, ...]:
        """One of the stem, two in each block, one for each stage: the outputs of its blocks are added up by channel.

        The outputs of the last block of all are read by no convolution.
        """
        return (*self._stem_sets(), *self._inner_sets(), *self._stage_sets())

    @cached_property
    def inputs(self) -> dict[str, tuple[str, str]]:
        """By convolution, the set that it reads, and the layer; not for those that read what no set holds."""
        return {
            name: (item.name, layer)
            for item in self.sets
            for layer, readers in item.readers.items()
            for name in readers
        }

    @cached_property
    def outputs(self) -> dict[str, str]:
        """By convolution, the set that it makes."""
        return {name: item.name for item in self.sets for name in item.producers}

    def _stem_sets(self) -> Iterable[ChannelSet]:
        if _POOL in self._layers and self.blocks:
            readers = self._find(self.blocks[0].name, (0, 1))
            yield ChannelSet(name=STEM, producers=(f"{STEM}_conv",), readers={_POOL: readers})

    def _inner_sets(self) -> Iterable[ChannelSet]:
        for block in self.blocks:
            for number in (1, 2):
                layer, producer, reader = (
                    f"{block.name}_{name}" for name in (f"{number}_relu", f"{number}_conv", f"{number + 1}_conv")
                )
                if layer in self._layers and reader in self._layers:
                    yield ChannelSet(name=layer, producers=(producer,), readers={layer: (reader,)})

    def _stage_sets(self) -> Iterable[ChannelSet]:
        fed = {feeder: block for block, feeder in self.feeders.items()}
        for stage in sorted({block.stage for block in self.blocks}):
            blocks = [block for block in self.blocks if block.stage == stage]
            ends = [self._find(block.name, (0, 3)) for block in blocks]
            yield ChannelSet(
                name=f"conv{stage}",
                producers=tuple(name for names in ends for name in names),
                readers={block.output: self._find(fed.get(block.output), (0, 1)) for block in blocks},
            )

    def _find(self, block: str | None, numbers: Iterable[int]) -> tuple[str, ...]:
        if block is None:
            return ()
        names = (f"{block}_{number}_conv" for number in numbers)
        return tuple(name for name in names if name in self._layers)


@dataclass(frozen=True, slots=True)
class Convolution:
    """What of a convolution decides its cost."""

    name: str
    pixels: int
    """Of its output."""
    window: int
    """Pixels that each of those looks at."""
    inputs: int
    """Channels."""
    outputs: int
    """Channels."""

    def cost(self, inputs: int, outputs: int) -> float:
        """Returns how long it takes with other numbers of channels, in multiplications."""
        return self.pixels * outputs * (self.window * inputs + MULTIPLICATIONS_OF_AN_OUTPUT)


def describe_blocks(backbone: keras.Model) -> dict[str, list[int]]:
    """Returns, for the stem and each block, the channels of its convolutions; equal where the networks are."""
    widths = {layer.name: layer.filters for layer in backbone.layers if isinstance(layer, keras.layers.Conv2D)}
    convolutions = {STEM: [f"{STEM}_conv"]}
    convolutions |= {
        block.name: [f"{block.name}_{number}_conv" for number in (1, 2, 3)] for block in Structure(backbone).blocks
    }
    described = {part: [widths[name] for name in names if name in widths] for part, names in convolutions.items()}
    return {name: found for name, found in described.items() if found}


def find_convolutions(backbone: keras.Model) -> list[Convolution]:
    """Lists the convolutions of a backbone for images of a fixed size."""
    found = []
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.Conv2D):
            height, width, inputs, outputs = layer.kernel.shape
            pixels = layer.output.shape[1] * layer.output.shape[2]
            found.append(Convolution(layer.name, pixels, height * width, inputs, outputs))
    return found


def estimate_cost(backbone: keras.Model) -> float:
    """Estimates how long a backbone takes for an image of its fixed size, in multiplications of INT8 on a CPU."""
    return sum(item.cost(item.inputs, item.outputs) for item in find_convolutions(backbone))

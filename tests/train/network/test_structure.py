import keras
import pytest

from catsdogs_train.network.structure import (
    MULTIPLICATIONS_OF_AN_OUTPUT,
    Structure,
    describe_blocks,
    estimate_cost,
    find_convolutions,
)


@pytest.fixture(scope="module")
def backbone() -> keras.Model:
    return keras.applications.ResNet50(include_top=False, weights=None, input_shape=(224, 224, 3), pooling="avg")


def test_it_knows_the_blocks_and_sets_of_a_resnet50(backbone: keras.Model) -> None:
    structure = Structure(backbone)
    assert len(structure.blocks) == 3 + 4 + 6 + 3
    assert len(structure.droppable) == 16 - 4
    sets = {item.name: item for item in structure.sets}
    assert len(sets) == 1 + 2 * 16 + 4
    assert sets["conv1"].producers == ("conv1_conv",)
    assert sets["conv1"].readers == {"pool1_pool": ("conv2_block1_0_conv", "conv2_block1_1_conv")}
    assert sets["conv3_block2_1_relu"].producers == ("conv3_block2_1_conv",)
    assert sets["conv3_block2_1_relu"].readers == {"conv3_block2_1_relu": ("conv3_block2_2_conv",)}
    stage = sets["conv3"]
    assert stage.producers == ("conv3_block1_0_conv", *(f"conv3_block{block}_3_conv" for block in (1, 2, 3, 4)))
    assert stage.readers["conv3_block1_out"] == ("conv3_block2_1_conv",)
    assert stage.readers["conv3_block4_out"] == ("conv4_block1_0_conv", "conv4_block1_1_conv")
    assert sets["conv5"].readers["conv5_block3_out"] == ()
    made = [name for item in structure.sets for name in item.producers]
    assert sorted(made) == sorted(item.name for item in find_convolutions(backbone))


def test_without_a_block_the_one_before_feeds_what_it_fed(backbone: keras.Model) -> None:
    structure = Structure(backbone, {"conv3_block4", "conv5_block3"})
    sets = {item.name: item for item in structure.sets}
    assert sets["conv3"].readers["conv3_block3_out"] == ("conv4_block1_0_conv", "conv4_block1_1_conv")
    assert sets["conv5"].readers["conv5_block2_out"] == ()
    assert not any(name.startswith("conv3_block4") for name in sets)


def test_the_cost_is_that_of_the_published_network(backbone: keras.Model) -> None:
    """3.86 billion multiplications (He et al., 2016, count 3.8), and 10.6 million numbers that convolutions write."""
    outputs = sum(item.pixels * item.outputs for item in find_convolutions(backbone))
    assert outputs == pytest.approx(10.6e6, rel=0.01)
    assert estimate_cost(backbone) - MULTIPLICATIONS_OF_AN_OUTPUT * outputs == pytest.approx(3.86e9, rel=0.01)


def test_it_describes_the_blocks(backbone: keras.Model) -> None:
    described = describe_blocks(backbone)
    assert len(described) == 1 + 16
    assert described["conv1"] == [64]
    assert described["conv2_block1"] == [64, 64, 256]
    assert described["conv5_block3"] == [512, 512, 2048]

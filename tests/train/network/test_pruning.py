from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from catsdogs_edge.errors import DataError
from catsdogs_train.network.pruning import MULTIPLE, Plan, Statistics, apply, choose, measure, prune
from catsdogs_train.network.resnet import build_network, get_backbone
from catsdogs_train.network.structure import Structure, describe_blocks, estimate_cost
from tests.train.small_network import build_small_resnet

SIZE = 32
RANDOM = np.random.default_rng(1)
IMAGES = RANDOM.integers(0, 256, (48, SIZE, SIZE, 3), np.uint8)
IMAGES[16:] //= RANDOM.integers(1, 9, (32, 1, 1, 3), np.uint8)


def batches() -> Iterator[np.ndarray]:
    return iter(np.split(IMAGES, 4))


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return build_small_resnet(3)


@pytest.fixture(scope="module")
def statistics(network: keras.Model) -> Statistics:
    return measure(network, batches(), 0)


def whole(network: keras.Model) -> Plan:
    """A plan that keeps all channels of all sets."""
    backbone = get_backbone(network)
    sets = Structure(backbone).sets
    return Plan({item.name: np.arange(backbone.get_layer(item.producers[0]).filters) for item in sets}, frozenset())


def logits(network: keras.Model) -> np.ndarray:
    return np.asarray(network(IMAGES, training=False))


def test_where_all_is_kept_nothing_changes(network: keras.Model, statistics: Statistics) -> None:
    same = apply(network, statistics, whole(network), SIZE)
    np.testing.assert_allclose(logits(same), logits(network), rtol=1e-4, atol=1e-4)


def test_what_it_measures_is_what_the_layers_answer(network: keras.Model, statistics: Statistics) -> None:
    backbone = get_backbone(network)
    centred = network.get_layer("subtract_imagenet_mean")(IMAGES)
    name = "conv5_block2_out"  # has 2x2 pixels: all of them are looked at
    layers = [backbone.get_layer(layer).output for layer in ("conv5_block1_out", name)]
    before, after = (np.asarray(part, np.float64) for part in keras.Model(backbone.input, layers)(centred))
    rows = after.reshape(-1, after.shape[-1])
    moments = statistics.moments[name]
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(moments.covariance, np.cov(rows.T, bias=True), rtol=1e-3, atol=1e-4)
    change = np.square(after - before).mean(axis=(0, 1, 2))
    np.testing.assert_allclose(statistics.change["conv5_block2"], change, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["conv1", "conv3_block2_2_relu", "conv3", "conv5"])
def test_channels_that_follow_from_others_can_go(name: str) -> None:
    """Every second channel is made a multiple of the one before; without those, the network answers the same."""
    network = build_small_resnet(3, has_stem=name == "conv1")
    backbone = get_backbone(network)
    (item,) = (item for item in Structure(backbone).sets if item.name == name)
    for producer in item.producers:
        layer, normalization = (backbone.get_layer(f"{producer.removesuffix('conv')}{end}") for end in ("conv", "bn"))
        kernel, bias = layer.get_weights()
        kernel[..., 1::2], bias[1::2] = kernel[..., ::2], bias[::2]
        layer.set_weights([kernel, bias])
        gamma, beta, mean, variance = normalization.get_weights()
        gamma[1::2], beta[1::2] = 2 * gamma[::2], 2 * beta[::2]
        mean[1::2], variance[1::2] = mean[::2], variance[::2]
        normalization.set_weights([gamma, beta, mean, variance])
    statistics = measure(network, batches(), 0)
    plan = whole(network)
    kept = {**plan.kept, name: plan.kept[name][1::2]}
    small = apply(network, statistics, Plan(kept, frozenset()), SIZE)
    assert small.count_params() < network.count_params()
    scale = np.abs(logits(network)).max()
    np.testing.assert_allclose(logits(small), logits(network), atol=0.01 * scale)
    chosen = choose(network, statistics, 0.8 * estimate_cost(backbone), SIZE).kept[name]
    assert len(set(chosen // 2)) == min(len(chosen), len(plan.kept[name]) // 2)  # no second one before all first ones


def test_the_stem_loses_less_than_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build_small_resnet(3, has_stem=True)
    statistics = measure(network, batches(), 0)
    target = 0.3 * estimate_cost(get_backbone(network))
    widths = []
    for care in (1, 5, 1e9):
        monkeypatch.setattr("catsdogs_train.network.pruning._CARE_OF_STEM", care)
        small = apply(network, statistics, choose(network, statistics, target, SIZE), SIZE)
        assert estimate_cost(get_backbone(small)) <= target
        widths += describe_blocks(get_backbone(small))["conv1"]
    assert widths[0] < widths[1] <= widths[2] == 64


def test_a_block_that_changes_nothing_goes_first() -> None:
    network = build_small_resnet(3)
    backbone = get_backbone(network)
    gamma, beta, mean, variance = backbone.get_layer("conv4_block2_3_bn").get_weights()
    backbone.get_layer("conv4_block2_3_bn").set_weights([0 * gamma, 0 * beta, mean, variance])
    small, plan = prune(network, batches(), 1.05, SIZE, 0)
    assert plan.dropped == {"conv4_block2"}
    assert "conv4_block2" not in describe_blocks(get_backbone(small))
    only = apply(network, measure(network, batches(), 0), Plan(whole(network).kept, plan.dropped), SIZE)
    np.testing.assert_allclose(logits(only), logits(network), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("speedup", [1.5, 3.0])
def test_it_is_as_fast_as_asked_for(network: keras.Model, speedup: float) -> None:
    before = logits(network)
    small, _ = prune(network, batches(), speedup, SIZE, 0)
    backbone = get_backbone(small)
    assert speedup <= estimate_cost(get_backbone(network)) / estimate_cost(backbone) < 1.4 * speedup
    widths = [width for block in describe_blocks(backbone).values() for width in block]
    assert all(width % MULTIPLE == 0 for width in widths)
    np.testing.assert_array_equal(logits(network), before)  # the network itself stays as it was
    again, _ = prune(small, batches(), 1.1, SIZE, 0)
    assert again.count_params() < small.count_params()


def test_smaller_images_count(network: keras.Model, statistics: Statistics) -> None:
    """The widths of a network for smaller images need not shrink as far."""
    target = estimate_cost(get_backbone(network)) / 3
    small, for_less = (
        apply(network, statistics, choose(network, statistics, target, size), size) for size in (SIZE, SIZE // 2)
    )
    assert for_less.count_params() > small.count_params()


def test_the_predictions_are_worth_it(network: keras.Model, statistics: Statistics) -> None:
    """Without what is folded in, the same channels answer worse."""
    plan = choose(network, statistics, estimate_cost(get_backbone(network)) / 1.5, SIZE)
    zeros = {
        name: type(item)(np.zeros_like(item.mean), np.eye(len(item.mean))) for name, item in statistics.moments.items()
    }
    wanted = logits(network)
    errors = [
        np.square(logits(apply(network, known, plan, SIZE)) - wanted).mean()
        for known in (statistics, Statistics(zeros, statistics.change))
    ]
    assert errors[0] < 0.5 * errors[1]


def test_too_small_a_network_is_refused(network: keras.Model, statistics: Statistics, small_weights: Path) -> None:
    limits, cost = [], estimate_cost(get_backbone(network))
    for size in (SIZE, SIZE // 2):
        with pytest.raises(
            DataError, match=r"the smallest network that can be made of it is \d+\.\d times faster"
        ) as error:
            choose(network, statistics, cost / 90, size)
        limits.append(float(str(error.value).split()[10]))
        small = apply(network, statistics, choose(network, statistics, cost / (limits[-1] - 0.1), size), size)
        assert cost / estimate_cost(get_backbone(small)) >= limits[-1] - 0.1
    assert limits[1] > 2 * limits[0]
    with pytest.raises(DataError, match="nothing to prune"):
        prune(build_network(3, str(small_weights), SIZE), batches(), 2, SIZE, 0)

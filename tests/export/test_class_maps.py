import dataclasses
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from catsdogs_edge.errors import ParityError
from catsdogs_edge.images.decode import load
from catsdogs_edge.images.drawings import draw, write_folder
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.contract import Contract, FamiliarityRule, Precision
from catsdogs_edge.model.scores import Outputs
from catsdogs_edge.runtime.providers import Provider
from catsdogs_export.class_maps import Head, compare_maps, record_maps
from catsdogs_export.convert import convert
from catsdogs_export.export import FILES
from catsdogs_export.float_nodes import to_fp16
from catsdogs_export.run_folder import LabelledImage
from catsdogs_export.seal import write_sealed
from catsdogs_train.network.familiarity import Detector, attach
from catsdogs_train.network.resnet import to_inference_model
from tests.edge.contracts import CONTRACT
from tests.train.small_network import build_small_resnet

SIZE = 104  # the last stage has not exactly half of the rows of the one before
RULE = FamiliarityRule(threshold=0.5, target_recall=0.98, method="drawn by lot", outliers=3)
Score = NDArray[np.float64]


def make_detector(*, squared: bool) -> Detector:
    """A score on features of 512 and 256 channels, drawn by lot, and on the largest logit."""
    random = np.random.default_rng(0)
    if not squared:
        return Detector(method="", weights=np.append(random.normal(0, 0.05, 768), 0.7), bias=0.3)
    directions, offset = random.normal(0, 0.05, (256, 20)), random.normal(0, 0.1, 20)
    return Detector(method="", weights=random.normal(0, 0.1, 20), bias=0.3, directions=directions, offset=offset)


@pytest.fixture(scope="module", params=[None, False, True], ids=["logits alone", "linear", "squared"])
def network(request: pytest.FixtureRequest) -> keras.Model:
    network = to_inference_model(build_small_resnet(3), SIZE)
    return network if request.param is None else attach(network, make_detector(squared=request.param))


@pytest.fixture(scope="module")
def contract(network: keras.Model) -> Contract:
    rule = RULE if len(network.outputs) > 1 else None
    return replace(CONTRACT, classes=("cat", "dog", "fox"), image_size=SIZE, familiarity=rule)


@pytest.fixture(scope="module")
def batch() -> NDArray[np.uint8]:
    return np.stack([draw(kind, seed, SIZE) for seed, kind in enumerate(("cat", "dog", "room"))])


@pytest.fixture(scope="module")
def model(network: keras.Model, contract: Contract) -> onnx.ModelProto:
    return convert(network, contract)


def write(
    network: keras.Model, contract: Contract, model: onnx.ModelProto, path: Path, head: Head | None = None
) -> Classifier:
    if contract.precision is Precision.FP16:
        model = to_fp16(model, contract)
    return write_sealed(model, contract, path, record_maps(model, head or Head.from_network(network), contract))


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16])
def test_the_mean_of_a_map_is_the_answer(
    precision: Precision,
    network: keras.Model,
    contract: Contract,
    model: onnx.ModelProto,
    batch: NDArray[np.uint8],
    tmp_path: Path,
) -> None:
    classifier = write(network, replace(contract, precision=precision), model, tmp_path / FILES[precision])
    plain, outputs = classifier.predict(batch), classifier.predict(batch, maps=True)
    assert outputs.maps is not None
    assert plain.maps is None
    np.testing.assert_allclose(outputs.logits, plain.logits, atol=1e-2 if precision is Precision.FP16 else 1e-5)
    assert outputs.maps.classes.shape == (3, 3, 7, 7)
    assert float(np.ptp(outputs.maps.classes[0, 0])) > 0.01
    np.testing.assert_allclose(outputs.maps.classes.mean(axis=(2, 3)), outputs.logits, atol=1e-4)
    if contract.familiarity is None:
        assert outputs.maps.familiarity is None
    else:
        check_familiarity(outputs, 1e-4 if precision is Precision.FP32 else 2e-2)


def check_familiarity(outputs: Outputs, tolerance: float) -> None:
    assert outputs.maps is not None
    assert outputs.maps.familiarity is not None
    assert outputs.maps.familiarity.shape == (3, 13, 13)
    assert float(np.ptp(outputs.maps.familiarity[0])) > 0.01
    assert outputs.familiarity is not None
    scores = outputs.maps.familiarity.mean(axis=(1, 2))
    np.testing.assert_allclose(1 / (1 + np.exp(-scores)), outputs.familiarity, atol=tolerance)


def test_the_graph_of_the_file_is_as_without(
    network: keras.Model, contract: Contract, model: onnx.ModelProto, tmp_path: Path
) -> None:
    write(network, contract, model, tmp_path / "with.onnx")
    write_sealed(model, contract, tmp_path / "without.onnx")
    files = [tmp_path / name for name in ("with.onnx", "without.onnx")]
    assert onnx.load(files[0]).graph == onnx.load(files[1]).graph
    assert files[0].stat().st_size - files[1].stat().st_size < 20_000  # a large matrix is not stored twice


def draw_images(tmp_path: Path) -> list[LabelledImage]:
    write_folder(tmp_path / "images", per_class=2)
    return [LabelledImage(path, 0, "") for path in sorted((tmp_path / "images").rglob("*.png"))]


def test_a_map_of_another_familiarity_is_found(
    network: keras.Model, contract: Contract, model: onnx.ModelProto, tmp_path: Path
) -> None:
    head, shown = Head.from_network(network), draw_images(tmp_path)
    right = write(network, contract, model, tmp_path / "right.onnx")
    found = compare_maps(right, shown)
    if head.score is None:
        assert found.familiarity_difference is None
        return
    assert found.familiarity_difference is not None
    assert found.familiarity_difference < 1e-4
    maps = right.predict(load(shown[0].path, SIZE)[np.newaxis], maps=True).maps
    assert maps is not None
    assert maps.familiarity is not None
    score = float(maps.familiarity.mean())
    bias = head.score.bias - score - float(np.copysign(1, score))  # visible in a sigmoid
    shifted = dataclasses.replace(head, score=dataclasses.replace(head.score, bias=bias))
    with pytest.raises(ParityError, match=r"maps of fp32: familiarity and the mean of its map differ by [01]"):
        compare_maps(write(network, contract, model, tmp_path / "shifted.onnx", shifted), shown)


def test_maps_of_another_head_are_found(tmp_path: Path) -> None:
    network = to_inference_model(build_small_resnet(3), SIZE)
    contract = replace(CONTRACT, classes=("cat", "dog", "fox"), image_size=SIZE)
    head, model = Head.from_network(network), convert(network, contract)
    shown = draw_images(tmp_path)
    right = write(network, contract, model, tmp_path / "right.onnx")
    assert compare_maps(right, shown).mean_difference < 1e-4
    shifted = Head(kernel=head.kernel, bias=head.bias + np.float32(0.01))
    with pytest.raises(ParityError, match=r"maps of fp32: a logit and the mean of its map differ by 0\.01"):
        compare_maps(write(network, contract, model, tmp_path / "shifted.onnx", shifted), shown)
    half = replace(contract, precision=Precision.FP16)
    turned = Head(kernel=np.ascontiguousarray(head.kernel[:, ::-1]), bias=head.bias)
    with pytest.raises(
        ParityError, match=r"maps of fp16 and of fp32 have a correlation of -?0\.\d+, expected at least 0\.9"
    ):
        compare_maps(write(network, half, model, tmp_path / "turned.onnx", turned), shown, right)
    assert Classifier.load(tmp_path / "right.onnx", Provider.CPU).has_maps

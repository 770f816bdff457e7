"""The second output, from the Keras file to the edge: on a small network, through the whole export."""

import json
import shutil
from pathlib import Path

import cv2
import keras
import msgspec
import numpy as np
import onnx
import pytest

from catsdogs_edge.errors import DataError, ParityError
from catsdogs_edge.images.decode import read
from catsdogs_edge.model import selftest
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.contract import Contract, FamiliarityRule
from catsdogs_edge.runtime.providers import Provider
from catsdogs_export import export as publish
from catsdogs_export.convert import convert
from catsdogs_export.evaluate import evaluate
from catsdogs_export.export import export
from catsdogs_export.float_nodes import to_fp16
from catsdogs_export.options import ExportOptions
from catsdogs_export.run_folder import RunFolder
from catsdogs_export.verify import verify

METHOD = {"threshold": 0.5, "keep": 0.9, "method": "brightness of a layer", "others": 3}


def with_score(small_run: Path, folder: Path, *, squared: bool) -> Path:
    """The small run, with a score on a layer inside that 90 % of its images pass and a black one does not."""
    shutil.copytree(small_run, folder)
    run = RunFolder.load(folder)
    network = run.load_network()
    inner = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)][-3].output
    pooled = keras.layers.GlobalAveragePooling2D()(inner)
    if squared:  # as a distance does
        pooled = keras.layers.Multiply()([pooled, pooled])
    score = keras.layers.Dense(1, activation="sigmoid")
    both = keras.Model(network.input, [network.output, keras.layers.Reshape((), name="familiarity")(score(pooled))])
    probe = keras.Model(network.input, pooled)
    images = np.stack([read(image.path) for image in run.val])
    images = np.stack([cv2.resize(image, (64, 64)) for image in images])
    values, black = np.asarray(probe(images)), np.asarray(probe(np.zeros((1, 64, 64, 3), np.uint8)))
    weights = (values.mean(axis=0) - black[0])[:, np.newaxis]
    weights *= 20 / np.ptp(values @ weights)
    score.set_weights([weights, -np.quantile(values @ weights, [0.1], method="lower")])
    both.save(folder / "model.keras")
    described = json.loads((folder / "run.json").read_text()) | {"familiarity": METHOD}
    (folder / "run.json").write_text(json.dumps(described))
    return folder


@pytest.fixture(scope="session")
def familiar_run(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_score(small_run, tmp_path_factory.mktemp("familiar") / "run", squared=False)


@pytest.fixture(scope="module")
def exported(familiar_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("publish") / "onnx"
    export(familiar_run, out, ExportOptions(int8=True, fp16=True, max_drop=3))
    return out


@pytest.mark.parametrize("precision", ["", ".fp16", ".int8"])
def test_each_file_has_the_rule_and_says_neither(precision: str, exported: Path) -> None:
    path = exported / f"model{precision}.onnx"
    classifier = Classifier.load(path, Provider.CPU)
    assert classifier.contract.familiarity == msgspec.convert(METHOD, FamiliarityRule)
    assert classifier.labels == ("cat", "dog", "neither")
    (black,) = classifier.classify([np.zeros((9, 9, 3), np.uint8)])
    assert black.label == "neither"
    outcome = selftest.run(classifier, path)
    assert outcome.passed
    assert outcome.familiar


def test_a_score_that_squares_what_it_reads_has_an_fp16_file(small_run: Path, tmp_path: Path) -> None:
    run = with_score(small_run, tmp_path / "run", squared=True)
    export(run, tmp_path / "onnx", ExportOptions(fp16=True, max_drop=3))
    path = tmp_path / "onnx" / "model.fp16.onnx"
    assert selftest.run(Classifier.load(path, Provider.CPU), path).passed
    outputs = [name for node in onnx.load(path).graph.node for name in node.output]
    assert len(outputs) == len(set(outputs))


def test_each_level_has_its_line_about_familiarity(exported: Path, familiar_run: Path) -> None:
    parity = json.loads((exported / "parity.json").read_text())
    assert 0 <= parity["same_tensors"]["max_familiarity_difference"] <= 1e-3
    for loss in (parity["fp16"], parity["int8"]["chosen"]["loss"]):
        assert loss["kept"]["fp32"] == pytest.approx(0.9, abs=0.03)
        assert loss["kept"]["agreement"] >= 0.97  # one of 48
    labels = verify(exported / "model.int8.onnx", familiar_run, max_drop=3).labels
    assert labels is not None
    assert labels.familiarity is not None
    assert "the same decision on" in labels.familiarity.describe()


def test_of_familiarity_only_the_pooling_is_quantized(exported: Path) -> None:
    graph = onnx.load(exported / "model.int8.onnx").graph
    inputs = {name: node for node in graph.node for name in node.output}
    (sigmoid,) = (node for node in graph.node if node.op_type == "Sigmoid")
    kinds = []
    node: onnx.NodeProto | None = sigmoid
    while node is not None and node.op_type != "DequantizeLinear":
        kinds.append(node.op_type)
        node = inputs.get(node.input[0])
    assert {"Gemm", "MatMul"} & set(kinds)  # the sums are in float
    assert not {"GlobalAveragePool", "QuantizeLinear"} & set(kinds)


def with_constant(model: onnx.ModelProto, change: float) -> onnx.ModelProto:
    """Moves the bias of the score."""
    (node,) = (node for node in model.graph.node if node.op_type == "Sigmoid")
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    while not any(name in constants for name in node.input):  # past what casts between precisions
        (node,) = (before for before in model.graph.node if node.input[0] in before.output)
    (bias,) = (constants[name] for name in node.input if name in constants)
    moved = onnx.numpy_helper.to_array(bias) + change
    bias.CopyFrom(onnx.numpy_helper.from_array(moved.astype(onnx.numpy_helper.to_array(bias).dtype), bias.name))
    return model


def test_level_a_finds_a_wrong_score(familiar_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def convert_badly(network: keras.Model, contract: Contract) -> onnx.ModelProto:
        return with_constant(convert(network, contract), 0.5)

    monkeypatch.setattr(publish, "convert", convert_badly)
    with pytest.raises(ParityError, match=r"level A: .*: familiarity differ"):
        export(familiar_run, tmp_path / "out", ExportOptions())


def test_level_c_finds_a_score_that_refuses_more(
    familiar_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def to_fp16_badly(fp32: onnx.ModelProto, contract: Contract) -> onnx.ModelProto:
        return with_constant(to_fp16(fp32, contract), -4)

    monkeypatch.setattr(publish, "to_fp16", to_fp16_badly)
    with pytest.raises(ParityError, match="level C: fp16 agrees with fp32 on what is familiar on"):
        export(familiar_run, tmp_path / "out", ExportOptions(fp16=True))


def test_an_evaluation_counts_what_is_refused(exported: Path, familiar_run: Path, tmp_path: Path) -> None:
    outliers = tmp_path / "others"
    outliers.mkdir()
    for number in range(4):
        cv2.imwrite(str(outliers / f"{number}.png"), np.full((8, 8, 3), number, np.uint8))
    (outliers / "torn.png").write_bytes(b"no image")
    data = RunFolder.load(familiar_run).val[0].path.parents[1]
    for model in (exported / "model.int8.onnx", familiar_run / "model.keras"):
        result, _, _ = evaluate(data, model, Provider.CPU, outliers)
        assert (result.outliers, result.outliers_refused) == (4, 1.0)
        assert result.kept is not None
        assert 0.8 < result.kept < 1
        assert result.outliers_auroc is not None
        assert result.outliers_auroc > 0.9


def test_a_run_whose_file_and_description_differ_is_refused(small_run: Path, tmp_path: Path) -> None:
    shutil.copytree(small_run, tmp_path / "run")
    described = json.loads((tmp_path / "run" / "run.json").read_text()) | {"familiarity": METHOD}
    (tmp_path / "run" / "run.json").write_text(json.dumps(described))
    with pytest.raises(DataError, match=r"has 1 outputs, run\.json promises 2"):
        export(tmp_path / "run", tmp_path / "out", ExportOptions())

"""`catsdogs-export` on a real ResNet50, as a user runs it."""

import json
from collections import Counter
from pathlib import Path

import onnx
import onnxruntime as ort
import pytest

from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.contract import Contract, Precision
from catsdogs_edge.model.selftest import run as run_selftest
from catsdogs_export.cli import _export_app
from tests.conftest import RUN_SIZE, Call


def test_the_files_describe_themselves(published: Path) -> None:
    for name, precision in (("model.onnx", Precision.FP32), ("model.int8.onnx", Precision.INT8)):
        model = onnx.load(published / name)
        onnx.checker.check_model(model, full_check=True)
        assert [entry.version for entry in model.opset_import if entry.domain == ""] == [17]
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        contract = Contract.from_metadata(metadata, name)
        assert (contract.classes, contract.image_size, contract.precision) == (("cat", "dog"), RUN_SIZE, precision)
        assert (contract.training.images, contract.training.val_images) == (28, 12)
        assert contract.tools.keys() >= {"tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime"}
        session = ort.InferenceSession(published / name, providers=["CPUExecutionProvider"])
        assert [(node.name, node.type, node.shape) for node in session.get_inputs()] == [
            ("image", "tensor(uint8)", ["N", RUN_SIZE, RUN_SIZE, 3])
        ]
        assert {node.name: (node.type, node.shape) for node in session.get_outputs()} == {
            "logits": ("tensor(float)", ["N", 2]),
            "probabilities": ("tensor(float)", ["N", 2]),
            "familiarity": ("tensor(float)", ["N"]),
        }
        assert contract.familiarity is not None
        assert "Mahalanobis" in contract.familiarity.method


def test_the_files_pass_their_own_test(published: Path) -> None:
    for name in ("model.onnx", "model.int8.onnx"):
        assert run_selftest(Classifier.load(published / name), published / name).passed


def test_int8_runs_as_int8(published: Path, tmp_path: Path) -> None:
    """Counts what ONNX Runtime makes of the graph: a convolution or transposition too many costs half the speed."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3  # it warns that the optimized file is for this CPU, which is what is wanted
    ort.InferenceSession(published / "model.int8.onnx", options, providers=["CPUExecutionProvider"])
    graph = onnx.load(tmp_path / "optimized.onnx").graph
    counts = Counter(node.op_type for node in graph.node)
    assert counts["QLinearConv"] == 53
    assert counts["QLinearAdd"] == 16
    assert counts["Conv"] == 0
    (blocks,) = (node for node in graph.node if node.op_type == "Concat" and node.name == "image_in_blocks")
    types = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    assert {types[name] for name in blocks.input} == {onnx.TensorProto.UINT8}  # of pixels: see graph_rewrites.py
    assert counts["Transpose"] <= 2
    assert counts["Softmax"] == 1
    assert (published / "model.int8.onnx").stat().st_size < (published / "model.onnx").stat().st_size / 3.5


def test_parity_is_printed_and_written(published: Path) -> None:
    parity = json.loads((published / "parity.json").read_text())
    assert 0 <= parity["same_tensors"]["max_logit_difference"] <= parity["same_tensors"]["limit"] == 1e-3
    assert parity["same_tensors"]["tensors"] == 12 + 6
    assert parity["same_files"] == {"files": 12, "agreement": 1.0} | {
        name: parity["same_files"][name] for name in ("max_probability_difference", "limit")
    }
    assert [trial["setting"]["calibration"] for trial in parity["int8"]["trials"]] == [
        "minmax",
        "percentile",
        "entropy",
    ]
    assert parity["int8"]["chosen"] in parity["int8"]["trials"]
    assert len(parity["calibration"]) == 28
    printed = (published / "printed.txt").read_text()
    assert "level A, fp32 against Keras on 18 tensors: largest difference of logits" in printed
    assert "level B, the same on 12 files: 100.00% of the labels agree" in printed
    assert "level C, INT8 (" in printed
    assert "good enough" in printed
    assert not [
        line for line in printed.splitlines() if line.startswith(("I0", "W0", "E0", "WARNING"))
    ]  # of TensorFlow


def test_describe_prints_the_contract(call: Call, published: Path) -> None:
    done = call(_export_app, "catsdogs-export", "--describe", published / "model.int8.onnx")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["precision"] == "int8"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["RUN", "--describe", "x.onnx"],
        ["--check", "x.onnx"],
        ["RUN", "--against", "RUN"],
        ["RUN", "--calibrate", "x"],
        ["RUN", "--target", "arm64"],
        ["RUN", "--seed", "7"],
        ["RUN", "--int8", "--target", "z80"],
        ["RUN", "--max-drop", "-1"],
        ["--check", "x.onnx", "--against", "RUN", "--int8"],
        ["--describe", "x.onnx", "--out", "x"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], call: Call, small_run: Path) -> None:
    given = [str(small_run) if argument == "RUN" else argument for argument in arguments]
    assert call(_export_app, "catsdogs-export", *given).returncode == 2

import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import keras
import onnx
import onnxruntime as ort
import pytest

from catsdogs_edge.contract import KEY, Contract, Precision
from catsdogs_edge.errors import DataError, ParityError
from catsdogs_export import publish
from catsdogs_export.convert import convert
from catsdogs_export.quantize import quantize


def export(scripts: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([scripts / "catsdogs-export", *arguments], capture_output=True, text=True, check=False)


def test_the_files_describe_themselves(published: Path) -> None:
    for name, precision in (("model.onnx", Precision.FP32), ("model.int8.onnx", Precision.INT8)):
        model = onnx.load(published / name)
        onnx.checker.check_model(model, full_check=True)
        assert [entry.version for entry in model.opset_import if entry.domain == ""] == [17]
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        assert Contract.from_metadata(metadata, name) == Contract(("cat", "dog"), 224, precision)
        session = ort.InferenceSession(published / name, providers=["CPUExecutionProvider"])
        assert [(node.name, node.type, node.shape) for node in session.get_inputs()] == [
            ("image", "tensor(uint8)", ["N", 224, 224, 3])
        ]
        assert {node.name: (node.type, node.shape) for node in session.get_outputs()} == {
            "logits": ("tensor(float)", ["N", 2]),
            "probabilities": ("tensor(float)", ["N", 2]),
        }


def test_int8_runs_as_int8(published: Path, tmp_path: Path) -> None:
    """Counts what ONNX Runtime makes of the graph: a convolution or transposition too many costs half the speed."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3  # it warns that the optimized file is for this CPU, which is what is wanted
    ort.InferenceSession(published / "model.int8.onnx", options, providers=["CPUExecutionProvider"])
    counts = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert counts["QLinearConv"] == 53
    assert counts["QLinearAdd"] == 16
    assert counts["Conv"] == 0
    assert counts["Transpose"] <= 2
    assert counts["Softmax"] == 1
    assert (published / "model.int8.onnx").stat().st_size < (published / "model.onnx").stat().st_size / 3.5


def test_parity_is_printed_and_written(published: Path) -> None:
    parity = json.loads((published / "parity.json").read_text())
    assert 0 <= parity["fp32"]["max_logit_difference"] <= parity["fp32"]["limit"] == 1e-3
    assert parity["fp32"]["tensors"] == 8 + 6
    assert parity["int8"]["pictures"] == 8
    assert parity["int8"]["agreement"] >= parity["int8"]["limit"]
    assert parity["calibration_pictures"] == 32
    printed = (published / "printed.txt").read_text()
    assert "fp32 against Keras: largest difference of logits" in printed
    assert "INT8 against fp32: same label on" in printed
    assert len(printed.splitlines()) == 3 + 4, printed  # three results, four steps, and no noise of TensorFlow


def snapshot(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_a_conversion_that_goes_wrong_publishes_nothing(
    run_folder: Path, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks the conversion on purpose: one weight of the first convolution is changed."""

    def convert_badly(network: keras.Model, contract: Contract) -> onnx.ModelProto:
        model = convert(network, contract)
        stem = next(node for node in model.graph.node if node.op_type == "Conv")
        weights = next(tensor for tensor in model.graph.initializer if tensor.name == stem.input[1])
        values = onnx.numpy_helper.to_array(weights).copy()
        values[0, 0, 0, 0] += 0.5
        weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
        return model

    before = snapshot(published)
    monkeypatch.setattr("catsdogs_export.publish.convert", convert_badly)
    with pytest.raises(ParityError, match="ONNX and Keras disagree"):
        publish.export(run_folder, published)
    assert snapshot(published) == before


def test_a_quantization_that_goes_wrong_publishes_nothing(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Turns the two answers of the INT8 file around."""

    def quantize_badly(fp32: Path, int8: Path, contract: Contract, calibration: list[Path]) -> None:
        quantize(fp32, int8, contract, calibration)
        model = onnx.load(int8)
        for node in model.graph.node:
            if node.op_type == "DequantizeLinear" and node.output[0] == "logits":
                node.output[0] = "turned"
        model.graph.node.append(onnx.helper.make_node("Neg", ["turned"], ["logits"]))
        model.graph.node.sort(key=lambda node: node.op_type == "Softmax")
        int8.write_bytes(model.SerializeToString())

    monkeypatch.setattr("catsdogs_export.publish.quantize", quantize_badly)
    with pytest.raises(ParityError, match=r"INT8 and FP32 give the same label on 0\.0%"):
        publish.export(run_folder, tmp_path / "out", int8=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("missing", ["model.keras", "run.json", "split.csv"])
def test_what_is_no_run_folder_is_refused(missing: str, run_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(run_folder, tmp_path / "run")
    (tmp_path / "run" / missing).unlink()
    with pytest.raises(DataError, match=f"is not a run folder: {missing} is missing"):
        publish.export(tmp_path / "run", tmp_path / "out")


@pytest.mark.parametrize("name", ["model.keras", "run.json", "split.csv"])
def test_a_damaged_run_folder_is_refused(name: str, run_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(run_folder, tmp_path / "run")
    (tmp_path / "run" / name).write_text("set,label,path\nx,y,z\n")
    with pytest.raises(DataError, match=r"damaged|is not a model"):
        publish.export(tmp_path / "run", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_calibration_on_validation_pictures_is_refused(
    scripts: Path, run_folder: Path, drawings: Path, tmp_path: Path
) -> None:
    done = export(scripts, run_folder, "--int8", "--calibrate", drawings, "--out", tmp_path / "out")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "is a validation picture of the run" in line
    assert not (tmp_path / "out").exists()


def test_calibrate_without_int8_is_wrong_usage(scripts: Path, run_folder: Path, drawings: Path) -> None:
    done = export(scripts, run_folder, "--calibrate", drawings)
    assert done.returncode == 2
    assert "--int8" in done.stderr


def test_pictures_that_are_gone_are_named(run_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(run_folder, tmp_path / "run")
    split = tmp_path / "run" / "split.csv"
    split.write_text(split.read_text().replace("/cat/", "/gone/"))
    with pytest.raises(DataError, match=r"4 of the run's 8 pictures in split.csv are gone, such as .*/gone/"):
        publish.export(tmp_path / "run", tmp_path / "out")


def test_the_key_of_the_contract_is_for_ever() -> None:
    assert KEY == "catsdogs.contract"

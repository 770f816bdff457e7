"""The gate: what does not answer alike is never published. On a small network, through the whole export."""

import json
import shutil
import subprocess
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from random import Random

import cv2
import keras
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from google.protobuf.message import DecodeError  # type: ignore[import-untyped, unused-ignore]
from msgspec.structs import replace

from catsdogs_edge.classify import batching as edge_folder
from catsdogs_edge.errors import DataError, OutputError, ParityError
from catsdogs_edge.images.decode import RgbImage, load, read
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.contract import Contract
from catsdogs_edge.model.selftest import run as run_selftest
from catsdogs_edge.output.files import sha256
from catsdogs_edge.runtime.cpu import Cpu
from catsdogs_export import export as publish
from catsdogs_export.cli import _export_app
from catsdogs_export.convert import convert
from catsdogs_export.export import export
from catsdogs_export.float_nodes import to_fp16
from catsdogs_export.int8_search import BudgetError
from catsdogs_export.options import ExportOptions, Target
from catsdogs_export.parity import compare_labels
from catsdogs_export.predictors import KerasPredictor, ModelOnImages
from catsdogs_export.run_folder import RunFolder
from catsdogs_export.seal import write_sealed
from catsdogs_export.verify import verify
from tests.conftest import Call
from tests.processes import ending


@pytest.fixture(scope="module")
def exported(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("publish") / "onnx"
    export(small_run, out, ExportOptions(int8=True, fp16=True, max_drop=3))
    return out


def snapshot(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path) for path in folder.iterdir()}


def test_everything_is_published_together(exported: Path) -> None:
    names = {"model.onnx", "model.fp16.onnx", "model.int8.onnx", "parity.json", "parity.png"}
    assert {path.name for path in exported.iterdir()} == names
    assert [path.name for path in exported.parent.iterdir()] == ["onnx"]
    parity = json.loads((exported / "parity.json").read_text())
    assert parity["files"] == {name: sha256(exported / name) for name in names - {"parity.json"}}
    assert parity["fp16"]["agreement"] == 1
    chosen = parity["int8"]["chosen"]
    assert chosen["loss"]["pictures"] == 48
    assert len({trial["latency_ms"] for trial in parity["int8"]["trials"]}) == 1  # they have the same operators
    losses = [trial["loss"] for trial in parity["int8"]["trials"]]
    assert chosen["loss"] == min(losses, key=lambda loss: (-loss["agreement"], loss["mean_logit_difference"]))
    plot = cv2.imread(str(exported / "parity.png"))
    assert plot is not None
    assert plot.std() > 10


@pytest.mark.parametrize("precision", ["", ".fp16", ".int8"])
def test_each_file_passes_its_own_test(precision: str, exported: Path) -> None:
    path = exported / f"model{precision}.onnx"
    outcome = run_selftest(Classifier.load(path, allow_changed=True), path)
    assert outcome.passed
    assert outcome.tolerance > 0


def test_fp16_keeps_inputs_and_outputs_and_halves_the_weights(exported: Path) -> None:
    whole, half = (onnx.load(exported / name).graph for name in ("model.onnx", "model.fp16.onnx"))
    assert list(half.input) == list(whole.input)
    types = {value.name: value.type.tensor_type.elem_type for value in half.output}
    assert types == dict.fromkeys(("logits", "probabilities"), onnx.TensorProto.FLOAT)
    kernels = [tensor for tensor in half.initializer if len(tensor.dims) == 4]
    assert {tensor.data_type for tensor in kernels} == {onnx.TensorProto.FLOAT16}


def broken(change: str) -> object:
    """Returns a conversion that makes one typical mistake."""

    def convert_badly(network: keras.Model, contract: Contract) -> onnx.ModelProto:
        model = convert(network, contract)
        values = {tensor.name: tensor for tensor in model.graph.initializer}
        if change == "stem":
            node = next(node for node in model.graph.node if node.op_type == "Conv")
            tensor = values[node.input[1]]
            wrong = onnx.numpy_helper.to_array(tensor)[:, ::-1]
        else:
            tensor = next(tensor for tensor in values.values() if list(tensor.dims)[-1:] == [3] and tensor.dims[0] != 8)
            wrong = onnx.numpy_helper.to_array(tensor)[..., ::-1]
            assert wrong.min() == np.float32(-123.68)
        tensor.CopyFrom(onnx.numpy_helper.from_array(wrong.copy(), tensor.name))
        return model

    return convert_badly


@pytest.mark.parametrize("change", ["stem", "mean"])
def test_level_a_finds_swapped_channels_and_a_wrong_mean(
    change: str, small_run: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(exported)
    monkeypatch.setattr(publish, "convert", broken(change))
    with pytest.raises(ParityError, match="level A: Keras and ONNX disagree on the same tensors"):
        export(small_run, exported, ExportOptions())
    assert snapshot(exported) == before
    assert [path.name for path in exported.parent.iterdir()] == ["onnx"]


def test_level_b_finds_nearest_neighbour_resizing(
    small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_nearest(path: Path, size: int) -> RgbImage:
        return np.asarray(cv2.resize(read(path), (size, size), interpolation=cv2.INTER_NEAREST), np.uint8)

    monkeypatch.setattr(edge_folder, "load", load_nearest)
    with pytest.raises(ParityError, match="level B: Keras and the edge runner disagree on the same files"):
        export(small_run, tmp_path / "out", ExportOptions())
    assert not (tmp_path / "out").exists()


def test_level_b_finds_a_runner_that_takes_bgr(
    small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge_folder, "load", lambda path, size: load(path, size)[..., ::-1].copy())
    with pytest.raises(ParityError, match="level B"):
        export(small_run, tmp_path / "out", ExportOptions())


def test_level_c_refuses_a_bad_calibration_and_says_what_was_tried(small_run: Path, call: Call, tmp_path: Path) -> None:
    """Calibrated on black images, every activation of a real one is cut off."""
    (tmp_path / "black").mkdir()
    for number in range(4):
        cv2.imwrite(str(tmp_path / "black" / f"{number}.png"), np.zeros((64, 64, 3), np.uint8))
    options: list[str | Path] = ["--int8", "--calibrate", tmp_path / "black", "--max-drop", "0.0001"]
    done = call(_export_app, "catsdogs-export", small_run, *options, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "INT8 setting" in done.stderr
    tried = [line.strip() for line in done.stderr.splitlines() if " ms " in line]
    assert [line.partition(",")[0] for line in tried[:3]] == ["minmax", "percentile", "entropy"]
    assert len(tried) == 5
    assert ["1 layer in float" in tried[3], "2 layers in float" in tried[4]] == [True, True]
    assert all("over a limit" in line for line in tried)
    assert "expected at most 0.0001" in done.stderr.splitlines()[-1]
    assert done.stderr.splitlines()[-1].startswith("catsdogs-export: level C: none of ")
    assert not (tmp_path / "out").exists()


def test_the_table_is_in_the_error_too(small_run: Path, tmp_path: Path) -> None:
    (tmp_path / "black").mkdir()
    cv2.imwrite(str(tmp_path / "black" / "0.png"), np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(BudgetError) as caught:
        export(small_run, tmp_path / "out", ExportOptions(int8=True, calibrate=tmp_path / "black", max_drop=0.0001))
    assert len(caught.value.trials) >= 4
    assert all(trial.latency_ms > 0 for trial in caught.value.trials)


@pytest.mark.parametrize(("target", "kind"), [(Target.X86, "UINT8"), (Target.ARM64, "INT8")])
def test_targets_choose_types(
    target: Target, kind: str, small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Target, "check_here", lambda _: None)  # whatever the CPU of the test
    export(small_run, tmp_path / "out", ExportOptions(int8=True, max_drop=5, target=target))
    graph = onnx.load(tmp_path / "out" / "model.int8.onnx").graph
    values = {tensor.name: tensor for tensor in graph.initializer}
    quantize = next(node for node in graph.node if node.op_type == "QuantizeLinear")
    assert values[quantize.input[2]].data_type == onnx.TensorProto.DataType.Value(kind)
    kernels = [onnx.numpy_helper.to_array(tensor) for tensor in values.values() if len(tensor.dims) == 4]
    largest = max(int(np.abs(kernel.astype(int)).max()) for kernel in kernels)
    assert largest <= (64 if target is Target.X86 else 127)
    assert (largest > 64) == (target is not Target.X86)


def test_probabilities_that_are_not_those_of_the_logits_are_not_published(
    small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody reads the probabilities, so a precision whose logits alone are right is caught as well."""

    def to_fp16_badly(fp32: onnx.ModelProto, contract: Contract) -> onnx.ModelProto:
        model = to_fp16(fp32, contract)
        softmax = next(node for node in model.graph.node if node.op_type == "Softmax")
        negation = onnx.helper.make_node("Neg", [softmax.input[0]], ["negative"])
        softmax.input[0] = "negative"
        model.graph.node.insert(list(model.graph.node).index(softmax), negation)
        return model

    monkeypatch.setattr(publish, "to_fp16", to_fp16_badly)
    with pytest.raises(ParityError, match="fp16 does not pass its own test"):
        export(small_run, tmp_path / "out", ExportOptions(fp16=True))
    assert not (tmp_path / "out").exists()


def test_a_changed_weight_of_int8_fails_its_own_test(exported: Path, tmp_path: Path) -> None:
    data = bytearray((exported / "model.int8.onnx").read_bytes())
    graph = onnx.load(exported / "model.int8.onnx").graph
    kernel = max((tensor.raw_data for tensor in graph.initializer if len(tensor.dims) == 4), key=len)
    index = data.index(kernel)
    path = tmp_path / "model.int8.onnx"
    data[index] ^= 1
    path.write_bytes(data)
    outcome = run_selftest(Classifier.load(path, allow_changed=True), path)
    assert (outcome.intact, outcome.passed) == (False, False)
    data[index : index + len(kernel)] = bytes(len(kernel))
    path.write_bytes(data)
    assert run_selftest(Classifier.load(path, allow_changed=True), path).largest > outcome.tolerance


def test_without_smaller_precisions_the_plot_shows_keras(small_run: Path, tmp_path: Path) -> None:
    export(small_run, tmp_path / "out", ExportOptions())
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model.onnx", "parity.json", "parity.png"}


def test_a_check_finds_classes_in_another_order(small_run: Path, exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    shutil.copy(exported / "model.onnx", path)
    contract = Classifier.load(path).contract
    write_sealed(onnx.load(path), replace(contract, classes=contract.classes[::-1]), path)
    with pytest.raises(
        ParityError, match=r"model\.onnx and .* differ in classes: check it against the run that it was"
    ):
        verify(path, small_run, max_drop=3)


def test_a_file_of_an_earlier_contract_can_be_checked(small_run: Path, exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    shutil.copy(exported / "model.onnx", path)
    write_sealed(onnx.load(path), replace(Classifier.load(path).contract, version="1.1"), path)
    assert verify(path, small_run, max_drop=3).files is not None


def test_a_check_without_the_images_of_the_run_says_which_are_gone(
    small_run: Path, exported: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(small_run, run)
    lines = (run / "split.csv").read_text().splitlines(keepends=True)
    (run / "split.csv").write_text("".join(lines).replace("/dog/", "/gone/"))
    with pytest.raises(
        DataError, match=r"of the run's \d+ images in split.csv are gone, such as .*: put them back, or"
    ):
        verify(exported / "model.onnx", run, max_drop=3)


@pytest.mark.parametrize(
    ("cpu", "is_refused"),
    [
        (Cpu("x86_64", frozenset({"avx2"})), True),
        (Cpu("x86_64", frozenset({"avx2", "avx_vnni"})), False),
        (Cpu("x86_64", frozenset()), False),
        (Cpu("arm64", frozenset({"asimddp"})), False),
    ],
)
def test_a_file_of_8_bit_weights_is_made_where_their_sums_are_right(
    cpu: Cpu, is_refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Cpu, "detect", lambda: cpu)
    for target in (Target.X86_VNNI, Target.ARM64):
        with pytest.raises(DataError, match="take --target x86, which is right e") if is_refused else nullcontext():
            target.check_here()
    Target.X86.check_here()


def test_a_folder_with_other_files_is_refused(small_run: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"thesis\.txt"):
        export(small_run, tmp_path, ExportOptions())
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_copies_of_a_model_lie_where_models_go(
    small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in a folder for temporary files, which is often small; that copies are damaged says that there is no room."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))

    def fail(*_: object) -> None:
        assert Path(tempfile.gettempdir()).is_relative_to(tmp_path)
        assert Path(tempfile.gettempdir()).is_dir()
        raise DecodeError("Wire format was corrupt")

    monkeypatch.setattr(publish, "search", fail)
    with pytest.raises(OutputError, match=r"a copy of the model in .* is damaged: is the disk full\?"):
        export(small_run, tmp_path / "out", ExportOptions(int8=True, max_drop=3))
    assert tempfile.tempdir == str(tmp_path / "none")
    assert not (tmp_path / "out").exists()


def test_a_network_of_somebody_else_is_not_taken_away(small_run: Path, tmp_path: Path) -> None:
    (tmp_path / "onnx").mkdir()
    other = tmp_path / "onnx" / "model.onnx"
    other.write_bytes(b"somebody else's only copy")
    with pytest.raises(OutputError, match=r"model\.onnx is no file of catsdogs-export"):
        export(small_run, tmp_path / "onnx", ExportOptions())
    assert other.read_bytes() == b"somebody else's only copy"


@pytest.mark.parametrize("missing", ["model.keras", "run.json", "split.csv"])
def test_what_is_no_run_folder_is_refused(missing: str, small_run: Path, tmp_path: Path) -> None:
    shutil.copytree(small_run, tmp_path / "run")
    (tmp_path / "run" / missing).unlink()
    with pytest.raises(DataError, match=f"is not a run folder: {missing} is missing"):
        export(tmp_path / "run", tmp_path / "out", ExportOptions())


def test_a_run_that_is_not_done_is_refused(small_run: Path, tmp_path: Path) -> None:
    shutil.copytree(small_run, tmp_path / "run")
    (tmp_path / "run" / "checkpoint").mkdir()
    (tmp_path / "run" / "checkpoint" / "settings.json").write_text("{}")
    with pytest.raises(DataError, match="run is not done: finish it with catsdogs-train --resume"):
        export(tmp_path / "run", tmp_path / "out", ExportOptions())
    shutil.rmtree(tmp_path / "run" / "checkpoint")
    described = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps(described | {"done": False}))
    with pytest.raises(DataError, match="run is not done: finish it with catsdogs-train --resume"):
        export(tmp_path / "run", tmp_path / "out", ExportOptions())


def test_a_run_of_folders_that_are_not_utf8_is_read(small_run: Path, tmp_path: Path) -> None:
    shutil.copytree(small_run, tmp_path / "run")
    described = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps(described | {"settings": {"data": ["caf\udce9"]}}))
    assert RunFolder.load(tmp_path / "run").train == RunFolder.load(small_run).train


@pytest.mark.parametrize("name", ["model.keras", "run.json", "split.csv"])
def test_a_damaged_run_folder_is_refused(name: str, small_run: Path, tmp_path: Path) -> None:
    shutil.copytree(small_run, tmp_path / "run")
    (tmp_path / "run" / name).write_text("set,label,path\nx,y,z\n")
    with pytest.raises(DataError, match=r"damaged|is not a model"):
        export(tmp_path / "run", tmp_path / "out", ExportOptions())
    assert not (tmp_path / "out").exists()


def test_calibration_on_validation_images_is_refused(small_run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a validation image of the run"):
        export(small_run, tmp_path / "out", ExportOptions(int8=True, calibrate=small_run.parent / "images"))
    assert not (tmp_path / "out").exists()


def test_copies_of_validation_images_are_no_calibration(small_run: Path, tmp_path: Path) -> None:
    shutil.copy(small_run.parent / "images" / "cat" / "30.png", tmp_path / "copy.png")
    with pytest.raises(DataError, match=r"copy\.png is a validation image"):
        export(small_run, tmp_path / "out", ExportOptions(int8=True, calibrate=tmp_path))


def test_images_that_are_gone_are_named(small_run: Path, tmp_path: Path) -> None:
    shutil.copytree(small_run, tmp_path / "run")
    split = tmp_path / "run" / "split.csv"
    split.write_text(split.read_text().replace("/cat/", "/gone/"))
    with pytest.raises(DataError, match=r"24 of the run's 48 images in split.csv are gone, such as .*/gone/"):
        export(tmp_path / "run", tmp_path / "out", ExportOptions())


def test_a_validation_image_that_is_another_one_now_is_named(small_run: Path, tmp_path: Path) -> None:
    shutil.copytree(small_run, tmp_path / "run")
    other = tmp_path / "other.png"
    split = tmp_path / "run" / "split.csv"
    *lines, last = split.read_text().splitlines()
    shutil.copy(last.split(",")[2], other)
    split.write_text("\n".join([*lines, last.replace(last.split(",")[2], str(other))]))
    export(tmp_path / "run", tmp_path / "out", ExportOptions())
    shutil.copy(small_run.parent / "images" / "cat" / "0.png", other)
    with pytest.raises(DataError, match=r"1 of the \d+ validation images of the run are not what they were, such as"):
        export(tmp_path / "run", tmp_path / "out", ExportOptions())


def test_an_image_that_broke_is_named(small_run: Path, tmp_path: Path) -> None:
    shutil.copytree(small_run, tmp_path / "run")
    torn = tmp_path / "torn.png"
    torn.write_bytes(b"torn")
    split = tmp_path / "run" / "split.csv"
    lines = split.read_text().splitlines()
    lines[-1] = f"val,dog,{torn},{sha256(torn)}"
    split.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"torn\.png: not an image"):
        export(tmp_path / "run", tmp_path / "out", ExportOptions())


@pytest.mark.slow
def test_whenever_it_is_killed_the_folder_is_old_or_new(
    small_run: Path, exported: Path, scripts: Path, tmp_path: Path
) -> None:
    out = tmp_path / "onnx"
    shutil.copytree(exported, out)
    random = Random(0)  # noqa: S311 - no secret
    for number in range(3):
        command: list[str | Path] = [scripts / "catsdogs-export", small_run, "--int8", "--max-drop", "3", "--out", out]
        with ending(subprocess.Popen([*command, "--seed", str(number + 1)], stderr=subprocess.PIPE)) as process:
            assert process.stderr is not None
            process.stderr.readline()  # it has begun
            time.sleep(random.uniform(0, 4))
            process.kill()
        parity = json.loads((out / "parity.json").read_text())
        assert parity["files"] == {name: sha256(out / name) for name in parity["files"]}
        assert {path.name for path in out.iterdir()} == {*parity["files"], "parity.json"}


@pytest.mark.parametrize("name", ["model.onnx", "model.fp16.onnx", "model.int8.onnx"])
def test_a_published_file_can_be_checked_again(name: str, small_run: Path, exported: Path) -> None:
    parity = verify(exported / name, small_run, max_drop=3)
    assert (parity.labels is None) == (name == "model.onnx")
    assert (parity.tensors is None) == (parity.files is None) == (name != "model.onnx")


def test_a_check_finds_changed_bytes_and_another_run(small_run: Path, exported: Path, tmp_path: Path) -> None:
    data = bytearray((exported / "model.onnx").read_bytes())
    data[data.index(b"onnx")] ^= 1
    (tmp_path / "model.onnx").write_bytes(data)
    with pytest.raises(ParityError, match="was changed after it was published"):
        verify(tmp_path / "model.onnx", small_run, max_drop=3)
    shutil.copytree(small_run, tmp_path / "run")
    network = keras.saving.load_model(tmp_path / "run" / "model.keras")
    network.layers[-1].set_weights([-weights for weights in network.layers[-1].get_weights()])
    network.save(tmp_path / "run" / "model.keras")
    with pytest.raises(ParityError, match="was made from another Keras model"):
        verify(exported / "model.onnx", tmp_path / "run", max_drop=3)


def test_temperature_reaches_the_probabilities_alone(small_run: Path) -> None:
    run = RunFolder.load(small_run)
    cool = run.contract
    network = run.load_network()
    batch = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    answers = []
    for contract in (cool, replace(cool, temperature=2.0)):
        model = convert(network, contract)
        inference = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        answers.append(inference.run(["logits", "probabilities"], {"image": batch}))
    np.testing.assert_array_equal(answers[0][0], answers[1][0])
    odds = [np.log(probabilities[:, 0] / probabilities[:, 1]) for _, probabilities in answers]
    np.testing.assert_allclose(odds[0], 2 * odds[1], rtol=1e-3)  # float32 probabilities


def test_the_report_has_probabilities_with_the_temperature(small_run: Path) -> None:
    run = RunFolder.load(small_run)
    answers = ModelOnImages(KerasPredictor(run.load_network(), replace(run.contract, temperature=2.5)), run.val[:8])
    cooled = np.exp(answers.outputs.logits / 2.5)
    expected = (cooled / cooled.sum(axis=1, keepdims=True))[range(8), [image.label for image in run.val[:8]]]
    worst = {item.path: item.fp32 for item in compare_labels(answers, answers, 1).worst}
    assert worst == pytest.approx(
        {str(image.path): one for image, one in zip(run.val, expected, strict=False)}, abs=1e-5
    )

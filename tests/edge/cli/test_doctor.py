import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import catsdogs_edge.cli.doctor
from catsdogs_edge.doctor.examine import Report, examine
from catsdogs_edge.doctor.machine import Machine, _int8_note
from catsdogs_edge.errors import ModelError
from catsdogs_edge.images.decode import decode, resize
from catsdogs_edge.model import integrity, selftest
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.runtime.cpu import Cpu
from catsdogs_edge.runtime.providers import Provider
from tests.conftest import call_here
from tests.edge.conftest import no_cuda


def doctor(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return call_here(catsdogs_edge.cli.doctor._app, "catsdogs-doctor", *arguments)


def changed(path: Path, out: Path, old: bytes, new: bytes) -> Path:
    """Copies a file with one thing in it replaced by another of the same length."""
    data = path.read_bytes()
    assert data.count(old) == 1
    assert len(old) == len(new)
    out.write_bytes(data.replace(old, new))
    return out


def test_a_whole_file_passes(tiny: Path) -> None:
    done = doctor("--model", tiny)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("PASS: largest difference of logits ")
    assert "unchanged" in done.stdout


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ({"avx2"}, "this CPU has no VNNI: export models of your own with --target x86"),
        ({"avx512_vnni"}, ""),
        ({"avx512_vnni", "amx_int8"}, "this CPU has AMX: INT8 is about twice as fast with the extra edge-openvino"),
    ],
)
def test_what_int8_is_to_expect_of_a_cpu_is_said(features: set[str], said: str) -> None:
    note = _int8_note(Cpu("x86_64", frozenset(features)))
    assert note.startswith(said)
    assert bool(note) == bool(said)


def test_what_the_system_does_not_tell_of_the_cpu_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cpu, "detect", lambda: Cpu("arm64", frozenset()))
    machine = Machine.detect()
    assert (machine.vnni, machine.dot_product) == (None, None)
    assert "dot product: the system does not tell" in machine.describe()[1]


def test_json(tiny: Path) -> None:
    report = json.loads(doctor("--model", tiny, "--json").stdout)
    assert report["passed"] is True
    assert report["model"]["largest_difference"] <= report["model"]["outcome"]["tolerance"]
    assert report["model"]["provider"] == "CPUExecutionProvider"
    assert report["model"]["operators"] == {"CPUExecutionProvider": 4}
    assert report["model"]["outcome"]["differences"].keys() == {"shrink.png", "grow.png", "pattern.png", "rotated.jpg"}


def test_a_changed_weight_fails_by_its_answers_and_by_its_hash(tiny: Path, tmp_path: Path) -> None:
    weights = bytes.fromhex("cdcc4c3dcdcc4cbd")  # 0.05, -0.05 as little-endian float32
    other = bytes.fromhex("cdcc4c3ecdcc4cbd")  # 0.2, -0.05
    done = doctor("--model", changed(tiny, tmp_path / "m.onnx", weights, other))
    assert done.returncode == 1
    assert "CHANGED" in done.stdout
    difference = float(done.stdout.splitlines()[-1].split("logits ")[1].split(",")[0])
    assert difference > 1


def test_a_change_too_small_for_the_answers_fails_by_its_hash(tiny: Path, tmp_path: Path) -> None:
    done = doctor("--model", changed(tiny, tmp_path / "m.onnx", b"\x12\x04tiny", b"\x12\x04tinY"))
    assert done.returncode == 1
    assert "CHANGED" in done.stdout
    assert "FAIL: largest difference of logits 0" in done.stdout


def test_what_carries_no_test_is_refused(tiny: Path, tmp_path: Path) -> None:
    renamed = changed(tiny, tmp_path / "m.onnx", selftest.SELFTEST_KEY.encode(), b"catsdogs.selftesT")
    with pytest.raises(ModelError, match="carries no self-test"):
        selftest.run(Classifier.load(renamed, allow_changed=True), renamed)
    renamed = changed(tiny, tmp_path / "m.onnx", integrity.SEAL_KEY.encode(), b"catsdogs.sha25X")
    with pytest.raises(ModelError, match="holds no hash"):
        selftest.run(Classifier.load(renamed, allow_changed=True), renamed)
    damaged = changed(tiny, tmp_path / "m.onnx", b'{"tolerance"', b'["tolerance"')
    with pytest.raises(ModelError, match="damaged self-test"):
        selftest.run(Classifier.load(damaged, allow_changed=True), damaged)


def test_a_missing_file_is_one_line() -> None:
    done = doctor("--model", "missing.onnx")
    assert (done.returncode, done.stderr) == (1, "catsdogs-doctor: missing.onnx: no such model file\n")


def test_the_images_are_small_and_of_each_kind() -> None:
    probes = selftest.draw_probes()
    assert sum(map(len, probes.values())) < 60_000
    sizes = {name: decode(data).shape[:2] for name, data in probes.items()}
    assert sizes == {
        "shrink.png": (300, 270),
        "grow.png": (96, 96),
        "pattern.png": (500, 500),
        "rotated.jpg": (280, 240),
    }


def test_sealing_needs_one_place() -> None:
    with pytest.raises(ModelError, match="no single place"):
        integrity.seal(b"nothing")


def test_an_answer_that_is_no_number_fails() -> None:
    for differences in ({"a": 0.0, "b": float("nan")}, {"a": float("inf")}):
        assert not selftest.Outcome(differences, 1.0, intact=True, consistent=True).passed
    assert selftest.Outcome({"a": 0.5}, 1.0, intact=True, consistent=True).passed
    assert not selftest.Outcome({"a": 0.5}, 1.0, intact=True, consistent=False).passed


def test_an_answer_that_is_no_number_is_null_in_json(tiny: Path) -> None:
    report = examine(tiny, Provider.CPU)
    assert report.model is not None
    outcome = replace(report.model.outcome, differences={"grow.png": float("nan"), "shrink.png": 0.5})
    found = json.loads(replace(report, model=replace(report.model, outcome=outcome)).to_json())
    assert found["passed"] is False
    assert found["model"]["outcome"]["differences"] == {"grow.png": None, "shrink.png": 0.5}


def test_the_images_become_the_pixels_that_they_always_became() -> None:
    """Pins decode and resize: every model that is out there was trained and tested with these.

    Means over the quarters of each image, R, G and B, to within the rounding of another JPEG decoder.
    """
    expected = json.loads(Path(__file__).with_name("pixels.json").read_text())
    for name, data in selftest.draw_probes().items():
        pixels = resize(decode(data), 224).astype(float)
        means = pixels[::8, ::8].reshape(4, 7, 4, 7, 3).mean(axis=(1, 3))
        np.testing.assert_allclose(means, expected[name], atol=0.5)


def test_the_machine_and_the_model_in_the_package() -> None:
    done = doctor()
    assert done.returncode == 0, done.stderr
    for part in ("Python 3.", "onnxruntime", "opencv", "CPU  ", "provider   cpu: ok", "camera  ", "display  ", "PASS"):
        assert part in done.stdout
    found = json.loads(doctor("--json").stdout)
    assert found["model"]["path"].endswith("catsdogs.int8.onnx")
    assert found["model"]["passed"] is True
    assert found["machine"]["providers"]["cpu"] == "ok"
    assert found["machine"]["cpus"] >= 1


def test_wheels_in_conflict_fail() -> None:
    machine = replace(Machine.detect(), conflicts=["a and b overwrite each other's files"])
    report = Report(machine, None)
    assert not report.passed
    assert "CONFLICT   a and b overwrite" in report.describe()
    assert json.loads(report.to_json())["passed"] is False


@no_cuda
def test_a_named_provider_is_tried_without_a_model_too() -> None:
    assert json.loads(doctor("--provider", "cpu", "--json").stdout)["model"] is None
    done = doctor("--provider", "cuda")
    assert done.returncode == 1
    assert "CUDAExecutionProvider" in done.stderr

"""A smaller network is made of a run, on drawings of three classes: the whole way, by the commands."""

import csv
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import catsdogs_edge.cli.classify
from catsdogs_edge.images.drawings import KINDS, write_folder
from catsdogs_edge.model.classifier import Classifier
from catsdogs_export.cli import _export_app
from catsdogs_train.cli import _app
from catsdogs_train.network.resnet import get_backbone
from catsdogs_train.network.structure import describe_blocks
from catsdogs_train.run.checkpoint import Checkpoint
from catsdogs_train.views.batches import ImageBatches
from tests.conftest import Call, keep_output, make_once, work_here
from tests.train.small_network import build_small_resnet

pytestmark = pytest.mark.slow

SIZE = ["--image-size", "64", "--batch-size", "16"]
DISTIL = [*SIZE, "--fine-tune-size", "64", "--fine-tune-epochs", "5", "--max-drop", "5"]
HALF = ["--faster", "2", "--unlabelled"]


@pytest.fixture(scope="module")
def desk(for_all: Path) -> Path:
    """A folder with images of three classes, things of neither, and a teacher."""

    def make(folder: Path) -> None:
        write_folder(folder / "pets", per_class=36, kinds=list(KINDS))
        write_folder(folder / "more", per_class=24, first_seed=700, kinds=["room"])
        (folder / "start").mkdir()
        build_small_resnet(3, blocks=(1, 1, 2, 1)).save(folder / "start" / "model.keras")
        weights = folder / "start" / "model.keras"
        small: list[str | Path] = ["--weights", weights, "--views", "1", "--epochs", "2", *SIZE]
        tuned = ("--fine-tune-epochs", "10", "--fine-tune-rate", "2e-3", "--unfreeze", "all", "--fine-tune-size", "64")
        work_here(_app, "catsdogs-train", folder / "pets", *small, *tuned, "--out", folder / "teacher")

    return make_once(for_all, "distillation", make)


@pytest.fixture(scope="module")
def small(desk: Path, for_all: Path) -> Path:
    """A run that was taught, by images without a label, too."""
    given: list[str | Path] = [desk / "pets", "--teacher", desk / "teacher", *DISTIL, *HALF, desk / "more"]
    return make_once(for_all, "student", lambda out: keep_output(out, "catsdogs-train", *given))


def distill(call: Call, desk: Path, out: Path, *options: str | Path) -> "subprocess.CompletedProcess[str]":
    """Runs the command in this process; the last of an option that is given twice counts."""
    given = [desk / "pets", "--teacher", desk / "teacher", *DISTIL, "--out", out]
    return call(_app, "catsdogs-train", *given, *options)


def test_two_commands_make_a_small_model_of_a_run(
    call: Call, small: Path, desk: Path, scripts: Path, tmp_path: Path
) -> None:
    said = (small / "printed.txt").read_text()
    assert "24 images without a label" in said
    assert "points lost (95 %: " in said
    described, teacher = (json.loads((folder / "run.json").read_text()) for folder in (small, desk / "teacher"))
    assert described["teacher"]["speedup"] >= 2
    assert described["teacher"]["accuracy"] == teacher["best_epoch"]["val_accuracy"]
    assert described["teacher"]["student_accuracy"] == described["best_epoch"]["val_accuracy"]
    backbone = get_backbone(keras.saving.load_model(small / "model.keras", compile=False))
    assert described["blocks"] == describe_blocks(backbone)
    assert described["blocks"] != teacher["blocks"]
    assert "| right answers |" in (small / "report.md").read_text().partition("## Beside its teacher")[2]
    with (small / "disagreements.csv").open(newline="") as stream:
        assert all(row["teacher"] != row["student"] for row in csv.DictReader(stream))
    onnx = tmp_path / "onnx"
    work_here(_export_app, "catsdogs-export", small, "--int8", "--max-drop", "3", "--out", onnx)
    model = onnx / "model.int8.onnx"
    assert model.stat().st_size < 0.5 * (desk / "teacher" / "model.keras").stat().st_size / 4
    contract = Classifier.load(model).contract
    assert {name: list(widths) for name, widths in contract.blocks.items()} == described["blocks"]
    write_folder(tmp_path / "new", per_class=8, first_seed=500, kinds=list(KINDS))
    rows = tmp_path / "rows.csv"
    command = ["catsdogs-classify", tmp_path / "new", "--model", model, "--accept-all", "--csv", rows]
    assert call(catsdogs_edge.cli.classify._app, *command).returncode == 0
    with rows.open(newline="") as stream:
        right = [row["label"] == Path(row["path"]).parent.name for row in csv.DictReader(stream)]
    assert len(right) == 24
    assert sum(right) >= 21


def test_images_of_neither_teach_it_that_no_class_is_right(
    call: Call, desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "other", per_class=30, first_seed=900, kinds=["room"])
    seen: dict[int, int] = {}  # by batch, which Keras may ask for twice
    get = ImageBatches.__getitem__

    def watch(batches: ImageBatches, index: int) -> tuple[Any, ...]:
        pixels, targets, weights = get(batches, index)
        if batches._shuffle:  # else it validates, or familiarity learns
            of_neither = (targets == np.float32(1 / 3)).all(axis=1)
            seen[index] = int(of_neither.sum())
            np.testing.assert_array_equal(weights[of_neither], 0.5)
        return pixels, targets, weights

    monkeypatch.setattr(ImageBatches, "__getitem__", watch)
    small = tmp_path / "small"
    options = ("--faster", "2", "--fine-tune-epochs", "1", "--max-drop", "90", "--views-on", "host")
    done = distill(call, desk, small, *options, "--other", tmp_path / "other")
    assert done.returncode == 0, done.stderr
    assert sum(seen.values()) == 24  # all but the fifth that judges, though a tenth of the training images is less
    refused = next(line for line in (small / "report.md").read_text().splitlines() if "were refused" in line)
    assert "% of 6 (95 %" in refused
    assert "unless the network had learned from it in an earlier run" in refused


def test_a_student_that_lost_too_much_is_refused_and_may_be_allowed(
    call: Call, desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "small"
    options = (
        "--faster",
        "24",
        "--image-size",
        "32",
        "--fine-tune-size",
        "32",
        "--fine-tune-epochs",
        "1",
        "--fine-tune-rate",
        "1e-7",
        "--max-drop",
        "0.5",
    )
    done = distill(call, desk, run, *options)
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert line.startswith("catsdogs-train: the student gives ")
    assert "--max-drop allows 0.5. No model is written." in line
    assert not (run / "model.keras").exists()
    assert Checkpoint(run).exists
    again = distill(call, desk, run, *options)
    assert again.returncode == 1
    assert "go on with --resume" in again.stderr
    still = distill(call, desk, run, *options, "--resume")
    assert still.returncode == 1
    assert still.stderr.splitlines()[-1] == line
    monkeypatch.setattr("catsdogs_train.stages.training.distill", None)  # nothing is trained again
    allowed = distill(call, desk, run, *options, "--resume", "--max-drop", "90")
    assert allowed.returncode == 0, allowed.stderr
    assert (run / "model.keras").exists()
    assert not (run / "checkpoint").exists()


def test_it_goes_on_where_it_was_broken_off(
    call: Call, small: Path, desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    save = Checkpoint.save

    def save_and_break_off(checkpoint: Checkpoint, state: object) -> None:
        save(checkpoint, state)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as change:
        change.setattr(Checkpoint, "save", save_and_break_off)
        assert distill(call, desk, broken, *HALF, desk / "more").returncode == 130
    done = distill(call, desk, broken, *HALF, desk / "more", "--resume")
    assert done.returncode == 0, done.stderr
    assert "going on after epoch 1 (distillation)" in done.stderr
    assert "pruning" not in done.stderr
    networks = [keras.saving.load_model(run / "model.keras", compile=False) for run in (small, broken)]
    for one, other in zip(*(network.get_weights() for network in networks), strict=True):
        assert one.shape == other.shape
        assert abs(one - other).max() < 1e-5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--faster", "60"], "the smallest network that can be made of it is"),
        (["--teacher", "nowhere"], "--teacher nowhere is not a run folder of catsdogs-train"),
        (["--unlabelled", "nowhere"], "--unlabelled nowhere: no such folder"),
        (["--val", "two"], "two has the classes (cat, dog), expected (cat, dog, room)"),
    ],
)
def test_what_cannot_be_is_one_line(
    options: list[str], said: str, call: Call, desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "two", per_class=4)
    done = distill(call, desk, tmp_path / "small", *options)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"catsdogs-train: {said}"), done.stderr
    assert not (tmp_path / "small").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--weights", "none"], "either --weights or --teacher"),
        (["--fine-tune-epochs", "0"], "at least one of --fine-tune-epochs"),
    ],
)
def test_wrong_usage_is_said(options: list[str], said: str, call: Call, desk: Path, tmp_path: Path) -> None:
    done = distill(call, desk, tmp_path / "small", *options)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())


@pytest.mark.parametrize("option", ["--faster", "--max-drop", "--unlabelled"])
def test_what_is_said_of_a_student_needs_a_teacher(option: str, call: Call, desk: Path, tmp_path: Path) -> None:
    done = call(_app, "catsdogs-train", desk / "pets", option, "3", "--out", tmp_path / "small")
    assert done.returncode == 2
    assert f"{option} goes with --teacher RUN" in " ".join(done.stderr.split())
    assert not (tmp_path / "small").exists()


def test_a_teacher_that_learned_from_what_is_to_validate_is_refused(call: Call, desk: Path, tmp_path: Path) -> None:
    with (desk / "teacher" / "split.csv").open(newline="") as stream:
        learned = {row["label"]: Path(row["path"]) for row in csv.DictReader(stream) if row["set"] == "train"}
    for kind, image in learned.items():
        (tmp_path / "val" / kind).mkdir(parents=True)
        shutil.copy(image, tmp_path / "val" / kind)
    done = distill(call, desk, tmp_path / "small", "--val", tmp_path / "val")
    assert done.returncode == 1
    assert "learned from 3 of the 3 images of --val: leave them out of it, or give the --val of that run" in done.stderr


def test_without_the_images_it_was_begun_with_it_does_not_go_on(
    call: Call, small: Path, desk: Path, tmp_path: Path
) -> None:
    done = distill(call, desk, small, "--faster", "2", "--resume")
    assert done.returncode == 1
    assert "the images without a label are not those that the training in" in done.stderr


def test_a_teacher_that_is_not_done_is_refused(call: Call, desk: Path, tmp_path: Path) -> None:
    shutil.copytree(desk / "teacher", tmp_path / "teacher")
    (tmp_path / "teacher" / "checkpoint").mkdir()
    (tmp_path / "teacher" / "checkpoint" / "settings.json").write_text("{}")
    done = distill(call, desk, tmp_path / "small", "--teacher", tmp_path / "teacher")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("is not done: finish it with --resume")


def test_killed_after_pruning_it_is_not_mistaken_for_another_one(
    call: Call, desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as change:
        change.setattr("catsdogs_train.stages.distillation.train_epochs", break_off)
        assert distill(call, desk, tmp_path / "small", "--faster", "2").returncode == 130
    done = distill(call, desk, tmp_path / "small", "--faster", "3")
    assert done.returncode == 1
    assert "go on with --resume" in done.stderr
    done = distill(call, desk, tmp_path / "small", "--faster", "3", "--resume")
    assert done.returncode == 1
    assert "has --faster 2.0, now it is 3.0" in done.stderr


def test_a_teacher_of_other_classes_is_refused(call: Call, desk: Path, tmp_path: Path) -> None:
    shutil.copytree(desk / "pets", tmp_path / "pets")
    (tmp_path / "pets" / "room").rename(tmp_path / "pets" / "cellar")
    options = [tmp_path / "pets", "--teacher", desk / "teacher", "--out", tmp_path / "small"]
    done = call(_app, "catsdogs-train", *options)
    assert done.returncode == 1
    assert "has the classes cat, dog, room, DATA has cat, cellar, dog, expected the same" in done.stderr

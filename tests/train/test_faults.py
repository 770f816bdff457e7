"""What goes wrong around a training: bad files, a full disk, a read-only folder."""

import csv
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import pytest

from catsdogs_edge.errors import DataError
from catsdogs_edge.images.drawings import write_folder
from catsdogs_train.cli import _app
from catsdogs_train.run.checkpoint import Checkpoint
from catsdogs_train.run.earlier_run import read_earlier
from catsdogs_train.run.run_folder import RunFolderWriter
from tests.conftest import Call

Train = Callable[..., "subprocess.CompletedProcess[str]"]

FAST = ["--image-size", "40", "--epochs", "2", "--views", "1", "--val-size", "6"]


@pytest.fixture
def train(call: Call, small_weights: Path) -> Train:
    """Runs the command, with a small network, in this process."""
    return lambda *arguments: call(_app, "catsdogs-train", *arguments, "--weights", small_weights, *FAST)


def add_bad_files(images: Path) -> dict[str, str]:
    """Adds one of each kind; returns the beginning of the reason for each."""
    cats = images / "cat"
    whole = cv2.imread(str(cats / "0.png"))
    assert whole is not None
    jpeg = cv2.imencode(".jpg", whole)[1].tobytes()
    png = (cats / "1.png").read_bytes()
    bad: dict[str, tuple[bytes, str]] = {
        "empty.jpg": (b"", "empty file"),
        "text.jpg": (b"words", "not an image"),
        "page.png": (b"<html><body>404</body></html>", "not an image"),
        "torn.jpg": (jpeg[: len(jpeg) // 2], "truncated JPEG"),
        "torn.png": (png[: len(png) // 2], "truncated PNG"),
        "Thumbs.db": (b"\xd0\xcf\x11\xe0" + bytes(600), ""),
        "copy.png": (png, "the same file as"),
    }
    for name, (data, _) in bad.items():
        (cats / name).write_bytes(data)
    shutil.copy(cats / "2.png", images / "dog" / "traitor.png")
    cv2.imwrite(str(cats / "scaled.jpg"), cv2.resize(whole, None, fx=0.7, fy=0.7))
    named = {name: reason for name, (_, reason) in bad.items() if reason}
    return named | {"2.png": "the same file is labelled", "traitor.png": "the same file is labelled"}


def test_with_every_kind_of_bad_file_it_trains_and_names_each(call: Call, small_weights: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "images", per_class=15)
    bad = add_bad_files(tmp_path / "images")
    before = {path: path.read_bytes() for path in (tmp_path / "images").rglob("*.*")}
    weights = ["--weights", small_weights]
    done = call(_app, "catsdogs-train", tmp_path / "images", "--out", tmp_path / "run", *weights, *FAST)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "run" / "quarantine.csv").open(newline="") as stream:
        reasons = {Path(row["path"]).name: row["reason"] for row in csv.DictReader(stream)}
    # The scaled copy is left out only if its original validates.
    assert set(reasons) - {"scaled.jpg", "0.png"} == set(bad)
    for name, reason in bad.items():
        assert reasons[name].startswith(reason)
    assert {path: path.read_bytes() for path in (tmp_path / "images").rglob("*.*")} == before
    assert f"Left out: {len(reasons)} files; quarantine.csv" in (tmp_path / "run" / "report.md").read_text()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 400 KB: the features fit, the model does not; of 20 KB, neither does."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command: list[str | Path] = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", folder]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a small disk here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_with_more_room_it_goes_on(train: Train, disk: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "images", per_class=10)
    for size, reached in (("20k", "checkpoint"), ("400k", "run")):
        subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)
        done = train(tmp_path / "images", "--out", disk / "run", "--resume")
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert done.stderr.splitlines()[-1].endswith(f"{reached} cannot be written: No space left on device")
    assert [path.name for path in (disk / "run").iterdir()] == ["checkpoint"]
    subprocess.run(["mount", "-o", "remount,size=50m", disk], check=True)
    done = train(tmp_path / "images", "--out", disk / "run", "--resume")
    assert done.returncode == 0, done.stderr
    assert "going on after epoch 2 (head)" in done.stderr
    again = train(tmp_path / "images", "--out", disk / "run", "--resume")
    assert again.returncode == 0
    assert again.stderr.splitlines()[-1].endswith("run is done already")
    assert again.stdout == done.stdout
    other = train(tmp_path / "images", "--out", disk / "run", "--resume", "--patience", "2")
    assert other.returncode == 1
    said = other.stderr.splitlines()[-1]
    assert said == (
        f"catsdogs-train: the training in {disk / 'run'} has --patience None, now it is 2: "
        "resume it as it was begun, or choose another --out"
    )
    write_folder(tmp_path / "images", per_class=11)
    other = train(tmp_path / "images", "--out", disk / "run", "--resume")
    assert other.returncode == 1
    assert other.stderr.splitlines()[-1].startswith(
        f"catsdogs-train: the images are not those that the training in {disk / 'run'} was begun with"
    )


def test_what_a_killed_removal_left_is_not_the_start_of_another_training(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "images", per_class=10)
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "remove", lambda checkpoint: (checkpoint.folder / "settings.json").unlink())
        assert train(tmp_path / "images", "--out", tmp_path / "run").returncode == 0
    assert (tmp_path / "run" / "checkpoint" / "state.npz").exists()
    (tmp_path / "run" / "model.keras").unlink()  # as the refusal says
    done = train(tmp_path / "images", "--out", tmp_path / "run", "--seed", "7")
    assert done.returncode == 0, done.stderr
    assert "epoch 1 of 2" in done.stderr
    assert "going on after" not in done.stderr


def test_a_training_whose_checkpoint_is_gone_is_not_done(
    call: Call, small_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "images", per_class=10)
    run = tmp_path / "run"
    arguments = [tmp_path / "images", "--out", run, "--weights", small_weights, *FAST, "--views", "0"]

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunFolderWriter, "finish", interrupt)
        assert call(_app, "catsdogs-train", *arguments).returncode == 130
    assert (run / "model.keras").exists()
    shutil.rmtree(run / "checkpoint")  # gigabytes, on a GPU
    (run / "aside.csv").write_text("of a training before\n")
    with pytest.raises(DataError, match="is not done: finish it with --resume"):
        read_earlier(run, "--teacher")
    refused = call(_app, "catsdogs-train", *arguments)
    assert refused.returncode == 1
    assert "holds a training that was broken off: go on with --resume" in refused.stderr
    other = call(_app, "catsdogs-train", *arguments, "--resume", "--seed", "7")
    assert other.returncode == 1
    assert "has --seed 0, now it is 7" in other.stderr
    done = call(_app, "catsdogs-train", *arguments, "--resume")
    assert done.returncode == 0, done.stderr
    assert "has lost its checkpoint: it begins anew" in done.stderr
    assert "epoch 1 of 2" in done.stderr
    assert json.loads((run / "run.json").read_text())["done"] is True
    assert (run / "report.md").exists()
    assert not (run / "aside.csv").exists()
    assert read_earlier(run, "--teacher").classes == ("cat", "dog")


def test_a_place_that_cannot_be_written_is_said_before_anything_else(call: Call, tmp_path: Path) -> None:
    write_folder(tmp_path / "images", per_class=10)
    (tmp_path / "file").touch()
    done = call(_app, "catsdogs-train", tmp_path / "images", "--out", tmp_path / "file" / "run", *FAST)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "cannot be written" in line


def test_without_a_temporary_folder_there_is_one_line(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "images", per_class=15)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nowhere"])
    done = call(_app, "catsdogs-train", tmp_path / "images", "--out", tmp_path / "run")
    assert done.returncode == 1
    assert "there is no folder for temporary files" in done.stderr
    assert "set TMPDIR" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_any_name_of_a_class_or_a_file_will_do(train: Train, tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """Formulas for Matplotlib, tables for Markdown, another script, bytes that are not UTF-8."""
    write_folder(tmp_path / "images", per_class=10)
    (tmp_path / "images" / "cat").rename(tmp_path / "images" / "ca$h$_{ | `x` * # b")
    for path in sorted((tmp_path / "images" / "dog").iterdir()):
        path.rename(path.with_name(f"\udcff$_^${path.name}"))
    (tmp_path / "images" / "dog").rename(tmp_path / "images" / "\N{CJK UNIFIED IDEOGRAPH-72AC}")
    done = train(tmp_path / "images", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    hidden = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)  # unless asked for
    assert not [warning for warning in recwarn if not issubclass(warning.category, hidden)]
    report = (tmp_path / "run" / "report.md").read_text()
    assert "| ca&#36;h&#36;&#95;&#123; &#124; &#96;x&#96; &#42; &#35; b | 7 | 3 |" in report


@pytest.mark.slow
def test_the_user_s_keras_json_changes_nothing(
    scripts: Path, drawings: Path, small_weights: Path, tmp_path: Path
) -> None:
    (tmp_path / "keras.json").write_text(json.dumps({"image_data_format": "channels_first", "floatx": "float16"}))
    environment = os.environ | {"KERAS_HOME": str(tmp_path)}
    command: list[str | Path] = [
        scripts / "catsdogs-train",
        drawings,
        "--out",
        tmp_path / "run",
        "--weights",
        small_weights,
    ]
    done = subprocess.run([*command, *FAST], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    export: list[str | Path] = [scripts / "catsdogs-export", tmp_path / "run"]
    done = subprocess.run(export, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr

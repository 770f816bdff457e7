"""A training that is killed at any moment, and resumed, ends where an undisturbed one ends: to the last digit."""

import csv
import json
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pytest

from catsdogs_edge.images.drawings import write_folder

pytestmark = pytest.mark.slow


HEAD, FINE_TUNING = 3, 3
"""Epochs."""

OPTIONS = (
    "--image-size 32 --batch-size 8 --val-size 20 --views 2 --unfreeze conv5 "
    f"--epochs {HEAD} --fine-tune-epochs {FINE_TUNING}"
).split()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resume") / "images"
    write_folder(folder, per_class=30)
    write_folder(folder.with_name("things"), per_class=24, kinds=["room"])
    return folder


@pytest.fixture(scope="module")
def command(scripts: Path, images: Path, small_weights: Path) -> list[str]:
    given = [images, "--weights", small_weights, "--other", images.with_name("things")]
    return [str(scripts / "catsdogs-train"), *map(str, given), *OPTIONS]


on_tensorflow, on_jax = (
    pytest.mark.parametrize("backend", [name], indirect=True, scope="module") for name in ("tensorflow", "jax")
)


@pytest.fixture(scope="module")
def backend(request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment of the commands."""
    pytest.importorskip(request.param)
    return os.environ | {"KERAS_BACKEND": request.param}


@pytest.fixture(scope="module")
def undisturbed(
    command: list[str], backend: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, float]:
    """A run, and the seconds that it took."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    started = time.monotonic()
    subprocess.run([*command, "--out", str(out)], check=True, capture_output=True, env=backend)
    return out, time.monotonic() - started


def history(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open(newline="") as stream:
        timed = {"seconds", "pictures_per_second"}
        return [{name: value for name, value in row.items() if name not in timed} for row in csv.DictReader(stream)]


def weights(run: Path) -> list[np.ndarray]:
    return [np.asarray(array) for array in keras.saving.load_model(run / "model.keras", compile=False).get_weights()]


def assert_same(run: Path, whole: Path) -> None:
    losses = {(epoch["loss"], epoch["val_loss"]) for epoch in history(whole)}
    assert len(losses) == HEAD + FINE_TUNING  # else what follows would prove little
    assert history(run) == history(whole)
    for one, other in zip(weights(run), weights(whole), strict=True):
        np.testing.assert_array_equal(one, other)
    assert {path.name for path in run.iterdir()} == {path.name for path in whole.iterdir()}
    described, expected = (json.loads((folder / "run.json").read_text()) for folder in (run, whole))
    assert described["best_epoch"]["val_accuracy"] == expected["best_epoch"]["val_accuracy"]
    assert described["familiarity"] == expected["familiarity"]


def start(command: Sequence[str], out: Path, backend: dict[str, str]) -> "subprocess.Popen[str]":
    arguments = [*command, "--out", str(out), "--resume"]
    return subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env=backend)


def finish(command: Sequence[str], out: Path, backend: dict[str, str]) -> None:
    with start(command, out, backend) as process:
        _, said = process.communicate()
    assert process.returncode == 0, said


@on_jax
def test_killed_in_each_stage_it_ends_where_an_undisturbed_run_ends(
    command: list[str], backend: dict[str, str], undisturbed: tuple[Path, float], tmp_path: Path
) -> None:
    """With the features of one of two views, after an epoch of the head, after one of fine-tuning, at the very end."""
    out = tmp_path / "run"
    with start(command, out, backend) as process:
        while not (out / "checkpoint" / "features-0.npy").exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    assert not (out / "checkpoint" / "state.npz").exists()
    for line in ("epoch 2 of", f"epoch {HEAD + 2} of", "learning what is familiar"):
        with start(command, out, backend) as process:
            assert process.stderr is not None
            said = []
            for text in process.stderr:
                said.append(text)
                if line in text:
                    break
            time.sleep(0.5)  # into what comes next
            process.kill()
        assert line in said[-1], said
        assert (out / "checkpoint" / "state.npz").exists()
    finish(command, out, backend)
    assert_same(out, undisturbed[0])


@on_tensorflow
def test_killed_at_three_random_moments_it_ends_there_too(
    command: list[str], backend: dict[str, str], undisturbed: tuple[Path, float], tmp_path: Path
) -> None:
    whole, seconds = undisturbed
    draw = np.random.default_rng()
    moments = draw.uniform(0.3, 0.95, 3) * seconds
    print("killed after", moments, "of", seconds)  # noqa: T201 - shown where the test fails
    for moment in moments:
        with start(command, tmp_path / "run", backend) as process:
            try:
                process.communicate(timeout=moment)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
    finish(command, tmp_path / "run", backend)
    assert_same(tmp_path / "run", whole)


@on_tensorflow
def test_the_same_seed_gives_the_same_figures(
    command: list[str], backend: dict[str, str], undisturbed: tuple[Path, float], tmp_path: Path
) -> None:
    finish(command, tmp_path / "again", backend)
    assert_same(tmp_path / "again", undisturbed[0])

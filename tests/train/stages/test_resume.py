"""A training that is killed at any moment, and resumed, ends where an undisturbed one ends: to the last digit."""

import json
import subprocess
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.train.trainings import FINE_TUNING, HEAD, ON_DEVICE, Training, finish, history

pytestmark = pytest.mark.slow


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


def test_killed_in_each_stage_it_ends_where_an_undisturbed_run_ends(training: Training, tmp_path: Path) -> None:
    """With the features of one of two views, after an epoch of the head, after one of fine-tuning, at the very end."""
    whole, _ = training.undisturbed("jax")
    out = tmp_path / "run"
    with training.start("jax", out, "--resume") as process:
        while not (out / "checkpoint" / "features-0.npy").exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    assert not (out / "checkpoint" / "state.npz").exists()
    for line in ("epoch 1 of", f"epoch {HEAD + 1} of", "learning what is familiar"):
        with training.start("jax", out, "--resume") as process:
            assert process.stderr is not None
            said = []
            for text in process.stderr:
                said.append(text)
                if line in text:
                    break
            while not (out / "checkpoint" / "state.npz").exists():
                assert process.poll() is None
                time.sleep(0.01)
            time.sleep(0.1)  # into what comes next
            process.kill()
        assert line in said[-1], said
        assert (out / "checkpoint" / "state.npz").exists()
    finish(training.start("jax", out, "--resume"))
    assert_same(out, whole)


def test_killed_while_the_device_draws_views_it_ends_where_an_undisturbed_run_ends(
    training: Training, tmp_path: Path
) -> None:
    """While images are decoded, and after an epoch; the pixels are a level from those of OpenCV at most."""
    whole, _ = training.undisturbed("jax", *ON_DEVICE)
    out = tmp_path / "run"
    for name in ("images-train.npy", "state.npz"):
        with training.start("jax", out, "--resume", *ON_DEVICE) as process:
            while not (out / "checkpoint" / name).exists():
                assert process.poll() is None
                time.sleep(0.01)
            process.kill()
    finish(training.start("jax", out, "--resume", *ON_DEVICE))
    assert_same(out, whole)
    host, _ = training.undisturbed("jax")
    for one, other in zip(history(whole)[:HEAD], history(host)[:HEAD], strict=True):
        assert float(one["loss"]) == pytest.approx(float(other["loss"]), rel=0.02)


def test_killed_at_two_random_moments_it_ends_there_too(training: Training, tmp_path: Path) -> None:
    """So the same seed gives the same figures, whether it was killed or not."""
    whole, seconds = training.undisturbed("tensorflow")
    moments = np.random.default_rng().uniform(0.5, 0.98, 2) * seconds
    print("killed after", moments, "of", seconds)  # noqa: T201 - shown where the test fails
    for moment in moments:
        with training.start("tensorflow", tmp_path / "run", "--resume") as process:
            try:
                process.communicate(timeout=moment)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
    finish(training.start("tensorflow", tmp_path / "run", "--resume"))
    assert_same(tmp_path / "run", whole)

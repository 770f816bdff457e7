from pathlib import Path

import numpy as np
import pytest

from catsdogs_edge.errors import DataError
from catsdogs_train.network.weights import Arrays
from catsdogs_train.run.checkpoint import Checkpoint
from catsdogs_train.run.history import Epoch, Stage, TrainingState
from tests.train.epochs import epoch

EPOCH = epoch(stage=Stage.FINE_TUNING)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "run")
    checkpoint.begin({"--seed": 1})
    assert not checkpoint.exists  # nothing to go on with, so that another training may begin
    assert checkpoint.load().history == []
    arrays: Arrays = [np.arange(6, dtype=np.float32).reshape(2, 3), np.array(7, np.int64)]
    state = TrainingState(
        history=[EPOCH],
        over=True,
        features_seconds=2.5,
        weights=arrays,
        optimizer=arrays[:1],
        best_weights=arrays[1:],
        best_logits=np.ones((2, 2), np.float32),
    )
    checkpoint.save(state)
    assert checkpoint.exists
    found = checkpoint.load()
    assert found.history == [EPOCH]
    assert found.history[0].stage is Stage.FINE_TUNING
    assert (found.best, found.over, found.features_seconds) == (0, True, 2.5)
    for name in ("weights", "optimizer", "best_weights"):
        for one, other in zip(getattr(found, name), getattr(state, name), strict=True):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype
    np.testing.assert_array_equal(found.best_logits, state.best_logits)
    checkpoint.remove()
    assert list((tmp_path / "run").iterdir()) == []


def test_another_training_is_not_resumed(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.begin({"--seed": 1, "--epochs": 5})
    checkpoint.begin({"--seed": 1, "--epochs": 10})
    checkpoint.features_file("val").touch()
    checkpoint.begin({"--seed": 1, "--epochs": 10})
    with pytest.raises(DataError, match=r"^the training in .* has --epochs 10, now it is 20: resume it as it was"):
        checkpoint.begin({"--seed": 1, "--epochs": 20})


def test_a_training_with_names_that_are_not_utf8_is_resumed(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.begin({"classes": ["caf\udce9", "cat"]})
    checkpoint.features_file("val").touch()
    checkpoint.begin({"classes": ["caf\udce9", "cat"]})


def test_what_a_killed_process_left_is_swept_away(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.folder.mkdir()
    for folder in (tmp_path, checkpoint.folder):
        (folder / ".catsdogs-abc").mkdir()
        (folder / ".catsdogs-abc" / "model.keras").touch()
    checkpoint.begin({})
    assert [path.name for path in tmp_path.rglob("*")] == ["checkpoint", "settings.json"]
    checkpoint.remove()
    assert list(tmp_path.iterdir()) == []


def test_patience_is_counted_from_the_best_epoch_or_from_the_stage() -> None:
    def add(state: TrainingState, stage: Stage, accuracy: float) -> int:
        state.add(
            epoch(len(state.history) + 1, stage, val_accuracy=accuracy, val_loss=1),
            [],
            [],
            np.empty((0, 2), np.float32),
        )
        return state.waited()

    state = TrainingState()
    assert [add(state, Stage.HEAD, accuracy) for accuracy in (0.5, 0.7, 0.6, 0.7)] == [0, 0, 1, 2]
    assert [add(state, Stage.FINE_TUNING, accuracy) for accuracy in (0.6, 0.6, 0.8, 0.7)] == [1, 2, 0, 1]
    assert state.best == 6
    assert add(state, Stage.FINE_TUNING, 0.8) == 2  # as good, and later: it is kept, and does not delay the end
    assert state.best == 8


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing", b"\x93NUMPY", b'{"--seed": "\xe9"}'])
def test_a_damaged_checkpoint_is_named(content: bytes, tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.begin({})
    (checkpoint.folder / "state.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"state\.npz is damaged: .* train anew"):
        checkpoint.load()
    (checkpoint.folder / "settings.json").write_bytes(content)
    with pytest.raises(DataError, match=r"settings\.json is damaged: .* train anew"):
        checkpoint.begin({})


def test_better_is_more_right_answers_then_a_later_stage_or_epoch_of_fine_tuning_then_less_loss() -> None:
    def made(accuracy: float, loss: float, stage: Stage = Stage.HEAD, number: int = 1) -> Epoch:
        return epoch(number, stage, val_accuracy=accuracy, val_loss=loss)

    tuned, later = made(0.5, 1, Stage.FINE_TUNING, 2), made(0.5, 2, Stage.FINE_TUNING, 9)
    assert later.is_better_than(tuned)
    assert not tuned.is_better_than(later)
    assert made(0.5, 1, Stage.DISTILLATION, 2).is_better_than(made(0.5, 2, Stage.DISTILLATION, 9))

    assert made(0.5, 2, Stage.FINE_TUNING).is_better_than(made(0.5, 1))  # label smoothing makes its loss greater
    assert not made(0.4, 2, Stage.FINE_TUNING).is_better_than(made(0.5, 1))

    assert made(0.6, 9).is_better_than(made(0.5, 1))
    assert made(0.5, 1).is_better_than(made(0.5, 2))
    assert not made(0.5, 1).is_better_than(made(0.5, 1))

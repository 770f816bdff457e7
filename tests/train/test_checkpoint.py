from pathlib import Path

import numpy as np
import pytest

from catsdogs_edge.errors import DataError
from catsdogs_train.checkpoint import Arrays, Checkpoint, Epoch, Stage, Standing

EPOCH = Epoch(1, Stage.FINE_TUNING, 0.5, 0.7, 0.6, 0.65, 1.5, 30.0)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "run")
    checkpoint.begin({"--seed": 1})
    assert not checkpoint.exists  # nothing to go on with, so that another training may begin
    assert checkpoint.load().history == []
    arrays: Arrays = [np.arange(6, dtype=np.float32).reshape(2, 3), np.array(7, np.int64)]
    standing = Standing([EPOCH], 0, True, 2.5, arrays, arrays[:1], arrays[1:], np.ones((2, 2), np.float32))
    checkpoint.save(standing)
    assert checkpoint.exists
    found = checkpoint.load()
    assert found.history == [EPOCH]
    assert found.history[0].stage is Stage.FINE_TUNING
    assert (found.best, found.over, found.features_seconds) == (0, True, 2.5)
    for name in ("weights", "optimizer", "best_weights"):
        for one, other in zip(getattr(found, name), getattr(standing, name), strict=True):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype
    np.testing.assert_array_equal(found.best_logits, standing.best_logits)
    checkpoint.remove()
    assert list((tmp_path / "run").iterdir()) == []


def test_another_training_is_not_resumed(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.begin({"--seed": 1, "--epochs": 5})
    checkpoint.begin({"--seed": 1, "--epochs": 10})
    checkpoint.features("val").touch()
    checkpoint.begin({"--seed": 1, "--epochs": 10})
    with pytest.raises(DataError, match=r"^the training in .* has --epochs 10, now it is 20: resume it as it was"):
        checkpoint.begin({"--seed": 1, "--epochs": 20})


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
    def add(standing: Standing, stage: Stage, accuracy: float) -> int:
        epoch = Epoch(len(standing.history) + 1, stage, 0, 0, accuracy, 1, 0, 0)
        standing.add(epoch, [], [], np.empty((0, 2), np.float32))
        return standing.waited()

    standing = Standing()
    assert [add(standing, Stage.HEAD, accuracy) for accuracy in (0.5, 0.7, 0.6, 0.7)] == [0, 0, 1, 2]
    assert [add(standing, Stage.FINE_TUNING, accuracy) for accuracy in (0.6, 0.6, 0.8, 0.7)] == [1, 2, 0, 1]
    assert standing.best == 6


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing", b"\x93NUMPY"])
def test_a_damaged_checkpoint_is_named(content: bytes, tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.begin({})
    (checkpoint.folder / "standing.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"standing\.npz is damaged .* train anew"):
        checkpoint.load()
    (checkpoint.folder / "settings.json").write_bytes(content)
    with pytest.raises(DataError, match=r"settings\.json is damaged .* train anew"):
        checkpoint.begin({})


def test_better_is_more_right_answers_then_a_later_stage_then_less_loss() -> None:
    def epoch(accuracy: float, loss: float, stage: Stage = Stage.HEAD) -> Epoch:
        return Epoch(1, stage, 0, 0, accuracy, loss, 0, 0)

    assert epoch(0.5, 2, Stage.FINE_TUNING).is_better_than(epoch(0.5, 1))  # label smoothing makes its loss greater
    assert not epoch(0.4, 2, Stage.FINE_TUNING).is_better_than(epoch(0.5, 1))

    assert epoch(0.6, 9).is_better_than(epoch(0.5, 1))
    assert epoch(0.5, 1).is_better_than(epoch(0.5, 2))
    assert not epoch(0.5, 1).is_better_than(epoch(0.5, 1))

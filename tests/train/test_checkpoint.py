from pathlib import Path

import numpy as np
import pytest

from catsdogs_edge.errors import DataError
from catsdogs_train.checkpoint import Checkpoint, Epoch, Stage, Standing

EPOCH = Epoch(1, Stage.FINE_TUNING, 0.5, 0.7, 0.6, 0.65, 1.5, 30.0)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "run")
    assert not checkpoint.exists
    checkpoint.begin({"--seed": 1})
    assert checkpoint.exists
    assert checkpoint.load().history == []
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3), np.array(7, np.int64)]
    standing = Standing([EPOCH], 0, True, arrays, arrays[:1], arrays[1:], np.ones((2, 2), np.float32))
    checkpoint.save(standing)
    found = checkpoint.load()
    assert found.history == [EPOCH]
    assert found.history[0].stage is Stage.FINE_TUNING
    assert (found.best, found.over) == (0, True)
    for name in ("weights", "optimizer", "best_weights"):
        for one, other in zip(getattr(found, name), getattr(standing, name), strict=True):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype
    np.testing.assert_array_equal(found.best_logits, standing.best_logits)
    checkpoint.remove()
    assert list((tmp_path / "run").iterdir()) == []


def test_another_training_is_not_resumed(tmp_path: Path) -> None:
    Checkpoint(tmp_path).begin({"--seed": 1, "--epochs": 10})
    Checkpoint(tmp_path).begin({"--seed": 1, "--epochs": 10})
    with pytest.raises(DataError, match="had --epochs 10, now it is 20: resume with what it was begun with"):
        Checkpoint(tmp_path).begin({"--seed": 1, "--epochs": 20})


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


def test_better_is_more_right_answers_then_less_loss() -> None:
    def epoch(accuracy: float, loss: float) -> Epoch:
        return Epoch(1, Stage.HEAD, 0, 0, accuracy, loss, 0, 0)

    assert epoch(0.6, 9).is_better_than(epoch(0.5, 1))
    assert epoch(0.5, 1).is_better_than(epoch(0.5, 2))
    assert not epoch(0.5, 1).is_better_than(epoch(0.5, 1))

from pathlib import Path

import pytest

from catsdogs_train.run.tensorboard import TensorBoardWriter
from tests.train.epochs import epoch


def test_tensorboard_reads_what_is_written(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    board = TensorBoardWriter(tmp_path)
    for number in (1, 2):
        board.add(epoch(number, accuracy=number / 4, loss=2.0, val_accuracy=number / 8, val_loss=3.0))
    board.close()
    expected = {
        "training": {"accuracy": [0.25, 0.5], "loss": [2, 2], "images/s": [100, 100]},
        "validation": {"accuracy": [0.125, 0.25], "loss": [3, 3]},
    }
    for name, figures in expected.items():
        events = accumulator.EventAccumulator(str(tmp_path / "tensorboard" / name)).Reload()
        for tag, values in figures.items():
            found = events.Tensors(tag)
            assert [event.step for event in found] == [1, 2]
            assert [float(event.tensor_proto.float_val[0]) for event in found] == values

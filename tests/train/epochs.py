"""Epochs for tests."""

from catsdogs_train.run.history import Epoch, Stage


def epoch(
    number: int = 1,
    stage: Stage = Stage.HEAD,
    *,
    accuracy: float = 0.5,
    loss: float = 0.7,
    val_accuracy: float = 0.6,
    val_loss: float = 0.65,
) -> Epoch:
    """An epoch of 1.5 s with 100 images a second."""
    return Epoch(
        epoch=number,
        stage=stage,
        accuracy=accuracy,
        loss=loss,
        val_accuracy=val_accuracy,
        val_loss=val_loss,
        seconds=1.5,
        images_per_second=100.0,
    )

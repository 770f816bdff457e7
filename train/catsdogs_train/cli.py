"""The command `catsdogs-train`.

TensorFlow is imported inside the call, so that `--help` answers at once.
"""

from pathlib import Path
from typing import Annotated

import typer

from catsdogs_edge.command import make_app, run, tensorflow_quiet

_app = make_app()


def main() -> None:
    """Entry point of `catsdogs-train`."""
    run(_app, extra="train")


@_app.command(epilog="Example: catsdogs-train pets/ --out run --epochs 5")
def _train(
    data: Annotated[
        list[Path],
        typer.Argument(help="Folders or zip files: a folder of pictures for each class, or files called cat.0.jpg."),
    ],
    out: Annotated[Path, typer.Option(help="Run folder to write.")],
    weights: Annotated[
        str,
        typer.Option(
            metavar="imagenet|none|FILE",
            help="Backbone: ImageNet's weights, downloaded; a file of them; 'none': random, to try things.",
        ),
    ] = "imagenet",
    val: Annotated[
        Path | None,
        typer.Option(help="Folder to validate on, laid out like DATA; else a part of DATA is kept back."),
    ] = None,
    train_size: Annotated[int | None, typer.Option(min=1, help="Train on so many pictures, not on all.")] = None,
    val_size: Annotated[
        int | None,
        typer.Option(min=1, help="Validate on so many pictures, not on all (a fifth, without --val)."),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training pictures.")] = 10,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures in one step.")] = 32,
    views: Annotated[
        int,
        typer.Option(
            min=0, help="Views of each picture, computed once for all epochs; 0 draws new ones in each epoch, slowly."
        ),
    ] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same machine, same figures.")] = 0,
) -> None:
    """Train a ResNet50 with a frozen backbone to tell the classes of DATA apart.

    OUT gets model.keras, run.json, split.csv, quarantine.csv, history.csv and curves.png, anew after every epoch.
    Files that are no pictures, or are there twice, are left out and named in quarantine.csv; none is deleted.
    """
    with tensorflow_quiet():
        from catsdogs_train.fit import train  # noqa: PLC0415
    from catsdogs_train.report import Settings  # noqa: PLC0415

    last = train(Settings(tuple(data), out, weights, val, train_size, val_size, epochs, batch_size, views, seed))
    typer.echo(f"{out}: validation accuracy {last.val_accuracy:.2%} after epoch {last.epoch}")

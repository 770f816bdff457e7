"""The command `catsdogs-model`: puts a model in the place of another while a camera uses it, and takes it back."""

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from catsdogs_edge.cli.app import command, make_app
from catsdogs_edge.cli.process import run
from catsdogs_edge.output.terminal import say

_app = make_app()
main = partial(run, _app, extra="edge", quiet=True)


class Action(StrEnum):
    """What is done."""

    INSTALL = "install"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """The options of `catsdogs-model`, each declared once."""

    action: Annotated[Action, typer.Argument(help="install: put NEW in PLACE; rollback: take the one before.")]
    place: Annotated[Path, typer.Argument(help="The model file that catsdogs-cam uses (--model).")]
    new: Annotated[Path | None, typer.Argument(help="With install: the ONNX file to put there.")] = None


@command(
    _app,
    ModelOptions,
    "catsdogs-model install /var/lib/catsdogs/model.onnx better/onnx/model.int8.onnx",
    "catsdogs-model rollback /var/lib/catsdogs/model.onnx",
)
def _model(options: ModelOptions) -> None:
    """Replace the model of a camera that runs, or take the replacement back.

    The new one is opened and tested first; the one before is kept beside it. catsdogs-cam notices, tests it, too, and
    goes on with it, without a restart.
    """
    if (options.action is Action.INSTALL) != (options.new is not None):
        raise typer.BadParameter("install takes PLACE and NEW, rollback takes PLACE alone")
    if not options.place.name:
        raise typer.BadParameter(f"{options.place} is a folder, expected the place of a model file")
    from catsdogs_edge.model.replace import install, previous_of, roll_back  # noqa: PLC0415

    if options.new is not None:
        kept = install(options.new, options.place)
        say(f"{options.place} is {options.new} now" + (f"; the one before is kept as {kept}" if kept else ""))
    else:
        roll_back(options.place)
        kept = previous_of(options.place)
        say(f"{options.place} is the one before now" + (f"; the other is kept as {kept}" if kept.is_file() else ""))

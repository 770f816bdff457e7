"""The command `catsdogs`: all the others under one name, which there are, and the versions of what they run on."""

import difflib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NoReturn

import typer
import typer.core
import typer.main

from catsdogs_edge.cli.app import HELP, VersionOption, make_app
from catsdogs_edge.cli.process import run


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A command: `catsdogs NAME`, and `catsdogs-NAME`."""

    about: str
    module: str
    app: str = "_app"
    """Its Typer application in that module."""
    main: str = "main"
    """Its entry point there."""
    extra: str
    """What brings all that it needs."""

    def load(self) -> typer.Typer:
        """Imports its module, and returns its Typer application."""
        app: typer.Typer = getattr(import_module(self.module), self.app)
        return app


COMMANDS: Mapping[str, Entry] = {
    "classify": Entry(
        about="images and folders of images: cat, dog or neither", module="catsdogs_edge.cli.classify", extra="edge"
    ),
    "cam": Entry(about="the same for cameras, streams and videos", module="catsdogs_edge.cli.cam", extra="edge"),
    "serve": Entry(
        about="a page and an HTTP API that classify what they are sent", module="catsdogs_edge.cli.serve", extra="web"
    ),
    "review": Entry(
        about="a page to label what catsdogs cam --collect kept", module="catsdogs_edge.cli.review", extra="web"
    ),
    "model": Entry(
        about="replace the model of a camera that runs, or take it back",
        module="catsdogs_edge.cli.model",
        extra="edge",
    ),
    "bench": Entry(
        about="latency of each step, threads, folders and memory on this machine",
        module="catsdogs_edge.cli.bench",
        extra="edge",
    ),
    "doctor": Entry(
        about="what this machine offers, and a model's own test on it", module="catsdogs_edge.cli.doctor", extra="edge"
    ),
    "train": Entry(about="a network of your own from images", module="catsdogs_train.cli", extra="train"),
    "export": Entry(
        about="ONNX and INT8 from it, each compared with what it was made from",
        module="catsdogs_export.cli",
        app="_export_app",
        extra="export",
    ),
    "eval": Entry(
        about="accuracy, calibration and speed of a model on labelled images",
        module="catsdogs_export.cli",
        app="_eval_app",
        main="eval_main",
        extra="export",
    ),
}
_NEEDED = {
    "edge": ("cv2", "onnxruntime"),
    "web": ("cv2", "onnxruntime", "starlette", "uvicorn"),
    "train": ("cv2", "keras"),
    "export": ("cv2", "tensorflow", "onnx", "tf2onnx"),
}


class _Commands(typer.core.TyperGroup):
    """Imports a command when it is named: TensorFlow's are not here on a device."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Returns their names."""
        return list(COMMANDS)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> typer.core.TyperCommand | None:  # type: ignore[override]
        """Returns one of them; None for what is none."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            if cmd_name == "help":
                raise typer.BadParameter("there is no command 'help': each has a --help, such as catsdogs cam --help")
            near = difflib.get_close_matches(cmd_name, COMMANDS, 1)
            hint = f"did you mean '{near[0]}'?" if near else "images are classified with: catsdogs classify IMAGES"
            raise typer.BadParameter(f"there is no command '{cmd_name}': {hint}")
        found = typer.main.get_command(entry.load())
        assert isinstance(found, typer.core.TyperCommand)  # noqa: S101 - for mypy
        return found

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # Typer has a click of its own
        """Writes them into the help page."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.about) for name, entry in COMMANDS.items()])


_app = make_app()


def main() -> NoReturn:
    """Entry point of `catsdogs`: `catsdogs NAME ...` is `catsdogs-NAME ...`."""
    program, *arguments = sys.argv
    entry = COMMANDS.get(arguments[0]) if arguments else None
    completes = "_CATSDOGS_COMPLETE" in os.environ or {"--install-completion", "--show-completion"} & set(arguments)
    if entry is None or completes:  # completion is that of `catsdogs`, whatever comes after it
        run(_app, extra="edge", quiet=True)
    sys.argv = [f"{program.removesuffix('.exe')} {arguments[0]}", *arguments[1:]]
    getattr(import_module(entry.module), entry.main)()
    raise AssertionError("an entry point ends the process")


@_app.callback(cls=_Commands, invoke_without_command=True, context_settings={"help_option_names": HELP})
def _catsdogs(ctx: typer.Context, *, version: VersionOption = False) -> None:
    """Tell cats, dogs and neither apart: train, export to ONNX, run on a small box.

    Without a command: which there are, and whether what they need is installed. Each has a --help of its own, with
    examples, and is there as catsdogs-NAME, too.
    """
    if ctx.invoked_subcommand is None:
        typer.echo(describe_commands())


def describe_commands() -> str:
    """Returns a line for each command."""
    lines = []
    for name, entry in COMMANDS.items():
        here = all(find_spec(module) for module in _NEEDED[entry.extra])
        lines.append(
            f"catsdogs {name:<9} {entry.about}" + ("" if here else f" (needs pip install 'catsdogs[{entry.extra}]')")
        )
    return "\n".join([*lines, "", "Each says more with --help; start with: catsdogs classify IMAGES"])

"""The command `catsdogs`: which commands there are, and the versions of what they run on."""

import platform
from functools import partial
from importlib.util import find_spec
from typing import Annotated

import typer

from catsdogs_edge.cli.app import make_app, run
from catsdogs_edge.runtime.wheels import versions

# What each command does, and the extra that brings what it needs
_COMMANDS = {
    "catsdogs-classify": ("edge", "images and folders of images: cat, dog or neither"),
    "catsdogs-cam": ("edge", "the same for cameras, streams and videos"),
    "catsdogs-serve": ("web", "a page and an HTTP API that classify what they are sent"),
    "catsdogs-bench": ("edge", "latency of each step, threads, folders and memory on this machine"),
    "catsdogs-doctor": ("edge", "what this machine offers, and a model's own test on it"),
    "catsdogs-train": ("train", "a network of your own from images"),
    "catsdogs-export": ("export", "ONNX and INT8 from it, each compared with what it was made from"),
    "catsdogs-eval": ("export", "accuracy, calibration and speed of a model on labelled images"),
}
_NEEDED = {
    "edge": ("cv2", "onnxruntime"),
    "web": ("starlette", "uvicorn"),
    "train": ("keras",),
    "export": ("tensorflow", "onnx", "tf2onnx"),
}

_app = make_app()
main = partial(run, _app, extra="edge", quiet=True)


@_app.command()
def _catsdogs(
    version: Annotated[bool, typer.Option("--version", help="Show the version, and those of what it runs on.")] = False,
) -> None:
    """Say which commands there are, and whether what they need is installed.

    Each has a --help of its own, with examples.
    """
    typer.echo(describe_versions() if version else describe_commands())


def describe_commands() -> str:
    """Returns a line for each command."""
    lines = []
    for name, (extra, what) in _COMMANDS.items():
        here = all(find_spec(module) for module in _NEEDED[extra])
        lines.append(f"{name:<18} {what}" + ("" if here else f" (needs pip install 'catsdogs[{extra}]')"))
    return "\n".join([*lines, "", "Each says more with --help; start with: catsdogs-classify IMAGES"])


def describe_versions() -> str:
    """Returns a line for each wheel that makes a difference, and one for Python."""
    lines = [f"{name} {number}" for name, number in versions().items()]
    return "\n".join([*lines, f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"])

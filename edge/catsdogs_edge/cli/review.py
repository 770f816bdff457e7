"""The command `catsdogs-review`; OpenCV, ONNX Runtime and Starlette are imported inside the call."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from catsdogs_edge.cli.app import command, make_app
from catsdogs_edge.cli.process import run
from catsdogs_edge.cli.serve import read_access, serve_until_stopped
from catsdogs_edge.model.bundled import MODEL
from catsdogs_edge.options import ListenAt, ModelFile, WebOptions
from catsdogs_edge.output.terminal import say

_ADDRESS = "127.0.0.1:8766"  # beside the page of a camera
_app = make_app()
main = partial(run, _app, extra="web", quiet=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewOptions(WebOptions):
    """The options of `catsdogs-review`, each declared once."""

    folder: Annotated[Path, typer.Argument(help="Folder that catsdogs-cam --collect filled.")]
    address: ListenAt = _ADDRESS
    out: Annotated[
        Path | None, typer.Option(help="Folder for what is labelled: classes/ and other/; else FOLDER/labelled.")
    ] = None
    model: ModelFile = MODEL


@command(
    _app,
    ReviewOptions,
    "catsdogs-review collected/",
    "catsdogs-review collected/ --model run/onnx/model.int8.onnx --out labelled/",
    "catsdogs-review collected/ 0.0.0.0:8765 --token-file token --allow-host box.local",
)
def _review(options: ReviewOptions) -> None:
    """Serve a page to label collected images with one key each; nothing moves before it is confirmed.

    Labelled images lie in class folders that catsdogs-train takes as they are, those of neither in other/.
    """
    access = read_access(options.address, options)
    from catsdogs_edge.model.classifier import Classifier  # noqa: PLC0415 - first: deeper, NumPy takes 60 ms more

    # isort: split
    from catsdogs_edge.collection.review import Review  # noqa: PLC0415
    from catsdogs_edge.web.app import make_context  # noqa: PLC0415
    from catsdogs_edge.web.server import WebServer  # noqa: PLC0415

    classifier = Classifier.load(options.model, spinning=False)
    review = Review(options.folder, classifier.contract.classes, options.out or options.folder / "labelled")
    try:
        server = WebServer(make_context(classifier, options.model, access, None, review))
        say(f"The page to label them: {server.where}; Ctrl-C ends", err=True)
        serve_until_stopped(server)
    finally:
        review.close()

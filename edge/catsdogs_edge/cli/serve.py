"""The command `catsdogs-serve`; OpenCV, ONNX Runtime and Starlette are imported inside the call."""

import os
import threading
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from catsdogs_edge.cli.app import as_wrong_usage, command, make_app
from catsdogs_edge.cli.process import run
from catsdogs_edge.errors import OutputError
from catsdogs_edge.options import WebOptions
from catsdogs_edge.output.terminal import say
from catsdogs_edge.web.options import Access, ServeOptions

if TYPE_CHECKING:
    from catsdogs_edge.web.server import WebServer

_app = make_app()
main = partial(run, _app, extra="web", quiet=True)

_LOOK = 1.0  # seconds between two looks at whether the server still runs


@command(
    _app,
    ServeOptions,
    "catsdogs-serve",
    "catsdogs-serve 127.0.0.1:9000 --model run/onnx/model.int8.onnx",
    "catsdogs-serve 0.0.0.0:8765 --token-file token --allow-host box.local",
    "curl --data-binary @image.jpg http://127.0.0.1:8765/api/v1/classify",
    is_configurable=True,
)
def _serve(options: ServeOptions) -> None:
    """Serve a page and an HTTP API that classify the images that they are sent.

    Only this machine reaches it, unless another address is given, with a token.
    """
    access = read_access(options.address, options)
    from catsdogs_edge.model.classifier import Classifier  # noqa: PLC0415 - first: deeper, NumPy takes 60 ms more

    # isort: split
    from catsdogs_edge.web.app import make_context  # noqa: PLC0415
    from catsdogs_edge.web.server import WebServer  # noqa: PLC0415

    classifier = Classifier.load(
        options.model, options.provider, threads=options.threads, spinning=False, accept_all=options.accept_all
    )
    context = make_context(classifier, options.model, access, None)
    server = WebServer(context)
    say(f"{context.info.describe()}; {server.where}", err=True)
    serve_until_stopped(server)


def read_access(address: str, options: WebOptions) -> Access:
    """Returns who may ask the server, and where; ends the command where that is not what the options say."""
    with as_wrong_usage():
        return Access.from_options(address, options, dict(os.environ))


def serve_until_stopped(server: "WebServer") -> NoReturn:
    """Waits for Ctrl-C or another signal, and closes the server; raises `OutputError` where it ends by itself."""
    try:
        ended = threading.Event()
        while server.is_running:
            ended.wait(_LOOK)
    finally:
        server.close()
    raise OutputError("the web server has ended: see the log")

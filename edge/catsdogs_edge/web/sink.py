"""Shows what a camera sees to browsers and programs: one sink more of `catsdogs-cam`."""

from catsdogs_edge.errors import OutputError
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.info import ModelInfo
from catsdogs_edge.stream.explain import Explainer
from catsdogs_edge.stream.frame_result import FrameResult, Sink
from catsdogs_edge.stream.model_file import ReplaceableModel, current
from catsdogs_edge.web.app import make_context
from catsdogs_edge.web.camera.history import History
from catsdogs_edge.web.camera.hub import Hub
from catsdogs_edge.web.endpoint import WatchedSource
from catsdogs_edge.web.options import Access
from catsdogs_edge.web.server import WebServer


class WebSink(Sink):
    """Serves the results that are written to it.

    Attributes:
        url: Where a browser on this machine finds the page.
        where: The same for people, as the server's.
    """

    def __init__(self, model: Classifier | ReplaceableModel, info: ModelInfo, source: str, access: Access) -> None:
        """Starts the server; raises what `WebServer` raises. `source` is its name, without credentials."""
        self._hub, self._history = Hub(info.provider, Explainer(model)), History()
        classifier, _ = current(model)
        camera = WatchedSource(name=source, hub=self._hub, history=self._history)
        context = make_context(classifier, info.path, access, camera)
        self._telemetry = context.telemetry
        self._server = WebServer(context)
        self.url, self.where = self._server.url, self._server.where

    def write(self, result: FrameResult) -> bool:
        """Takes a result; never asks to stop. Raises `OutputError` where the server has ended."""
        self._telemetry.add(result)
        if event := self._history.add(result):
            self._telemetry.add_event(event)
        self._hub.publish(result)
        if not self._server.is_running:
            raise OutputError("the web server has ended: see the log")
        return True

    def close(self) -> None:
        """Ends the server within a second or so."""
        self._server.close()

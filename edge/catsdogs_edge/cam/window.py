"""A window with the frames and what they were taken for."""

import logging
import time
from datetime import datetime
from pathlib import Path

import cv2

from catsdogs_edge.cam.overlay import Annotator
from catsdogs_edge.cam.recorder import save_image
from catsdogs_edge.capture.frames import BgrImage, Frame, to_bgr
from catsdogs_edge.errors import OutputError
from catsdogs_edge.stream.explain import Explainer
from catsdogs_edge.stream.frame_result import FrameResult

_log = logging.getLogger(__name__)

_TITLE = "catsdogs"
_STOP = {ord("q"), 27}
_NEXT = {ord(" "), ord("n"), 13, 10, 81, 82, 83, 84}  # space, Return, and the arrows as OpenCV's GTK and Qt number them
_LOOK = 50  # milliseconds between two looks at the keys, while an image stays


class Window:
    """Shows each frame of a source with the answer drawn on it, not more than `fps` a second (0: as they come).

    Keys: q or Escape stops, as closing the window does; space pauses; s saves the frame as it came, without
    what is drawn on it, in `snapshots` or the current folder; m mirrors; w shows where in the frame the answer comes
    from. An image file stays until space, Return or an arrow is pressed. Ask `why_no_window` before.
    """

    def __init__(
        self,
        annotator: Annotator,
        explainer: Explainer,
        *,
        fps: float = 0.0,
        snapshots: Path | None = None,
        title: str = _TITLE,
    ) -> None:
        # Qt without a toolbar; the user may resize it.
        self._title = title
        cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        self._annotator = annotator
        self._own = Annotator(annotator.provider)  # others must not draw on what is shown here alone
        self._explainer = explainer
        self._explained: tuple[FrameResult, FrameResult] | None = None
        self._explains = False
        self._interval = 1 / fps if fps else 0.0
        self._snapshots = snapshots or Path()
        self._sized = False
        self._mirrored = False
        self._due = 0.0

    def write(self, result: FrameResult) -> bool:
        """Shows a result; returns False when a key or the closed window says stop."""
        key = self._show(result)
        if result.frame.path:
            while self._open() and key not in _STOP | _NEXT:
                key = self._show(result)
        elif key == ord(" "):
            key = self._pause(result)
        return self._open() and key not in _STOP

    def _show(self, result: FrameResult) -> int:
        """Shows a result until the next is due; returns the key that was pressed, -1 for none."""
        image = self._draw(result)
        if not self._sized and result.frame.rgb is not None:
            cv2.resizeWindow(self._title, image.shape[1], image.shape[0])
            self._sized = True
        cv2.imshow(self._title, image)
        now = time.monotonic()
        key = cv2.waitKey(_LOOK if result.frame.path else max(1, round(1000 * min(self._due - now, 1.0))))
        self._due = max(self._due, now) + self._interval
        return self._handle(key, result.frame)

    def _draw(self, result: FrameResult, note: str = "") -> BgrImage:
        if not self._explains:
            self._explained = None
            return self._annotator.annotate(result, mirrored=self._mirrored, note=note)
        if self._explained is None or self._explained[0] is not result:
            self._explained = result, self._explainer.explain(result)
        return self._own.annotate(self._explained[1], mirrored=self._mirrored, note=note or "WHY")

    def _pause(self, result: FrameResult) -> int:
        """Shows the same until space is pressed again, or stop."""
        while self._open():
            cv2.imshow(self._title, self._draw(result, "PAUSED"))
            key = self._handle(cv2.waitKey(50), result.frame)
            if key == ord(" ") or key in _STOP:
                return key
        return -1

    def _handle(self, key: int, frame: Frame) -> int:
        if key == ord("m"):
            self._mirrored = not self._mirrored
        elif key == ord("w") and self._explainer.can_explain:
            self._explains = not self._explains
        elif key == ord("s") and frame.rgb is not None:
            name = f"catsdogs-{datetime.now().astimezone():%Y%m%d-%H%M%S}-{frame.number}.png"
            try:
                save_image(to_bgr(frame.rgb), self._snapshots / name)
            except OutputError as error:  # a recording beside it goes on
                _log.warning("The frame is not saved: %s", error)
        return key

    def _open(self) -> bool:
        return cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1

    def close(self) -> None:
        """Closes the window."""
        cv2.destroyAllWindows()

"""Hands the newest result of a camera to all who wait for it, and encodes each image once for all of them.

The camera's thread publishes; it never waits for a viewer. The server's thread delivers: a viewer that is slow gets
fewer frames, and each that it gets is the newest.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial

from catsdogs_edge.cam.overlay import Annotator
from catsdogs_edge.capture.frames import Frame, State
from catsdogs_edge.images.jpeg import LONGEST_EDGE, encode_jpeg
from catsdogs_edge.stream.explain import Explainer
from catsdogs_edge.stream.frame_result import FrameResult
from catsdogs_edge.stream.pace import Pace

MOST_VIEWERS = 32
"""Requests that wait for frames at a time; one more is refused."""

SILENCE = 5.0
"""Seconds without any word of the camera's thread until what it said last is no news: its driver, or a pipe, hangs. Of
a camera that is slower, three times the usual interval."""

LONGEST_SHOWN = 1920
"""Pixels of the longer edge of live frames and of events: larger ones would come too late over a slow line."""

_KEPT = 6  # encoded images: plain, drawn and explained, of this frame and the one before


@dataclass(frozen=True, slots=True)
class Newest:
    """A result, and the last frame that has an image: its own, or an earlier one."""

    sequence: int
    """Counted from 1."""
    result: FrameResult
    imaged: Frame | None
    """None before the first image."""


class Hub:
    """Where the camera's thread and the server's thread meet.

    Attributes:
        encodes: Images that were encoded for viewers.
        viewers: Requests that wait for frames now.
        closing: Whether the server ends: streams end then, too.
    """

    def __init__(self, provider: str, explainer: Explainer | None = None) -> None:
        """`explainer` draws where answers come from, for viewers who ask for it."""
        self.encodes = self.viewers = 0
        self.closing = False
        self._newest: Newest | None = None
        self._published = 0.0
        self._pace = Pace(SILENCE)
        self._waiting = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self._annotator = Annotator(provider)
        self._explainer = explainer
        self._encoded: OrderedDict[tuple[int, bool, bool, bool], asyncio.Future[bytes]] = OrderedDict()
        self._pool = ThreadPoolExecutor(1, "catsdogs-encode")

    @property
    def newest(self) -> Newest | None:
        """The newest result; None before the first."""
        return self._newest

    def state(self) -> tuple[State, str]:
        """Returns how the source is doing now, and why if it is not live."""
        newest = self._newest
        if newest is None:
            return State.STALE, "there is no frame yet"
        frame = newest.result.frame
        silent = time.monotonic() - self._published
        if frame.state is State.LIVE and silent > self._pace.patience:
            return State.STALE, f"no frame for {silent:.0f} s"
        return frame.state, frame.error

    def current(self) -> Newest | None:
        """Returns what is to be shown now: the newest result or, where the camera's thread hangs, that it does."""
        newest = self._newest
        state, reason = self.state()
        if newest is None or state is newest.result.frame.state:
            return newest
        frame = replace(newest.result.frame, rgb=None, state=state, error=reason)
        return replace(newest, sequence=-newest.sequence, result=FrameResult(frame=frame, fps=0.0))

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Remembers the server's loop, in which viewers wait."""
        self._loop = loop

    def publish(self, result: FrameResult) -> None:
        """Takes a result from the camera's thread; wakes who waits, and does nothing else."""
        before = self._newest
        frame = result.frame
        imaged = frame if frame.rgb is not None else before.imaged if before else None
        self._published = time.monotonic()
        self._pace.follows(self._published)
        self._newest = Newest(before.sequence + 1 if before else 1, result, imaged)
        if self._waiting:
            self._wake_from_outside()

    async def next(self, after: int, seconds: float) -> Newest | None:
        """Waits for another result than number `after`; None where none came in time, or all ends.

        Another one, not a higher one: where the server has been started again, numbers have, too.
        """
        changed = self._changed
        self._waiting += 1
        try:
            async with asyncio.timeout(seconds):
                while not self.closing and (self._newest is None or self._newest.sequence == after):
                    await changed.wait()
                    changed = self._changed
        except TimeoutError:
            return None
        finally:
            self._waiting -= 1
        return None if self.closing else self._newest

    def enter(self) -> None:
        """Counts a viewer, until it leaves; raises `TooManyViewersError` where there are enough."""
        if self.viewers >= MOST_VIEWERS:
            raise TooManyViewersError
        self.viewers += 1

    def leave(self) -> None:
        """Counts a viewer no more."""
        self.viewers -= 1

    @contextmanager
    def viewer(self) -> Iterator[None]:
        """Counts a viewer as long as the block lasts; see `enter`."""
        self.enter()
        try:
            yield
        finally:
            self.leave()

    async def jpeg(self, newest: Newest, *, drawn: bool, why: bool = False, whole: bool = False) -> bytes:
        """Returns a result as JPEG, encoded once for all who ask.

        `drawn`: with the answer on it; `why`: with what speaks for the answer in colour; `whole`: in its full size.
        """
        rgb = newest.imaged.rgb if newest.imaged else None
        is_large = rgb is not None and max(rgb.shape) > LONGEST_SHOWN
        key = newest.sequence, drawn, why, whole and is_large
        if key not in self._encoded:
            work = partial(self._encode, newest, drawn=drawn, why=why, whole=whole)
            self._encoded[key] = asyncio.get_running_loop().run_in_executor(self._pool, work)
            self.encodes += 1
            while len(self._encoded) > _KEPT:
                self._encoded.popitem(last=False)
        return await asyncio.shield(self._encoded[key])  # others may wait for it, too

    def close(self) -> None:
        """Ends all waiting, from another thread."""
        self.closing = True
        self._wake_from_outside()

    def release(self) -> None:
        """Ends the encoder, once the server has ended."""
        self._pool.shutdown(cancel_futures=True)

    def _wake_from_outside(self) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the server has ended, and its loop is closed
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _encode(self, newest: Newest, *, drawn: bool, why: bool, whole: bool) -> bytes:
        longest = LONGEST_EDGE if whole else LONGEST_SHOWN
        if why and self._explainer is not None and newest.result.frame.rgb is not None:
            result = self._explainer.explain(newest.result)
            newest = replace(newest, result=result, imaged=result.frame)
        if not drawn:
            assert newest.imaged is not None and newest.imaged.rgb is not None  # noqa: S101, PT018 - for mypy
            return encode_jpeg(newest.imaged.rgb, longest=longest)
        if newest.result.frame.rgb is None and newest.imaged is not None:
            self._annotator.see(newest.imaged)  # nobody may have asked for that one
        return encode_jpeg(self._annotator.annotate(newest.result), order="BGR", longest=longest)


class TooManyViewersError(Exception):
    """As many wait for frames as may."""

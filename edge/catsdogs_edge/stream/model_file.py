"""A model file that may be replaced while a camera uses it."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from catsdogs_edge.errors import ModelError, ProviderError
from catsdogs_edge.model import selftest
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.output.files import sha256

_log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 2.0
"""Seconds between two looks at the file; one that is as it was at the look before is whole."""

_Signature: TypeAlias = tuple[int, int, int, int]


class ReplaceableModel:
    """Looks whether another model lies in the place of the one that is in use, and takes it if it is as good a file.

    Attributes:
        current: The model to ask now.
        sha256: SHA-256 of its file, in hexadecimal; empty for the one of the start.
    """

    def __init__(self, path: Path, load: Callable[[Path], Classifier]) -> None:
        """Opens the model that is there; `load` opens it, and what comes in its place. Raises what `load` raises."""
        self._path, self._load = path, load
        self._known = self._seen = _signature(path)  # first: what comes after that is another one
        self.current = load(path)
        self.sha256 = ""
        self._refused: tuple[_Signature, str] | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="catsdogs-model", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.wait(SECONDS_BETWEEN_LOOKS):
            self.look()

    def look(self) -> None:
        """Takes the file that is there, where it is another one than before and is not written to any more."""
        seen, before = _signature(self._path), self._seen
        self._seen = seen
        if seen is None or seen == self._known or seen != before:
            return
        self._known = seen
        try:
            found = self._load(self._path)
            if found.metadata == self.current.metadata:  # its own hash is in there
                return
            digest = sha256(self._path)
            selftest.require(found, self._path)
            if found.contract.classes != self.current.contract.classes:
                names = ", ".join(found.contract.classes)
                raise ModelError(f"{self._path} knows other classes ({names}): start again with it")
        except (ModelError, ProviderError) as error:
            if isinstance(error.__cause__, OSError):  # it could not be read: it is tried again
                self._known = None
            if self._refused != (seen, str(error)):
                _log.warning("The model stays as it was: %s", error)
            self._refused = seen, str(error)
            return
        except OSError as error:  # such as a disk that is away: it is tried again
            _log.debug("%s cannot be read: %s", self._path, error)
            self._known = None
            return
        except Exception:  # noqa: BLE001 - it must go on looking
            _log.exception("The model stays as it was: this is a bug")
            return
        self.sha256, self.current = digest, found
        _log.info("Another model is in use from now on: %s (%s).", self._path, digest[:12])

    def close(self) -> None:
        """Looks no more."""
        self._ended.set()
        self._thread.join()


def _signature(path: Path) -> _Signature | None:
    try:
        status = path.stat()
    except OSError:  # between two renames, or on a disk that is away
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns  # the last: who may read it now


def current(model: Classifier | ReplaceableModel) -> tuple[Classifier, str]:
    """Returns the model to ask now, and the SHA-256 of its file, where it has been replaced since the start."""
    return (model.current, model.sha256) if isinstance(model, ReplaceableModel) else (model, "")

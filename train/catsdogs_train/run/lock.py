"""Keeps other trainings out of a run folder."""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from catsdogs_edge.errors import OutputError
from catsdogs_train.data.cache import cache_folder

_log = logging.getLogger(__name__)


@contextmanager
def lock_run_folder(run: Path) -> Iterator[None]:
    """Keeps this user's other trainings on this machine out of a run folder; raises `OutputError` if one is there.

    The lock is not in that folder, which need not exist, and so is never in the way there.
    """
    name = hashlib.sha256(str(run.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    lock = FileLock(cache_folder() / "locks" / name)
    try:
        cache_folder().joinpath("locks").mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise OutputError(f"another process trains in {run}: wait for it, or choose another --out") from error
    except OSError as error:
        _log.info("no lock for %s (%s): do not start another training there", run, error.strerror)
    try:
        yield
    finally:
        lock.release()

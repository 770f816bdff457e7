"""Reads what an earlier training left behind: one to learn from, or one that is done."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from catsdogs_edge.errors import DataError
from catsdogs_edge.output.json_text import from_json
from catsdogs_train.data.split import Split
from catsdogs_train.run.checkpoint import check_same
from catsdogs_train.run.history import Epoch
from catsdogs_train.run.run_folder import RUN_VERSION
from catsdogs_train.run.tables import read_split


class EarlierRun(msgspec.Struct, frozen=True):
    """A run that another one learns from."""

    version: int
    classes: tuple[str, ...]
    image_size: int
    done: bool = True
    """Whether it has come to its end; runs of before do not say so."""
    settings: dict[str, Any] = {}
    other_folders: tuple[str, ...] = ()
    """Where its images of neither are; empty in runs of before 0.2.0."""
    folder: Path = Path()

    @property
    def model(self) -> Path:
        """Its network."""
        return self.folder / "model.keras"

    @property
    def outlier_folders(self) -> list[Path]:
        """The folders with its images of neither."""
        one = self.settings.get("other")
        return [Path(name) for name in self.other_folders or ([one] if one else [])]

    def read_split(self) -> Split:
        """Reads its images; raises `DataError` where that cannot be."""
        return read_split(self.folder, self.classes)

    def check_classes(self, classes: Sequence[str]) -> None:
        """Checks that it can teach these; raises `DataError`."""
        if self.classes != tuple(classes):
            ours, theirs = ", ".join(classes), ", ".join(self.classes)
            raise DataError(f"--teacher {self.folder} has the classes {theirs}, DATA has {ours}, expected the same")


def read_earlier(folder: Path, option: str) -> EarlierRun:
    """Reads what a run is that an option names; raises `DataError` for a folder that is none, or not done."""
    try:
        run = structs.replace(from_json((folder / "run.json").read_bytes(), EarlierRun), folder=folder)
        run.model.open("rb").close()
    except (OSError, ValueError) as error:
        reason = (
            f"{Path(error.filename).name}: {error.strerror}" if isinstance(error, OSError) else f"run.json: {error}"
        )
        raise DataError(f"{option} {folder} is not a run folder of catsdogs-train ({reason})") from error
    if run.version > RUN_VERSION:
        raise DataError(f"{option} {folder} was written by a newer catsdogs: upgrade, or train again")
    if not run.done or (folder / "checkpoint" / "settings.json").exists():
        raise DataError(f"{option} {folder} is not done: finish it with --resume")
    return run


def has_ended(folder: Path) -> bool:
    """Returns whether a run folder without a checkpoint holds a training that has come to its end.

    Damaged files count as an end: nothing may be written over them.
    """
    try:
        return (folder / "model.keras").exists() and _read_run_json(folder).done
    except DataError:
        return True


def read_best(folder: Path, fingerprint: Mapping[str, Any]) -> Epoch:
    """Reads the figures of the best epoch of a run that is done; raises `DataError` if it is another training."""
    run = _read_run_json(folder)
    check_same(run.fingerprint, fingerprint, folder)
    return run.best_epoch


def read_fingerprint(folder: Path) -> dict[str, Any]:
    """Reads what decides how the training in a run folder ends, whether it has ended or not; raises `DataError`."""
    return _read_run_json(folder).fingerprint


def _read_run_json(folder: Path) -> "_RunJson":
    path = folder / "run.json"
    try:
        return from_json(path.read_bytes(), _RunJson)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error!r}): choose another --out") from error


class _RunJson(msgspec.Struct):
    """What is read of `run.json`."""

    fingerprint: dict[str, Any]
    best_epoch: Epoch
    done: bool = True

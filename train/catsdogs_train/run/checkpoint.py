"""Keeps what a training needs to go on after `kill -9`, in one folder that is removed when it is done."""

import contextlib
import hashlib
import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import structs

from catsdogs_edge.errors import DataError, OutputError
from catsdogs_edge.output.files import atomic_file, make_folder, write_errors
from catsdogs_edge.output.json_text import from_json, to_json
from catsdogs_train.run.history import Epoch, TrainingState

_ARRAYS = ("weights", "optimizer", "best_weights")


class _Known(msgspec.Struct):
    """What of a state is no array."""

    history: list[Epoch]
    best: int
    over: bool
    features_seconds: float
    counts: dict[str, int]


class Checkpoint:
    """The folder `checkpoint` in a run folder, which need not exist."""

    def __init__(self, run: Path) -> None:
        self.folder = run / "checkpoint"
        self._fingerprint = self.folder / "settings.json"
        self._state = self.folder / "state.npz"
        self._student = self.folder / "student.keras", self.folder / "student.npz"
        self._way_out = f"remove {self.folder}, and train anew (--resume)"

    @property
    def exists(self) -> bool:
        """Whether there is something to go on with."""
        return self._fingerprint.exists() and bool(self._state.exists() or self.has_student or self._arrays())

    @property
    def has_student(self) -> bool:
        """Whether there is what a student started as."""
        return all(path.exists() for path in self._student)

    def begin(self, fingerprint: Mapping[str, Any]) -> None:
        """Starts, or checks that what goes on is the same training; raises `DataError` where it is another one."""
        _sweep(self.folder.parent)
        _sweep(self.folder)
        if not self.exists:
            make_folder(self.folder)
            with atomic_file(self._fingerprint) as path:
                path.write_text(json.dumps(fingerprint, indent=2) + "\n", encoding="utf-8")
            return
        check_same(self._read_fingerprint(), fingerprint, self.folder.parent)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What decides how the training ends, as it was begun; empty where there is none."""
        return self._read_fingerprint() if self.exists else {}

    def _read_fingerprint(self) -> dict[str, Any]:
        try:
            return from_json(self._fingerprint.read_bytes(), dict[str, Any])
        except (OSError, ValueError) as error:
            raise DataError(f"{self._fingerprint} is damaged: {self._way_out}") from error

    def load(self) -> TrainingState:
        """Reads how far it has come; a fresh state if no epoch is done. Raises `DataError` for a damaged file."""
        if not self._state.exists():
            return TrainingState()
        try:
            with np.load(self._state, allow_pickle=False) as file:
                known = structs.asdict(from_json(str(file["known"]), _Known))
                counts = known.pop("counts")
                known |= {name: [file[f"{name}/{index}"] for index in range(counts[name])] for name in _ARRAYS}
                return TrainingState(**known, best_logits=file["best_logits"])
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise DataError(f"{self._state} is damaged: {self._way_out}") from error

    def save(self, state: TrainingState) -> None:
        """Writes how far it has come, whole or not at all; raises `OutputError` where it cannot."""
        arrays = {f"{name}/{index}": array for name in _ARRAYS for index, array in enumerate(getattr(state, name))}
        counts = {name: len(getattr(state, name)) for name in _ARRAYS}
        known = _Known(state.history, state.best, state.over, state.features_seconds, counts)
        with atomic_file(self._state) as path, path.open("wb") as stream:
            np.savez(stream, known=np.array(to_json(known)), best_logits=state.best_logits, **arrays)

    def describe(self) -> bytes:
        """Describes how far it has come, so that hosts can compare what they see."""
        files = [self._fingerprint, self._state]
        known = [hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else "" for file in files]
        features = sorted((file.name, file.stat().st_size) for file in self.folder.glob("features-*.npy"))
        return json.dumps([known, features]).encode()

    def features_file(self, name: str) -> Path:
        """Returns the path of the file for some features."""
        return self.folder / f"features-{name}.npy"

    def images_file(self, name: str) -> Path:
        """Returns the path of the file for decoded images."""
        return self.folder / f"images-{name}.npy"

    def remove(self) -> None:
        """Removes its files, the one that `exists` asks for first, and the folder if it is empty then."""
        with write_errors(self.folder):
            for path in (self._fingerprint, self._state, *self._student, *self._arrays()):
                path.unlink(missing_ok=True)
            _sweep(self.folder)
            with contextlib.suppress(OSError):  # not there, or it holds something that is not ours
                self.folder.rmdir()
        _sweep(self.folder.parent)

    def _arrays(self) -> list[Path]:
        return [*self.folder.glob("features-*.npy"), *self.folder.glob("images-*.npy")]

    def check_run_folder(self) -> None:
        """Refuses a run folder that holds something, but no run of ours: raises `OutputError`."""
        run = self.folder.parent
        if not run.exists() or self._fingerprint.exists() or _is_run(run / "run.json"):
            return
        others = sorted(path.name for path in run.iterdir() if not path.name.startswith(".catsdogs-"))
        if others:
            raise OutputError(f"{run} holds other files ({others[0]}): choose a new folder for --out")


def _is_run(file: Path) -> bool:
    """Returns whether this is a `run.json` that we wrote, whatever else of it may be damaged."""
    try:
        return "fingerprint" in from_json(file.read_bytes(), dict[str, Any])
    except (OSError, ValueError):
        return False


def _sweep(folder: Path) -> None:
    """Removes what a process that was killed while it wrote, or removed, left behind."""
    for leftover in folder.glob(".catsdogs-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def check_same(begun: Mapping[str, Any], fingerprint: Mapping[str, Any], run: Path) -> None:
    """Checks that two trainings end the same way, by what decides it; raises `DataError` where they do not."""
    every = {**dict.fromkeys(begun), **fingerprint}
    for name, value in sorted(every.items(), key=lambda item: "version" not in item[0]):  # which explains all others
        if begun.get(name) == value:
            continue
        if name.startswith("images"):  # a hash of them, which tells nobody anything
            raise DataError(
                f"the {name} are not those that the training in {run} was begun with (some were added, removed, "
                "changed or have another label): put them back, or choose another --out"
            )
        raise DataError(
            f"the training in {run} has {name} {begun.get(name)}, now it is {value}: "
            "resume it as it was begun, or choose another --out"
        )

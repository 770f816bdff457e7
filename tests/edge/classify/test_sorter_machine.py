"""Tries to lose an image: whatever happens between any two system calls of a run that sorts, each is still whole.

The machine builds folders with images, links to images, hard links and links to folders, and sorts them with the
command's own code. At one system call of a run something happens: the process is killed, or somebody replaces, removes
or adds a file, or another run sorts the same folders. Each image has content of its own, so what is lost is seen.
"""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from catsdogs_edge.classify.job import run_job
from catsdogs_edge.classify.options import ClassifyOptions
from catsdogs_edge.errors import CatsDogsError
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.info import ModelInfo
from tests.edge.conftest import BLUE, RED, encode, plain

TINY = Path(__file__).parents[1] / "tiny.onnx"
CLASSIFIER = Classifier.load(TINY, threads=1)
INFO = ModelInfo.from_classifier(CLASSIFIER, TINY)
CALLS = (
    "chmod", "fsync", "link", "listxattr", "lstat", "mkdir", "open", "readlink", "remove", "rename", "replace", "rmdir",
    "scandir", "stat", "unlink", "utime",
)  # fmt: skip
SHM = Path("/dev/shm")  # noqa: S108 - a file system of its own on Linux

FOLDERS = ("in", "in/deep", "out/cat", "out/dog", "other/cat")
SOURCES = (*FOLDERS, "in/linked", "other/linked", "shm/cat", "out")
NAMES = ("a.png", "b.png", "a (2).png")
TARGETS = ("out", "link to out", "other", "shm")
EVENTS = ("nothing", "kill", "replace", "replace all", "remove", "remove target", "rename target", "add", "run")


class Killed(BaseException):
    """`kill -9`: nothing of the process runs after it."""


class Sorting(RuleBasedStateMachine):
    """Folders in which sorting runs are disturbed."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(mkdtemp(prefix="catsdogs-test-"))
        self.shm = Path(mkdtemp(prefix="catsdogs-test-", dir=SHM if SHM.is_dir() else None))
        self.kept: set[bytes] = set()
        self.count = 0

    def teardown(self) -> None:
        shutil.rmtree(self.root)
        shutil.rmtree(self.shm)

    @initialize()
    def folders(self) -> None:
        for folder in FOLDERS:
            (self.root / folder).mkdir(parents=True)
        (self.root / "link to out").symlink_to("out")
        (self.root / "shm").symlink_to(self.shm)
        for number, path in enumerate(("in/a.png", "in/deep/a.png", "in/b.png", "out/cat/a.png", "out/dog/b.png")):
            self.upload(self.root / path, "cat" if number % 2 else "dog")

    def content(self, label: str) -> bytes:
        """An image like no other."""
        self.count += 1
        data = encode(plain(RED if label == "cat" else BLUE, 2, 2)) + str(self.count).encode()
        self.kept.add(data)
        return data

    def upload(self, path: Path, label: str) -> None:
        """Puts an image to a place as a good program does; what was there is lost by the user's own will."""
        self.forget(path)
        new = self.root / "upload"
        new.write_bytes(self.content(label))
        with suppress(OSError):
            new.replace(path)
            return
        self.kept.discard(new.read_bytes())

    def forget(self, path: Path) -> None:
        """Notes that somebody else is about to remove a file: what has no other place, or was sorted, may be lost."""
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            if "in" not in path.parts or sum(file.read_bytes() == data for file in self.files()) < 2:
                self.kept.discard(data)

    def files(self) -> Iterator[Path]:
        for root in (self.root, self.shm):
            yield from (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())

    @rule(folder=st.sampled_from(FOLDERS), name=st.sampled_from(NAMES), label=st.sampled_from(["cat", "dog"]))
    def add_image(self, folder: str, name: str, label: str) -> None:
        if not (self.root / folder / name).exists():
            self.upload(self.root / folder / name, label)

    @rule(
        folder=st.sampled_from(FOLDERS), name=st.sampled_from(NAMES), number=st.integers(0, 9), symbolic=st.booleans()
    )
    def add_link(self, folder: str, name: str, number: int, symbolic: bool) -> None:
        files = sorted(path for path in self.files() if path.suffix == ".png" and self.root in path.parents)
        path = self.root / folder / name
        if files and not os.path.lexists(path):
            if symbolic:
                path.symlink_to(files[number % len(files)])
            else:
                os.link(files[number % len(files)], path)

    @rule(folder=st.sampled_from(["in/linked", "other/linked"]), to=st.sampled_from(FOLDERS))
    def add_link_to_a_folder(self, folder: str, to: str) -> None:
        if not os.path.lexists(self.root / folder):
            (self.root / folder).symlink_to(self.root / to)

    @rule(
        sources=st.lists(st.sampled_from(SOURCES), min_size=1, max_size=3),
        to=st.sampled_from(TARGETS),
        move=st.sampled_from([True, True, False]),
        rows=st.sampled_from(["", "rows.csv", "rows.jsonl"]),
        links=st.sampled_from([True, True, False]),
        resume=st.booleans(),
        event=st.sampled_from(EVENTS),
        call=st.sampled_from(CALLS),
        moment=st.integers(1, 8),
        number=st.integers(0, 9),
    )  # fmt: skip
    def sort(
        self, sources: list[str], to: str, move: bool, rows: str, links: bool, resume: bool, event: str, call: str,
        moment: int, number: int,
    ) -> None:  # fmt: skip
        def run() -> None:
            patterns = [str(self.root / source / "*.png") for source in sources]
            path, target = self.root / rows, self.root / to
            options = ClassifyOptions(
                sources=patterns, threads=1, resume=resume and bool(rows),
                csv=path if rows.endswith("csv") else None, jsonl=path if rows.endswith("jsonl") else None,
                move=target if move else None, copy=None if move else target,
            )  # fmt: skip
            with suppress(CatsDogsError):
                run_job(CLASSIFIER, INFO, options)

        def disturb() -> None:
            if event == "kill":
                raise Killed
            if event == "run":
                run()
            # Nobody gives an image such a name.
            files = sorted(path for path in self.files() if path.suffix != ".reading" and path.name[0] != ".")
            sorted_now = [path for path in files if {"cat", "dog"} & set(path.parts)]
            if event == "replace all":
                for path in files:
                    if "in" in path.relative_to(path.anchor).parts and path.suffix == ".png":
                        self.upload(path, "cat")
            elif event == "add":
                self.upload(self.root / to / "cat" / NAMES[number % 3], "dog")
            elif event in {"replace", "remove"} and files:
                path = files[number % len(files)]
                if event == "replace":
                    self.upload(path, "dog")
                else:
                    self.forget(path)
                    path.unlink()
            elif event.endswith("target") and sorted_now:
                path = sorted_now[number % len(sorted_now)]
                if event == "rename target":
                    self.count += 1
                    path.rename(path.with_name(f"kept {self.count}"))
                else:
                    self.forget(path)
                    path.unlink()
            self.check()

        with suppress(Killed), interrupted(call, moment, disturb, links=links):
            run()

    @invariant()
    def check(self) -> None:
        there = {path.read_bytes() for path in self.files()}
        assert not self.kept - there, f"{len(self.kept - there)} images are lost"


@contextmanager
def interrupted(at: str, moment: int, event: Callable[[], None], *, links: bool) -> Iterator[None]:
    """Lets something happen before one call of a kind in the block; after `Killed` there is no call any more."""
    count, killed, busy = 0, False, False
    main = threading.get_ident()

    def wrap(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            nonlocal count, killed, busy
            if threading.get_ident() == main and not busy:
                if killed:
                    raise Killed
                count += name == at
                if name == at and count == moment:
                    busy = True
                    try:
                        event()
                    except Killed:
                        killed = True
                        raise
                    finally:
                        busy = False
            if name == "link" and not links:
                raise PermissionError(1, "no hard links")
            return call(*args, **kwargs)

        return wrapper

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            if hasattr(os, name):
                patch.setattr(os, name, wrap(name, getattr(os, name)))
        yield


def machine(examples: int) -> settings:
    return settings(
        max_examples=examples, stateful_step_count=8, deadline=None, print_blob=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


def test_no_image_is_lost() -> None:
    run_state_machine_as_test(Sorting, settings=machine(40))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_no_image_is_lost_in_two_thousand_tries(part: int) -> None:
    run_state_machine_as_test(Sorting, settings=machine(500))

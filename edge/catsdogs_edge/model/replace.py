"""Puts a model file in the place of another, which is kept, and takes it back."""

import filecmp
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from catsdogs_edge.errors import ModelError, OutputError
from catsdogs_edge.model import selftest
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.output.files import atomic_file, make_folder, remove_old_stages, sync, write_errors
from catsdogs_edge.output.names import exchange
from catsdogs_edge.runtime.providers import Provider


def previous_of(place: Path) -> Path:
    """Returns where the model is kept that was in a place before."""
    return place.with_name(f"{place.stem}.previous{place.suffix}")


def open_tested(path: Path) -> Classifier:
    """Opens a model file; raises `ModelError` where it does not pass its own test here."""
    classifier = Classifier.load(path)
    selftest.require(classifier, path)
    return classifier


def install(new: Path, place: Path) -> Path | None:
    """Puts a model in a place, in one step; returns where the one before is kept, or None where there is none.

    One that is there already stays, and so does the one before it.

    Raises:
        ModelError: The new one does not pass its own test, or knows other classes than the one before.
        OutputError: The place cannot be written, or is a link or no file.
    """
    classes = open_tested(new).contract.classes
    previous = previous_of(place)
    for link in (place, previous):
        if link.is_symlink():
            raise OutputError(f"{link} is a link: name the file itself")
        if link.exists() and not link.is_file():
            raise OutputError(f"{link} is no regular file: choose another place")
    if previous.is_file() and previous.samefile(new):
        raise ModelError(f"{new} is the one before: catsdogs model rollback {place} takes it back")
    before: tuple[str, ...] = ()
    if not place.is_file():
        make_folder(place.parent)
    elif filecmp.cmp(new, place, shallow=False):
        return previous if previous.is_file() else None
    elif (before := _classes(place)) and before != classes:
        ours, theirs = ", ".join(classes), ", ".join(before)
        raise ModelError(f"{new} knows the classes {ours}, {place} {theirs}: choose a place of its own")
    remove_old_stages(place.parent)
    with atomic_file(place) as temporary:
        shutil.copyfile(new, temporary)  # first: where there is no room for it, all stays as it was
        if place.is_file():  # whoever could read that one must be able to read this one
            _keep_access(place, temporary)
        sync(temporary)
        if before:  # what is damaged is not worth going back to
            with atomic_file(previous) as kept:
                _link_or_copy(place, kept)
    return previous if previous.is_file() else None


def _keep_access(place: Path, new: Path) -> None:
    """Gives a file the mode and, where that is allowed, the owner and the group of the one that it replaces."""
    before = place.stat()
    if hasattr(os, "chown"):  # not on Windows
        for user, group in ((-1, before.st_gid), (before.st_uid, -1)):
            with suppress(OSError):  # another user's, or a disk that has none
                os.chown(new, user, group)
    mode = stat.S_IMODE(before.st_mode)
    if new.stat().st_gid != before.st_gid:  # who read it as the group does so as others
        mode |= (mode & stat.S_IRGRP) >> 3
    new.chmod(mode)


def _link_or_copy(file: Path, name: Path) -> None:
    """Gives a file a second name, which takes no room; not every disk can."""
    try:
        os.link(file, name)
    except OSError:
        shutil.copyfile(file, name)


def _classes(place: Path) -> tuple[str, ...]:
    """Returns the classes of a model; none where it cannot be opened."""
    try:
        return Classifier.load(place, Provider.CPU).contract.classes
    except ModelError:
        return ()


def roll_back(place: Path) -> None:
    """Lets a model and the one before it change places, in one step: twice is as it was.

    Raises:
        ModelError: There is none before it, or it does not pass its own test.
        OutputError: The place cannot be written.
    """
    previous = previous_of(place)
    if not previous.is_file():
        raise ModelError(f"{previous}: there is no earlier model; catsdogs model install keeps one")
    classes = open_tested(previous).contract.classes
    if (now := _classes(place)) and now != classes:
        raise ModelError(f"{previous} knows the classes {', '.join(classes)}, {place} {', '.join(now)}")
    if not os.access(place.parent, os.W_OK):
        raise OutputError(f"{place.parent} cannot be written")
    with write_errors(place):
        exchange(previous, place)
        sync(place.parent)

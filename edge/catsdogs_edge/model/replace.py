"""Puts a model file in the place of another, which is kept, and takes it back."""

import os
import shutil
from pathlib import Path

from catsdogs_edge.errors import ModelError, OutputError
from catsdogs_edge.model import selftest
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.output.files import atomic_file, make_folder, sync, write_errors
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
    """Puts a model in a place, in one step; returns where the one before is kept, or None where there was none.

    Raises:
        ModelError: The new one does not pass its own test, or knows other classes than the one before.
        OutputError: The place cannot be written.
    """
    classes = open_tested(new).contract.classes
    kept = None
    if place.is_file():
        before = Classifier.load(place, Provider.CPU).contract.classes
        if before != classes:
            raise ModelError(
                f"{new} knows the classes {', '.join(classes)}, {place} {', '.join(before)}: choose a new place"
            )
        kept = previous_of(place)
        with atomic_file(kept) as temporary:
            shutil.copyfile(place, temporary)
    else:
        make_folder(place.parent)
    with atomic_file(place) as temporary:
        shutil.copyfile(new, temporary)
    return kept


def roll_back(place: Path) -> None:
    """Lets a model and the one before it change places, in one step: twice is as it was.

    Raises:
        ModelError: There is none before it, or it does not pass its own test.
        OutputError: The place cannot be written.
    """
    previous = previous_of(place)
    if not previous.is_file():
        raise ModelError(f"{previous}: there is no earlier model; catsdogs model install keeps one")
    open_tested(previous)
    if not os.access(place.parent, os.W_OK):
        raise OutputError(f"{place.parent} cannot be written")
    with write_errors(place):
        exchange(previous, place)
        sync(place.parent)

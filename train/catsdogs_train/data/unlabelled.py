"""Finds images that a student learns its teacher's answers to, whatever they show."""

from collections.abc import Sequence
from pathlib import Path

from catsdogs_edge.errors import DataError
from catsdogs_edge.images.discovery import find_images
from catsdogs_train.data.audit import examine
from catsdogs_train.data.split import Quarantined, Sample


def find_unlabelled(folder: Path, known: Sequence[Sample]) -> tuple[list[Sample], list[Quarantined]]:
    """Finds images that can be read and are not among `known`; returns them, and what was left out and why.

    Raises `DataError` where there is none.
    """
    if not folder.is_dir():
        raise DataError(f"--unlabelled {folder}: no such folder (expected one with images)")
    seen = {sample.sha256: sample.path for sample in known}
    found, left_out = [], []
    paths = list(find_images([folder]))
    for path, finding in zip(paths, examine(paths), strict=True):
        if finding.problem:
            left_out.append(Quarantined(path, finding.problem))
        elif finding.sha256 in seen:
            left_out.append(Quarantined(path, f"the same file as {seen[finding.sha256]}"))
        else:
            seen[finding.sha256] = path
            found.append(Sample(path, 0, finding.sha256))
    if not found:
        raise DataError(f"--unlabelled {folder} holds no image that can be read and is not in DATA as well")
    return found, left_out

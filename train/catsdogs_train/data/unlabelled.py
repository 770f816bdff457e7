"""Finds images that a student learns its teacher's answers to, whatever they show."""

from collections.abc import Sequence, Set
from pathlib import Path

from catsdogs_edge.errors import DataError
from catsdogs_edge.images.discovery import find_in_folder
from catsdogs_train.data.audit import examine, near_ones
from catsdogs_train.data.split import Quarantined, Sample


def find_unlabelled(
    folder: Path, known: Sequence[Sample], held_out: Sequence[Sample], judged: Set[str] = frozenset()
) -> tuple[list[Sample], list[Quarantined]]:
    """Finds images that can be read, are not among `known`, and are not nearly the same as one that is held out.

    Nor are they any by which an earlier run was `judged` (SHA-256).

    Returns them, and what was left out and why.

    Raises `DataError` where there is none.
    """
    if not folder.is_dir():
        raise DataError(f"--unlabelled {folder}: no such folder (expected one with images)")
    seen = {sample.sha256: sample.path for sample in (*known, *held_out)}
    mine = {path.resolve() for path in seen.values()}
    found = []
    paths = [path for path in find_in_folder(folder) if path.resolve() not in mine]
    findings = examine(paths)
    left_out = [Quarantined(path, item.problem) for path, item in zip(paths, findings, strict=True) if item.problem]
    good = [(path, item) for path, item in zip(paths, findings, strict=True) if not item.problem]
    twins = near_ones([item for _, item in good], examine([sample.path for sample in held_out]))
    for (path, finding), twin in zip(good, twins, strict=True):
        if twin is not None:
            reason = f"nearly the same image as {held_out[twin].path}, which validates"
            left_out.append(Quarantined(path, reason))
        elif finding.sha256 in judged:
            left_out.append(Quarantined(path, "an earlier run was judged by it"))
        elif finding.sha256 in seen:
            left_out.append(Quarantined(path, f"the same file as {seen[finding.sha256]}"))
        else:
            seen[finding.sha256] = path
            found.append(Sample(path, 0, finding.sha256))
    if not found:
        raise DataError(f"--unlabelled {folder} holds no image that can be read and is not in DATA as well")
    return found, left_out

"""Reads and writes the tables of a run folder; those with images say where each is, and what it was used for."""

import csv
from collections.abc import Sequence
from pathlib import Path

from catsdogs_edge.errors import DataError
from catsdogs_train.data.split import Sample, Split

_SPLIT, _ASIDE = "split.csv", "aside.csv"
_SETS = ("train", "val")


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Writes a table with a line of names."""
    # A path that is not UTF-8 goes through byte for byte.
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write_split(folder: Path, split: Split) -> None:
    """Writes `split.csv`: which images train, and which validate; and `aside.csv` with those that only did so before.

    The second is there only where a run goes on from an earlier one and does not take all of its images along.
    """
    _write_samples(folder / _SPLIT, split.train, split.val, split.classes)
    if split.learned or split.judged:
        _write_samples(folder / _ASIDE, split.learned, split.judged, split.classes)


def _write_samples(path: Path, train: Sequence[Sample], val: Sequence[Sample], classes: Sequence[str]) -> None:
    rows = [*_split_rows("train", train, classes), *_split_rows("val", val, classes)]
    write_csv(path, ("set", "label", "path", "sha256", "source"), rows)


def read_split(folder: Path, classes: tuple[str, ...]) -> Split:
    """Reads what `write_split` wrote; raises `DataError` where it is damaged."""
    return Split(classes, *_read_samples(folder / _SPLIT, classes), (), *_read_samples(folder / _ASIDE, classes))


def _read_samples(file: Path, classes: tuple[str, ...]) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    parts: dict[str, list[Sample]] = {name: [] for name in _SETS}
    for row in _read_rows(file):
        if row["label"] not in classes:
            raise DataError(f"{file} names another class, {row['label']}: train anew")
        parts[row["set"]].append(Sample(Path(row["path"]), classes.index(row["label"]), row["sha256"], row["source"]))
    return tuple(parts["train"]), tuple(parts["val"])


def check_judges(option: str, model: Path, judges: Sequence[Sample]) -> None:
    """Checks that the network of a run learned from none of the images that are to judge what comes of it.

    Raises `DataError` where it did. A network that is in no run folder may have learned from anything.
    """
    if not model.with_name(_SPLIT).exists():
        return
    hashes = {sample.sha256 for sample in judges}
    learned = [row for name in (_SPLIT, _ASIDE) for row in _read_rows(model.with_name(name)) if row["set"] == "train"]
    if both := len(hashes.intersection(row["sha256"] for row in learned)):
        way_out = ", or --from, which keeps its images on their side" if option == "--weights" else ""
        raise DataError(
            f"{option} {model.parent} learned from {both} of the {len(judges)} images that are to validate: use the "
            f"DATA, --val and --seed of that run{way_out}"
        )


def _read_rows(file: Path) -> list[dict[str, str]]:
    """Reads what `write_split` wrote; an `aside.csv` need not be there. Raises `DataError` where it is damaged."""
    if file.name == _ASIDE and not file.exists():
        return []
    try:
        with file.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
            rows = [{"source": "", **row} for row in csv.DictReader(stream)]
    except (OSError, csv.Error) as error:
        raise DataError(f"{file} cannot be read ({error!r}): train anew") from error
    for row in rows:
        if None in row.values() or not row.keys() >= {"label", "path", "sha256"} or row.get("set") not in _SETS:
            raise DataError(f"{file} is damaged: train anew")
    return rows


def _split_rows(name: str, samples: Sequence[Sample], classes: Sequence[str]) -> list[tuple[str, ...]]:
    return [
        (name, classes[sample.label], str(sample.path.resolve()), sample.sha256, sample.source) for sample in samples
    ]

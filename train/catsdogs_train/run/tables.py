"""Reads and writes the tables of a run folder; those with images say where each is, and what it was used for."""

import csv
from collections.abc import Sequence
from pathlib import Path

from catsdogs_edge.errors import DataError
from catsdogs_edge.output.rows import csv_line
from catsdogs_train.data.split import Sample, Sides, Split

ASIDE = "aside.csv"
"""What else a run, or those before it, learned from or were judged by; there only where there is some."""

_SPLIT = "split.csv"
_SEEN, _JUDGED = "seen", "judged"  # in the column `set`: of what was learned from, or judged, only the hash is known
_SETS = frozenset({"train", "val", _SEEN, _JUDGED})


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Writes a table with a line of names."""
    # A path that is not UTF-8 goes through byte for byte.
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        stream.writelines(csv_line(row) for row in (header, *rows))


def write_split(folder: Path, split: Split) -> None:
    """Writes `split.csv`: which images train, and which validate; and `aside.csv` with those that only did so before.

    The second is there only where there are some. Of `Split.learned_hashes` and `judged_hashes` it has the hash alone.
    """
    _write_samples(folder / _SPLIT, split.train, split.val, split.classes)
    hashes = {_SEEN: split.learned_hashes, _JUDGED: split.judged_hashes}
    more = [(name, "", "", sha256, "") for name, some in hashes.items() for sha256 in sorted(some)]
    if split.earlier_train or split.earlier_val or more:
        _write_samples(folder / ASIDE, split.earlier_train, split.earlier_val, split.classes, more)


def _write_samples(
    path: Path,
    train: Sequence[Sample],
    val: Sequence[Sample],
    classes: Sequence[str],
    more: Sequence[tuple[str, ...]] = (),
) -> None:
    rows = [*_split_rows("train", train, classes), *_split_rows("val", val, classes), *more]
    write_csv(path, ("set", "label", "path", "sha256", "source"), rows)


def read_split(folder: Path, classes: tuple[str, ...]) -> Split:
    """Reads what `write_split` wrote; raises `DataError` where it is damaged."""
    own, aside = _read_rows(folder / _SPLIT), _read_rows(folder / ASIDE)
    named = [row for row in (*own, *aside) if row["set"] not in {_SEEN, _JUDGED}]
    if unknown := next((row for row in named if row["label"] not in classes), None):
        raise DataError(f"{folder} has an image of another class, {unknown['label']}: train anew")

    def samples(rows: Sequence[dict[str, str]], part: str) -> tuple[Sample, ...]:
        return tuple(
            Sample(Path(row["path"]), classes.index(row["label"]), row["sha256"], row["source"])
            for row in rows
            if row["set"] == part
        )

    return Split(
        classes,
        samples(own, "train"),
        samples(own, "val"),
        (),
        earlier_train=samples(aside, "train"),
        earlier_val=samples(aside, "val"),
        learned_hashes=frozenset(row["sha256"] for row in aside if row["set"] == _SEEN),
        judged_hashes=frozenset(row["sha256"] for row in aside if row["set"] == _JUDGED),
    )


def is_network_of_run(file: Path) -> bool:
    """Returns whether this is the network in a run folder; others may have learned from anything."""
    return file.suffix == ".keras" and file.with_name("run.json").is_file()


def read_sides(folder: Path) -> Sides:
    """Reads what a run, and those before it, learned from, and were judged by; raises `DataError` for damage."""
    rows = [*_read_rows(folder / _SPLIT), *_read_rows(folder / ASIDE)]
    learned = frozenset(row["sha256"] for row in rows if row["set"] in {"train", _SEEN})
    return Sides(learned, frozenset(row["sha256"] for row in rows if row["set"] in {"val", _JUDGED}))


def check_not_learned(option: str, folder: Path, learned: frozenset[str], judges: Sequence[Sample]) -> None:
    """Checks that a run learned from none of the images that are to judge what comes of it.

    Raises `DataError` where it did, which can be with a --val alone: see `make_split`.
    """
    if both := len(learned.intersection(sample.sha256 for sample in judges)):
        raise DataError(
            f"{option} {folder} learned from {both} of the {len(judges)} images of --val: leave them out of it, or "
            "give the --val of that run"
        )


def _read_rows(file: Path) -> list[dict[str, str]]:
    """Reads what `write_split` wrote; an `aside.csv` need not be there. Raises `DataError` where it is damaged."""
    if file.name == ASIDE and not file.exists():
        return []
    try:
        with file.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
            rows = [{"source": "", **row} for row in csv.DictReader(stream)]
    except (OSError, csv.Error) as error:
        raise DataError(f"{file} cannot be read ({error!r}): train anew") from error
    if file.name == _SPLIT and not rows:
        raise DataError(f"{file} is damaged: train anew")
    for row in rows:
        is_whole = None not in row.values() and row.keys() >= {"label", "path", "sha256"} and row.get("set") in _SETS
        if not is_whole or "\0" in row["path"]:
            raise DataError(f"{file} is damaged: train anew")
    return rows


def _split_rows(name: str, samples: Sequence[Sample], classes: Sequence[str]) -> list[tuple[str, ...]]:
    return [
        (name, classes[sample.label], str(sample.path.resolve()), sample.sha256, sample.source) for sample in samples
    ]

"""Puts new images beside those of an earlier run: so that what is new is learned, and what was known is kept."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path

from catsdogs_edge.errors import DataError
from catsdogs_edge.output.terminal import counted
from catsdogs_train.data.drop_list import DropList
from catsdogs_train.data.layouts import find_all, unpack
from catsdogs_train.data.split import (
    Candidate,
    Quarantined,
    Sample,
    Sides,
    Split,
    check_classes,
    divide,
    leave_out,
    read_candidates,
    set_apart,
    sort_out,
    take,
    without_near,
)

_log = logging.getLogger(__name__)

EARLIER = "the earlier run"
"""Source of images that come from there."""

MOST_TRAIN, MOST_VAL = 2000, 1000
"""Images of an earlier run that are taken along, at random: to ask the backbone about more takes an hour."""

LEAST_SHARE = 0.25
"""How much the new images of a class count together, at least, of all of that class, where `_MOST_WEIGHT` allows it."""

_MOST_WEIGHT = 20.0  # of a new image beside one of the earlier run: five of them must not decide alone


def extend_split(
    classes: Sequence[str],
    earlier: Split,
    data: Sequence[Path],
    seed: int,
    drop: DropList | None = None,
    *,
    may_lack: bool = False,
) -> Split:
    """Joins the images of an earlier run and new ones.

    Old images stay on their side, also those that are not taken along this time. New ones are divided as `make_split`
    divides; those that the earlier run had stay what they were there. Nothing to learn from is nearly the same as
    something to judge by. Few new images count more, up to `_MOST_WEIGHT`, so that those of a class have their
    `LEAST_SHARE` of it together.

    Images of the earlier run that were moved are found by their content, if they are in DATA. Raises `DataError` where
    there is nothing new, unless it `may_lack` that; for classes that the earlier run has not; and where its images are
    gone.
    """
    _, labelled = find_all(data, classes)
    new, quarantine = sort_out(labelled, classes, None, may_lack=True)
    old = earlier = _find_again(earlier, new)
    if drop:
        old, new, more = _drop_listed(earlier, new, drop)
        quarantine += more
    learned, judged, more = _read_old(old, labelled)
    quarantine += more
    quarantine += _known_ones(new, learned, judged, classes)
    known = {item.sample.sha256 for item in (*learned, *judged)}
    origins = {unpack(root) if root.is_file() else root: str(root) for root in data}
    new = [_named(item, origins) for item in new if item.sample.sha256 not in known]
    if not new and not may_lack:
        raise DataError("DATA holds no image that the earlier run did not have: there is nothing to learn")
    # What was dropped, changed or removed since, and is in DATA now, stays on its side, too.
    seen = earlier.learned_hashes.union(sample.sha256 for sample in (*earlier.train, *earlier.earlier_train)) - known
    judging = earlier.judged_hashes.union(sample.sha256 for sample in (*earlier.val, *earlier.earlier_val)) - known
    train, val, more = _divide_new(new, seen, judging, seed)
    quarantine += more
    # What was learned before must not judge, though it is not rehearsed.
    val, near_learned = without_near(val, learned, because="which was learned")
    judges = [*judged, *val]
    train, near_new = without_near(train, judges)
    old_train, near_old = without_near(_draw(learned, MOST_TRAIN, seed), judges)
    quarantine += [*near_learned, *near_new, *near_old]
    if not train and not may_lack:
        examples = "".join(f"; {item.path}: {item.reason}" for item in near_new[:1])
        raise DataError(
            f"of {counted(len(new), 'new image')} none is left to learn from: {len(near_new)} are nearly the same as "
            f"images that validate, {len(val)} validate themselves{examples}"
        )
    _log.info("%s to train beside %d of the earlier run", counted(len(train), "new image"), len(old_train))
    all_train = (*(item.sample for item in old_train), *_weigh(train, old_train))
    all_val = tuple(item.sample for item in (*_draw(judged, MOST_VAL, seed), *val))
    check_classes(classes, all_train, "to train on")
    taken = {sample.sha256 for sample in (*all_train, *all_val)}
    return Split(
        tuple(classes),
        all_train,
        all_val,
        tuple(quarantine),
        earlier_train=tuple(item.sample for item in learned if item.sample.sha256 not in taken),
        earlier_val=tuple(sample for sample in (*old.val, *old.earlier_val) if sample.sha256 not in taken),
        learned_hashes=seen - taken,
        judged_hashes=earlier.judged_hashes - taken,
    )


def _find_again(earlier: Split, new: Sequence[Candidate]) -> Split:
    """Returns the earlier run's images, where those that are gone from their place have that of DATA."""
    here = {item.sample.sha256: item.sample.path for item in new}

    def find(samples: Sequence[Sample]) -> tuple[Sample, ...]:
        return tuple(
            replace(sample, path=here[sample.sha256]) if sample.sha256 in here and not sample.path.is_file() else sample
            for sample in samples
        )

    return replace(
        earlier,
        train=find(earlier.train),
        val=find(earlier.val),
        earlier_train=find(earlier.earlier_train),
        earlier_val=find(earlier.earlier_val),
    )


def _read_old(
    old: Split, labelled: Sequence[tuple[Path, int]]
) -> tuple[list[Candidate], list[Candidate], list[Quarantined]]:
    """Reads what the earlier run learned from, and was judged by; says what is left out of both.

    What is in DATA as well is taken for what it is now.
    """
    learned, left_out = _read(old.train, old.earlier_train)
    judged, val_left_out = _read(old.val, old.earlier_val)
    anew = {path.resolve() for path, _ in labelled}
    return learned, judged, [item for item in (*left_out, *val_left_out) if item.path.resolve() not in anew]


def _divide_new(
    new: Sequence[Candidate], seen: Set[str], judging: Set[str], seed: int
) -> tuple[list[Candidate], list[Candidate], list[Quarantined]]:
    """Divides new images, but for those of hashes that had a side before, and near copies of these: they go there."""
    judges, free = set_apart(new, Sides(frozenset(seen), frozenset(judging)))
    train, val, _ = divide(free, None, None, seed)
    # A class whose new images are all near copies, or one, is learned: the earlier run has others to judge it by.
    taught = {item.sample.label for item in train}
    held_out = [*judges, *(item for item in val if item.sample.label in taught)]
    held = {item.sample for item in held_out}
    train, quarantine = without_near([item for item in new if item.sample not in held], held_out)
    return train, held_out, quarantine


def _weigh(new: Sequence[Candidate], old: Sequence[Candidate]) -> Iterator[Sample]:
    """Lets new images count so much that those of a class have their `LEAST_SHARE` of it, beside the old ones."""
    ours, theirs = (Counter(item.sample.label for item in part) for part in (new, old))
    for item in new:
        label = item.sample.label
        weight = LEAST_SHARE / (1 - LEAST_SHARE) * theirs[label] / ours[label]
        yield replace(item.sample, weight=min(max(weight, 1.0), _MOST_WEIGHT))


def _drop_listed(
    earlier: Split, new: Sequence[Candidate], drop: DropList
) -> tuple[Split, list[Candidate], list[Quarantined]]:
    """Leaves out what a list of wrong labels names: of the images that were learned from, and of DATA.

    What has another label in DATA stays there: that is why the old one is listed.
    """
    learned = (*earlier.train, *earlier.earlier_train)
    listed = {sample for sample in learned if drop.has(sample.path, sample.sha256)}
    old = replace(
        earlier,
        train=tuple(sample for sample in earlier.train if sample not in listed),
        earlier_train=tuple(sample for sample in earlier.earlier_train if sample not in listed),
    )
    before = {sample.sha256: sample.label for sample in learned}
    mended: list[Candidate] = []
    others: list[Candidate] = []
    for item in new:
        is_mended = before.get(item.sample.sha256, item.sample.label) != item.sample.label
        (mended if is_mended else others).append(item)
    kept, more = leave_out(others, drop)
    dropped = [*(Quarantined(sample.path, f"listed in {drop.file}") for sample in learned if sample in listed), *more]
    if not dropped:
        raise DataError(f"--drop {drop.file} lists no image of DATA, nor one that the earlier run learned from")
    _log.info("%d images left out, as %s lists them", len(dropped), drop.file)
    every = (*learned, *(item.sample for item in new))
    if missing := drop.count_missing((sample.path, sample.sha256) for sample in every):
        _log.warning("%d more lines of %s name none of those (what judges a run stays as it is)", missing, drop.file)
    return old, [*kept, *mended], dropped


def _known_ones(
    new: Sequence[Candidate], learned: Sequence[Candidate], judged: Sequence[Candidate], classes: Sequence[str]
) -> Iterator[Quarantined]:
    """Says which of the new images the earlier run has, and warns where it has them with another label."""
    others = 0
    for side, way_out in ((learned, "--drop it to learn the new label"), (judged, "it judges, and keeps that")):
        labels = {item.sample.sha256: item.sample.label for item in side}
        used = {item.sample.path for item in side}  # what was moved is found in DATA
        for item in new:
            if (label := labels.get(item.sample.sha256)) is None or item.sample.path in used:
                continue
            reason = "the earlier run has it"
            if label != item.sample.label:
                reason += f" as {classes[label]}: {way_out}"
                others += 1
            yield Quarantined(item.sample.path, reason)
    if others:
        _log.warning("images of DATA that keep the label of the earlier run: %d; quarantine.csv says which", others)


def _named(item: Candidate, origins: Mapping[Path, str]) -> Candidate:
    """Notes which folder, or zip file, an image comes from."""
    source = next(name for root, name in origins.items() if item.sample.path.is_relative_to(root))
    return replace(item, sample=replace(item.sample, source=source))


def _read(own: Sequence[Sample], aside: Sequence[Sample]) -> tuple[list[Candidate], list[Quarantined]]:
    """Reads images of the earlier run, as far as they are not remembered; leaves out what is not what it was.

    Its `own` must be there; of those that are only put `aside`, what is gone is left out, too.
    """
    missing = [sample.path for sample in own if not sample.path.is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} of the {len(own)} images of the earlier run are gone, such as {missing[0]}: put them "
            "back, name the folder or zip file that holds them now as DATA, too, or train anew"
        )
    before = {sample.path: sample for sample in (*own, *aside) if sample.path.is_file()}
    candidates, quarantine = read_candidates([(sample.path, sample.label) for sample in before.values()])
    quarantine += [
        Quarantined(sample.path, "gone since the earlier run") for sample in aside if sample.path not in before
    ]
    kept = []
    for item in candidates:
        old = before[item.sample.path]
        if item.sample.sha256 == old.sha256:
            kept.append(replace(item, sample=replace(item.sample, source=old.source or EARLIER)))
        else:
            quarantine.append(Quarantined(old.path, "another image than in the earlier run"))
    return kept, quarantine


def _draw(candidates: list[Candidate], most: int, seed: int) -> list[Candidate]:
    return take(candidates, most, seed, "rehearsal") if len(candidates) > most else candidates

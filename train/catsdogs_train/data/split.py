"""Splits labelled images into those to learn from and those to judge by; leaves out what harms either."""

import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from catsdogs_edge.errors import DataError
from catsdogs_train.data.audit import Finding, examine, near_groups, near_ones
from catsdogs_train.data.drop_list import DropList
from catsdogs_train.data.layouts import find_all, in_words

_log = logging.getLogger(__name__)

VAL_SHARE = 0.2
"""Share of the images that is kept for validation by default."""

LEAST_VAL = 50
"""Images of a class that are kept for validation at least, as far as there are."""

ENOUGH = 1000
"""Validation images that are no longer few."""

MOST_BAD = 0.25
"""Share of files that may be no images; with more, something else is wrong."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled image."""

    path: Path
    label: int
    """Index of its class in `Split.classes`.

    Two kinds of images have no class: for one of neither it is the fold (`find_outliers`), for one without a label 0,
    which nothing learns from.
    """
    sha256: str
    """SHA-256 of the content, in hexadecimal."""
    source: str = ""
    """Where it comes from, where images of an earlier run are beside it."""
    weight: float = 1.0
    """How much it counts in training, beside others."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A file that was left out; it stays where it is."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Split:
    """What to train on and what to judge by; no image is in both, nor nearly the same one."""

    classes: tuple[str, ...]
    """Sorted names: the order of the output neurons."""
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    quarantine: tuple[Quarantined, ...]
    earlier_train: tuple[Sample, ...] = ()
    """What earlier runs learned from, and this one does not: it must not judge a later one."""
    earlier_val: tuple[Sample, ...] = ()
    """What earlier runs were judged by, and this one is not."""
    learned_hashes: frozenset[str] = frozenset()
    """SHA-256 of what else this run or an earlier one learned from, and no table names: it must not judge, either."""
    judged_hashes: frozenset[str] = frozenset()
    """SHA-256 of what else an earlier run was judged by: it is not learned."""


@dataclass(frozen=True, slots=True)
class Sides:
    """What an earlier run, and those before it, used images for; by SHA-256."""

    learned: frozenset[str] = frozenset()
    judged: frozenset[str] = frozenset()
    """What it was judged by."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An image that is fit for use."""

    sample: Sample
    finding: Finding


def make_split(
    data: Sequence[Path],
    *,
    val: Path | None,
    train_size: int | None,
    val_size: int | None,
    seed: int,
    drop: DropList | None = None,
    sides: Sides | None = None,
) -> Split:
    """Decides by the content of each image on which side it is.

    The side follows from the image's hash and the seed: a fifth of all hashes validate. Images that are nearly the same
    go where the one with the lowest hash goes. So an image that validates still does when others are added, moved or
    renamed, unless one of them is nearly the same as it. In a class of few images, and with sizes, the lowest hashes of
    the class validate, and the highest train: then the border moves a little when images are added. Without `val`, a
    part of `data` validates; then, what the run from which the network comes learned from does not, and what that was
    judged by is not learned (`sides`). What is in `drop` is left out of `data`; a `val` is taken as it is.

    Raises `DataError` for fewer than two classes, one without a usable image, other classes in `val`, the same files in
    both, fewer images than asked for, or mostly files that are no images.
    """
    classes, labelled = find_all(data)
    candidates, quarantine = sort_out(labelled, classes, drop)
    if val is None:
        train, held_out, more = divide(candidates, train_size, val_size, seed, sides)
        quarantine += more
    else:
        val_classes, val_labelled = find_all([val])
        if val_classes != classes:
            raise DataError(
                f"{val} has the classes {in_words(val_classes)}, expected {in_words(classes)} as in {data[0]}"
            )
        _refuse_overlap(labelled, val_labelled, val)
        held_out, more = read_candidates(val_labelled)  # a folder that is given to judge by is taken as it is
        quarantine += more
        if val_size is not None:
            held_out = take(held_out, val_size, seed, "--val-size")
        candidates, more = without_near(candidates, held_out)
        quarantine += more
        train = candidates if train_size is None else take(candidates, train_size, seed, "--train-size", highest=True)
    train_samples, val_samples = (tuple(candidate.sample for candidate in part) for part in (train, held_out))
    less = val_size is not None and val is None
    ways_out = ["raise --train-size"] * (train_size is not None) + ["lower --val-size"] * less
    check_classes(classes, train_samples, "to train on", ways_out)
    ways_out = ["raise --val-size"] * (val_size is not None) + ["give the --val of the earlier run"] * bool(sides)
    check_classes(classes, val_samples, "to validate on", ways_out)
    return Split(classes, train_samples, val_samples, tuple(quarantine))


def check_classes(
    classes: Sequence[str], samples: Sequence[Sample], purpose: str, ways_out: Sequence[str] = ()
) -> None:
    """Raises `DataError` where there is no image of a class; what else would help are `ways_out`."""
    present = {sample.label for sample in samples}
    for label, name in enumerate(classes):
        if label not in present:
            raise DataError(
                f"no image of class '{name}' is left {purpose}: {', or '.join(['add others', *ways_out])} (images that "
                "are nearly the same are on one side, and count as one)"
            )


def read_candidates(labelled: Sequence[tuple[Path, int]]) -> tuple[list[Candidate], list[Quarantined]]:
    """Sorts out what is no image."""
    _log.info("looking at %d images", len(labelled))
    candidates, quarantine = [], []
    for (path, label), finding in zip(labelled, examine([path for path, _ in labelled]), strict=True):
        if finding.problem:
            quarantine.append(Quarantined(path, finding.problem))
        else:
            candidates.append(Candidate(Sample(path, label, finding.sha256), finding))
    if len(quarantine) > max(MOST_BAD * len(labelled), 2):
        most, _ = Counter(item.reason for item in quarantine).most_common(1)[0]
        raise DataError(
            f"{len(quarantine)} of {len(labelled)} files are no images (most often: {most}; such as "
            f"{quarantine[0].path}): is this the right folder?"
        )
    return candidates, quarantine


def sort_out(
    labelled: Sequence[tuple[Path, int]], classes: Sequence[str], drop: DropList | None, *, may_lack: bool = False
) -> tuple[list[Candidate], list[Quarantined]]:
    """Sorts out what is no image, what shall be left out, and what is there more than once.

    Raises `DataError` for a class without a usable image, unless it `may_lack` any.
    """
    readable, quarantine = read_candidates(labelled)
    if drop:
        missing = drop.count_missing((item.sample.path, item.sample.sha256) for item in readable)
        readable, listed = leave_out(readable, drop)
        if not listed:
            raise DataError(
                f"--drop {drop.file} lists no image of DATA: relative paths start here, and a --val stays as it is"
            )
        quarantine += listed
        _log.info("%d images left out, as %s lists them", len(listed), drop.file)
        if missing:
            _log.warning("%d more lines of %s name no image of DATA (a --val stays as it is)", missing, drop.file)
    same: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in readable:
        same[candidate.finding.sha256].append(candidate)
    candidates = []
    for first, *others in same.values():
        labels = {classes[candidate.sample.label] for candidate in (first, *others)}
        if len(labels) > 1:
            words = f"the same file is labelled {' and '.join(sorted(labels))}"
            quarantine += [Quarantined(candidate.sample.path, words) for candidate in (first, *others)]
            continue
        candidates.append(first)
        quarantine += [Quarantined(item.sample.path, f"the same file as {first.sample.path}") for item in others]
    for label, name in enumerate(classes):
        if not may_lack and not any(candidate.sample.label == label for candidate in candidates):
            raise DataError(f"class '{name}' has no usable image")
    return candidates, quarantine


def leave_out(candidates: Sequence[Candidate], drop: DropList) -> tuple[list[Candidate], list[Quarantined]]:
    """Leaves out what a list of wrong labels names."""
    kept, listed = [], []
    for item in candidates:
        if drop.has(item.sample.path, item.sample.sha256):
            listed.append(Quarantined(item.sample.path, f"listed in {drop.file}"))
        else:
            kept.append(item)
    return kept, listed


def divide(
    candidates: list[Candidate], train_size: int | None, val_size: int | None, seed: int, sides: Sides | None = None
) -> tuple[list[Candidate], list[Candidate], list[Quarantined]]:
    """Keeps some back to validate on; what is nearly the same as one of them is not trained with.

    What an earlier run was judged by validates first, and is never trained with.
    """
    judges, free = set_apart(candidates, sides) if sides else ([], candidates)
    if val_size is None:
        held_out = [*judges, *_choose_val(free, Counter(item.sample.label for item in judges), seed)]
    else:
        _check_enough("--val-size", val_size, len(judges) + len(free))
        held_out = take(judges, min(val_size, len(judges)), seed, "--val-size")
        held_out += take(free, val_size - len(held_out), seed, "--val-size")
    held = {item.sample for item in held_out}
    quarantine = [
        Quarantined(item.sample.path, "an earlier run was judged by it") for item in judges if item.sample not in held
    ]
    apart = held.union(item.sample for item in judges)
    left, more = without_near([item for item in candidates if item.sample not in apart], held_out)
    if train_size is not None:
        left = take(left, train_size, seed, "--train-size", highest=True)
    return left, held_out, [*quarantine, *more]


def set_apart(candidates: Sequence[Candidate], sides: Sides) -> tuple[list[Candidate], list[Candidate]]:
    """Returns what judges, because an earlier run was judged by it, and what had no side there.

    Near copies of either side go with it, but where they are of both: with what that run learned from.
    """
    groups = near_groups([item.finding for item in candidates])
    of_group: dict[int, set[str]] = defaultdict(set)
    for item, group in zip(candidates, groups, strict=True):
        of_group[group].add(item.finding.sha256)
    judged = sides.judged - sides.learned
    judges: list[Candidate] = []
    free: list[Candidate] = []
    for item, group in zip(candidates, groups, strict=True):
        is_learned = not of_group[group].isdisjoint(sides.learned)
        if item.finding.sha256 in judged or not (is_learned or of_group[group].isdisjoint(judged)):
            judges.append(item)
        elif not is_learned:
            free.append(item)
    return judges, free


def _choose_val(free: Sequence[Candidate], judges: Mapping[int, int], seed: int) -> list[Candidate]:
    """Chooses what validates of images that have no side yet, beside so many of each class that do."""
    keys = _keys(free, seed)
    sizes: dict[int, Counter[float]] = defaultdict(Counter)
    for item, key in zip(free, keys, strict=True):
        sizes[item.sample.label][key] += 1
    val_keys = {label: _choose_val_keys(own, judges.get(label, 0)) for label, own in sizes.items()}
    return [item for item, key in zip(free, keys, strict=True) if key in val_keys[item.sample.label]]


def _choose_val_keys(sizes: Mapping[float, int], judges: int = 0) -> set[float]:
    """Chooses the keys of a class whose images validate, beside so many that do already.

    A key stands for a group of near copies (`_keys`); `sizes` says how many images each has. Keys up to `VAL_SHARE`
    validate, so that images stay on their side when others are added. A small class gives more, the lowest first, until
    `LEAST_VAL` images validate, but no more than a third of its images or keys for that. A key validates only if half
    of the images are left to train on, but for the first one, where nothing else would judge. A key with more than half
    of the images comes last.
    """
    count = sum(sizes.values())
    ranked = [key for _, key in sorted((2 * size > count, key) for key, size in sizes.items())]
    wanted, most_keys = max(min(LEAST_VAL, (count + judges) // 3), 1) - judges, max(len(ranked) // 3, 1)
    chosen: set[float] = set()
    images = 0
    for rank, key in enumerate(ranked):
        is_wanted = key <= VAL_SHARE or (rank < most_keys and images < wanted)
        is_needed = not chosen and not judges
        if is_wanted and (is_needed or 2 * (images + sizes[key]) <= count):
            chosen.add(key)
            images += sizes[key]
    return chosen


def take(candidates: list[Candidate], count: int, seed: int, option: str, *, highest: bool = False) -> list[Candidate]:
    """Takes as many as an option asks for, with the lowest or highest keys, every class in its share of the whole."""
    _check_enough(option, count, len(candidates))
    ranked: list[tuple[float, int, int]] = []
    keys = _keys(candidates, seed)
    by_label: dict[int, list[int]] = defaultdict(list)
    for index, candidate in enumerate(candidates):
        by_label[candidate.sample.label].append(index)
    for label, indices in by_label.items():
        indices.sort(key=lambda index: (keys[index], candidates[index].finding.sha256), reverse=highest)
        # Ranks from 0 to 1 in each class: cutting off the lowest keeps every class in its share.
        ranked += [(rank / len(indices), label, index) for rank, index in enumerate(indices)]
    chosen = sorted(index for _, _, index in sorted(ranked)[:count])
    return [candidates[index] for index in chosen]


def _check_enough(option: str, count: int, there: int) -> None:
    """Raises `DataError` where an option asks for more images than there are."""
    if count > there:
        raise DataError(f"{option} {count}, but there are {there} images for it: ask for fewer")


def _keys(candidates: Sequence[Candidate], seed: int) -> list[float]:
    """Returns a number from 0 to 1 for each, which follows from the seed and one content of its group.

    It is the content with the lowest hash: so a burst of images validates as seldom as a single one.
    """
    contents = [candidate.finding.sha256 for candidate in candidates]
    lowest: dict[int, str] = {}
    groups = near_groups([candidate.finding for candidate in candidates])
    for group, content in zip(groups, contents, strict=True):
        lowest[group] = min(content, lowest.get(group, content))
    keys = {
        group: int(hashlib.sha256(f"{seed} {content}".encode()).hexdigest()[:13], 16) / 16**13
        for group, content in lowest.items()
    }
    return [keys[group] for group in groups]


def without_near(
    candidates: list[Candidate], others: Sequence[Candidate], because: str = "which validates"
) -> tuple[list[Candidate], list[Quarantined]]:
    """Leaves out what is nearly the same as one of the others, such as training images beside those to validate on."""
    twins = near_ones([item.finding for item in candidates], [item.finding for item in others])
    kept, quarantine = [], []
    for candidate, twin in zip(candidates, twins, strict=True):
        if twin is None:
            kept.append(candidate)
        else:
            reason = f"nearly the same image as {others[twin].sample.path}, {because}"
            quarantine.append(Quarantined(candidate.sample.path, reason))
    return kept, quarantine


def _refuse_overlap(labelled: Sequence[tuple[Path, int]], other: Sequence[tuple[Path, int]], val: Path) -> None:
    both = {path.resolve() for path, _ in labelled} & {path.resolve() for path, _ in other}
    if both:
        raise DataError(
            f"{len(both)} training images are in {val}, too, such as {min(both)}: a model judged by what it has "
            "learned looks better than it is"
        )

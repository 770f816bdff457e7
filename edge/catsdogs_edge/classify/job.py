"""What `catsdogs-classify` does: finds images, classifies them, writes a row for each, sorts them into folders."""

import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from functools import partial
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING

from catsdogs_edge.classify.attempts import Attempts
from catsdogs_edge.classify.batching import ImageResult, classify_all
from catsdogs_edge.classify.maps import MapFolder
from catsdogs_edge.classify.options import ClassifyOptions, is_address
from catsdogs_edge.classify.remote import RemoteOriginal
from catsdogs_edge.classify.results import ClassifySummary, FileResults, Lines, Results
from catsdogs_edge.classify.resume import NOTHING, TAIL
from catsdogs_edge.classify.sorter import FileMode, Original, Placed, Sorter
from catsdogs_edge.errors import DataError, ImageError
from catsdogs_edge.images.decode import RgbImage, load_bytes
from catsdogs_edge.images.discovery import VIDEO_ENDINGS, find_images, is_list
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.info import ModelInfo
from catsdogs_edge.output.files import is_filled
from catsdogs_edge.output.progress import progress
from catsdogs_edge.output.terminal import say
from catsdogs_edge.runtime.cpu import usable_cpus
from catsdogs_edge.runtime.signals import holding_signals

if TYPE_CHECKING:
    from catsdogs_edge.classify.watch import FolderWatch

_LONGEST_WAIT = 1.0  # seconds that a row waits for those that are written for good with it


def run_job(classifier: Classifier, info: ModelInfo, options: ClassifyOptions) -> ClassifySummary:
    """Classifies all images with a model that was loaded with `threads=1`; rows are out as soon as their batch is done.

    Raises `OutputError` where a file cannot be written, `DataError` where a list cannot be read or none of the images
    is there; the rows before are complete. The arguments of a `KeyboardInterrupt` or `SystemExit` hold the summary.
    """
    with ExitStack() as stack:
        job = _Job(stack, classifier, info, options)
        try:
            job.run()
        except (KeyboardInterrupt, SystemExit) as end:  # SystemExit: another signal
            end.args = (job.summary,)
            raise
    return job.summary


class _Job:
    """What is open for one run of the command."""

    def __init__(self, stack: ExitStack, classifier: Classifier, info: ModelInfo, options: ClassifyOptions) -> None:
        """Opens it all, and looks at what there is to do; `stack` closes it."""
        self._classifier = classifier
        self._options = options
        self.summary = ClassifySummary(waits=options.watch)
        self._watch = _open_watch(stack, options) if options.watch else None
        self._found = iter(()) if self._watch else _first_that_exists(_find(options, self.summary.left_out), options)
        self._last_written = _last_written(options)
        self._results = _open_results(options, info)
        for result in self._results:
            stack.callback(result.close)
        self._done = self._results[0].done if options.resume else NOTHING
        mode = FileMode.MOVE if options.move else FileMode.COPY
        sorter = Sorter(options.sort_to, mode, info.labels) if options.sort_to else None
        self._attempts = _open_attempts(options)
        if self._attempts:
            stack.callback(self._attempts.close)
        if not self._watch:  # which replaces rows of before when there are others
            self._begin()
        self._moved_before = dict(self._done.moved)
        if sorter and sorter.moves:
            sorter.tidy(self._done.moved)
        # What comes through a pipe cannot be found twice, so not be counted first; what is still to come, never.
        can_count = all(os.path.isfile(source[1:]) for source in options.sources if is_list(source))
        to_count = _find(options, is_quiet=True) if can_count and not self._watch else None
        self._step = stack.enter_context(progress(to_count, done=len(self._done)))
        self.summary.resumed = len(self._done)
        self._writer = _Writer(self._results, sorter, self.summary, MapFolder(options.maps) if options.maps else None)
        stack.callback(self._writer.flush)

    def run(self) -> None:
        """Classifies what there is; with a watch, what comes as well, without an end."""
        if self._watch is None:
            self._classify(self._found)
            return
        say("Waiting for images; Ctrl-C ends", err=True)
        for number, finished in enumerate(self._watch):
            if not number:
                self._begin()
            self._classify(map(Original, finished))
            self._writer.flush()
            self._watch.forget(path for path in finished if not os.path.lexists(path))

    def _begin(self) -> None:
        for result in self._results:
            result.begin()

    def _classify(self, originals: Iterable[Original]) -> None:
        load = partial(_load, self._attempts)
        workers, maps = self._options.threads or usable_cpus(), self._options.maps is not None
        left = filter(self._is_left, originals)
        for row in classify_all(self._classifier, left, load, workers=workers, maps=maps):
            self._writer.add(row)
            self._step(1)

    def _is_left(self, original: Original) -> bool:
        """Returns whether an image has no row yet; one that a run was killed over may still have to go."""
        if original.name not in self._done:
            return True
        path = original.path
        if isinstance(original, RemoteOriginal):
            return False
        if self._watch and (not self._watch.was_there(path) or _changed(path) > self._last_written):
            return True  # a camera may give the next image the name of the one before
        self._writer.settle_earlier(path, self._moved_before.get(path))
        return False


class _Writer:
    """Takes each image to its row and its place, several at once, in the order that loses nothing (see `sorter`)."""

    def __init__(
        self, results: Sequence[Results], sorter: Sorter | None, summary: ClassifySummary, maps: MapFolder | None
    ) -> None:
        self._maps = maps
        self._summary = summary
        self._results = results
        self._are_files = all(result.is_regular for result in results)
        self._sorter = sorter
        self._waiting: list[tuple[ImageResult[str], Placed | None]] = []
        self._begun = 0.0

    def add(self, row: ImageResult[Original]) -> None:
        """Takes one image; without a sorter its row is out at once."""
        if not self._waiting:
            self._begun = time.monotonic()
        result, placed = ImageResult(row.path.name, row.prediction, row.error), None
        if self._maps and row.prediction:
            try:
                self._maps.write(row.path.name, row.path.read_again(), row.prediction)
            except ImageError as error:
                say(f"{row.path.name}: no map: {error}", err=True, red=True)
        if self._sorter and row.prediction:
            try:
                placed = self._sorter.put(row.path, row.prediction.label)
            except ImageError as error:  # it has gone meanwhile
                result = ImageResult(row.path.name, None, str(error))
        self._waiting.append((result, placed))
        if not self._sorter or len(self._waiting) == TAIL or time.monotonic() - self._begun > _LONGEST_WAIT:
            self.flush()

    def settle_earlier(self, path: Path, target: Path | None) -> None:
        """Lets an image go that a run was killed over, after it had written its row; says which ones stay."""
        if not self._sorter or not self._sorter.moves:
            return
        try:
            if target:
                self._sorter.finish_earlier(path, target)
        except ImageError as error:
            self._summary.stayed += 1
            say(str(error), err=True, red=True)
            return
        if os.path.lexists(path) and not self._sorter.holds(path):
            self._summary.stayed += 1
            say(f"{path} stays: there is a row for an image of that name", err=True)

    def flush(self) -> None:
        """Writes the rows of what waits, and lets the originals go; a signal cuts none of it in two.

        Where somebody reads the rows, it does: a pipe that nobody empties would hold it back for ever.
        """
        with holding_signals() if self._are_files else nullcontext():
            self._flush()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if self._sorter:
            self._sorter.sync()
        for row, placed in waiting:
            for result in self._results:
                result.write(row, placed.target if placed else None)
            self._summary.count(row)
        if self._sorter:
            for result in self._results:
                result.sync()
            for _, placed in waiting:
                if placed:
                    self._finish(self._sorter, placed)

    def _finish(self, sorter: Sorter, placed: Placed) -> None:
        """Lets an original go; one that may not be removed is counted, and the rest goes on."""
        try:
            sorter.finish(placed)
        except ImageError as error:
            self._summary.stayed += 1
            say(str(error), err=True, red=True)


def _first_that_exists(originals: Iterator[Original], options: ClassifyOptions) -> Iterator[Original]:
    """Raises `DataError` where files with rows would be emptied for images none of which is there."""
    outputs = [path for path in (options.csv, options.jsonl) if path and is_filled(path)]
    if options.resume or not outputs:
        return originals
    missing: list[Original] = []
    for original in originals:
        if isinstance(original, RemoteOriginal) or os.path.lexists(original.path):
            return chain(missing, [original], originals)
        missing.append(original)
    raise DataError(f"{missing[0].path}: no such image or folder" if missing else "no images found")


def _find(
    options: ClassifyOptions, left_out: Counter[str] | None = None, *, is_quiet: bool = False
) -> Iterator[Original]:
    """Finds what is named, in that order: files, and addresses, which a list may not hold."""
    for are_remote, sources in groupby(options.sources, is_address):
        if are_remote:
            yield from (RemoteOriginal.from_address(each, keeps=options.maps is not None) for each in sources)
        else:
            found = find_images(
                sources, null=options.null, without=options.sort_to, left_out=left_out, is_quiet=is_quiet
            )
            yield from map(Original, found)


def _last_written(options: ClassifyOptions) -> float:
    """Returns when the rows of before were last added to, in seconds since 1970; 0 where there are none."""
    files = [path for path in (options.csv, options.jsonl) if path and os.path.isfile(path)]
    return max((path.stat().st_mtime for path in files), default=0.0)


def _changed(path: Path) -> float:
    """Returns when a file was changed, in seconds since 1970; 0 where it has gone."""
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0


def _open_watch(stack: ExitStack, options: ClassifyOptions) -> "FolderWatch":
    from catsdogs_edge.classify.watch import FolderWatch  # noqa: PLC0415 - an extra of its own

    watch = FolderWatch([Path(source) for source in options.sources], options.sort_to)
    stack.callback(watch.close)
    return watch


def _load(attempts: Attempts | None, original: Original, size: int) -> RgbImage:
    with attempts.reading(original.name) if attempts else nullcontext():
        try:
            return load_bytes(original.read(), size)
        except ImageError as error:
            raise ImageError(f"{error}{'' if 'catsdogs-cam' in str(error) else _hint(original)}") from error


def _hint(original: Original) -> str:
    """Says which command takes what is no image; nothing where none does."""
    if isinstance(original, RemoteOriginal):
        return ""
    path = original.path
    name = path.as_posix()
    is_stream = re.match(r"[a-z]+:/", name) is not None and not name.startswith(("http:/", "https:/"))
    is_camera = re.fullmatch(r"\d{1,2}|cam:.+|/dev/video.*", name) is not None
    if name.startswith(("http:/", "https:/")):  # as an argument, it would have been fetched
        return " (an address in a list is not fetched: give it as an argument)"
    if path.suffix.lower() in VIDEO_ENDINGS or is_stream or is_camera:
        return f" ({'a camera' if is_camera else 'a stream' if is_stream else 'a video'}: catsdogs-cam classifies it)"
    return ""


def _open_attempts(options: ClassifyOptions) -> Attempts | None:
    """Opens what `--resume` will need if this run is killed, where it can be resumed."""
    files = [path for path in (options.csv, options.jsonl) if path]
    return Attempts(files[0], resume=options.resume) if len(files) == 1 and files[0].is_file() else None


def _open_results(options: ClassifyOptions, info: ModelInfo) -> list[Results]:
    results: list[Results] = []
    if options.csv:
        sorting = options.sort_to is not None
        results.append(FileResults.open_csv(options.csv, info, sorting=sorting, resume=options.resume))
    if options.jsonl:
        results.append(FileResults.open_jsonl(options.jsonl, info, resume=options.resume))
    return results or [Lines(info.labels)]

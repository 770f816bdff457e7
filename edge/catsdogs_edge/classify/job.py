"""What `catsdogs-classify` does: finds images, classifies them, writes a row for each, sorts them into folders."""

import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from catsdogs_edge.classify.attempts import Attempts
from catsdogs_edge.classify.batching import ImageResult, classify_all
from catsdogs_edge.classify.maps import MapFolder
from catsdogs_edge.classify.options import ClassifyOptions
from catsdogs_edge.classify.remote import RemoteOriginal
from catsdogs_edge.classify.results import ClassifySummary, FileResults, Lines, Results
from catsdogs_edge.classify.resume import NOTHING, TAIL, Done
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

if TYPE_CHECKING:
    from catsdogs_edge.classify.watch import FolderWatch

_LONGEST_WAIT = 1.0  # seconds that a row waits for those that are written for good with it


def run_job(classifier: Classifier, info: ModelInfo, options: ClassifyOptions) -> ClassifySummary:
    """Classifies all images with a model that was loaded with `threads=1`; rows are out as soon as their batch is done.

    Raises `OutputError` where a file cannot be written, `DataError` where a list cannot be read or none of the images
    is there; the rows before are complete. The arguments of a `KeyboardInterrupt` or `SystemExit` hold the summary.
    """
    with ExitStack() as stack:
        summary = ClassifySummary(waits=options.watch)
        watch = _open_watch(stack, options) if options.watch else None
        found = iter(()) if watch else _first_that_exists(_find(options, summary.left_out), options)
        written = _last_written(options)
        results = _open_results(options, info)
        for result in results:
            stack.callback(result.close)
        done = results[0].done if options.resume else NOTHING
        mode = FileMode.MOVE if options.move else FileMode.COPY
        sorter = Sorter(options.sort_to, mode, info.labels) if options.sort_to else None
        attempts = _open_attempts(options)
        if attempts:
            stack.callback(attempts.close)
        if not watch:
            _begin(results)
        earlier = dict(done.moved)
        if sorter and sorter.moves:
            sorter.tidy(done.moved)
        # What comes through a pipe cannot be found twice, so not be counted first; what is still to come, never.
        can_count = all(os.path.isfile(source[1:]) for source in options.sources if is_list(source))
        can_count = can_count and not options.watch
        step = stack.enter_context(progress(_find(options) if can_count else None, done=len(done)))
        summary.resumed = len(done)
        writer = _Writer(results, sorter, summary, MapFolder(options.maps) if options.maps else None)
        stack.callback(writer.flush)
        addresses = options.addresses
        workers = options.threads or usable_cpus()

        def is_left(path: Path) -> bool:
            if path in addresses:
                return RemoteOriginal.from_address(addresses[path]).name not in done
            if watch and (not watch.was_there(path) or _changed(path) > written):
                return True  # a camera may give the next image the name of the one before
            return not writer.is_done(path, done, earlier)

        def classify(paths: Iterable[Path]) -> None:
            originals = (
                RemoteOriginal.from_address(addresses[path]) if path in addresses else Original(path)
                for path in paths
                if is_left(path)
            )
            load = partial(_load, attempts)
            maps = options.maps is not None
            for row in classify_all(classifier, originals, load, workers=workers, maps=maps):
                writer.add(row)
                step(1)

        try:
            if watch:
                say("Waiting for images; Ctrl-C ends", err=True)
                for number, finished in enumerate(watch):
                    if not number:  # rows of before are replaced when there are others
                        _begin(results)
                    classify(finished)
                    writer.flush()
                    watch.forget(path for path in finished if not os.path.lexists(path))
            else:
                classify(found)
        except (KeyboardInterrupt, SystemExit) as end:  # SystemExit: another signal
            end.args = (summary,)
            raise
    return summary


class _Writer:
    """Takes each image to its row and its place, several at once, in the order that loses nothing (see `sorter`)."""

    def __init__(
        self, results: Sequence[Results], sorter: Sorter | None, summary: ClassifySummary, maps: MapFolder | None
    ) -> None:
        self._maps = maps
        self._summary = summary
        self._results = results
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

    def is_done(self, path: Path, done: Done, earlier: Mapping[Path, Path]) -> bool:
        """Returns whether an image has its row; one that a run was killed over may still have to go."""
        if path not in done:
            return False
        if self._sorter and self._sorter.moves:
            try:
                if path in earlier:
                    self._sorter.finish_earlier(path, earlier[path])
            except ImageError as error:
                self._summary.stayed += 1
                say(str(error), err=True, red=True)
                return True
            if os.path.lexists(path) and not self._sorter.holds(path):
                self._summary.stayed += 1
                say(f"{path} stays: there is a row for an image of that name", err=True)
        return True

    def flush(self) -> None:
        """Writes the rows of what waits, and lets the originals go."""
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


def _first_that_exists(paths: Iterator[Path], options: ClassifyOptions) -> Iterator[Path]:
    """Raises `DataError` where files with rows would be emptied for images none of which is there."""
    outputs = [path for path in (options.csv, options.jsonl) if path and is_filled(path)]
    if options.resume or not outputs:
        return paths
    missing: list[Path] = []
    for path in paths:
        if os.path.lexists(path) or path in options.addresses:
            return chain(missing, [path], paths)
        missing.append(path)
    raise DataError(f"{missing[0]}: no such image or folder" if missing else "no images found")


def _find(options: ClassifyOptions, left_out: Counter[str] | None = None) -> Iterator[Path]:
    return find_images(options.sources, null=options.null, without=options.sort_to, left_out=left_out)


def _last_written(options: ClassifyOptions) -> float:
    """Returns when the rows of before were last added to, in seconds since 1970; 0 where there are none."""
    files = [path for path in (options.csv, options.jsonl) if path and os.path.isfile(path)]
    return max((path.stat().st_mtime for path in files), default=0.0)


def _begin(results: Sequence[Results]) -> None:
    for result in results:
        result.begin()


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
    with attempts.reading(original.path) if attempts else nullcontext():
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

"""What `catsdogs-classify` does: finds images, classifies them, writes a row for each, sorts them into folders."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from catsdogs_edge.classify.batching import ImageResult, classify_files
from catsdogs_edge.classify.options import ClassifyOptions
from catsdogs_edge.classify.results import ClassifySummary, FileResults, Lines, Results
from catsdogs_edge.classify.resume import NOTHING, skip_done
from catsdogs_edge.classify.sorter import FileMode, Sorter
from catsdogs_edge.errors import ImageError
from catsdogs_edge.images.discovery import find_images, is_list
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.info import ModelInfo
from catsdogs_edge.output.progress import progress
from catsdogs_edge.runtime.cpu import usable_cpus


def run_job(classifier: Classifier, info: ModelInfo, options: ClassifyOptions) -> ClassifySummary:
    """Classifies all images with a model that was loaded with `threads=1`; rows are out as soon as their batch is done.

    Raises `OutputError` where a file cannot be written, `DataError` where a list cannot be read; the rows before are
    complete. The arguments of a `KeyboardInterrupt` hold the summary.
    """
    with ExitStack() as stack:
        results = _open_results(options, info)
        for result in results:
            stack.callback(result.close)
        done = results[0].done if options.resume else NOTHING
        mode = FileMode.MOVE if options.move else FileMode.COPY
        sorter = Sorter(options.sort_to, mode, info.labels) if options.sort_to else None
        # What comes through a pipe cannot be found twice, so not be counted first.
        can_count = all(os.path.isfile(source[1:]) for source in options.sources if is_list(source))
        step = stack.enter_context(progress(_find(options) if can_count else None, done=len(done)))
        summary = ClassifySummary(resumed=len(done))
        workers = options.threads or usable_cpus()
        try:
            for found in classify_files(classifier, skip_done(_find(options), done), workers=workers):
                row, target = _sort(found, sorter)
                for result in results:
                    result.write(row, target)
                if sorter and target:
                    sorter.finish(row.path, target)  # the row is out: now the original may go
                summary.count(row)
                step(1)
        except KeyboardInterrupt as interrupt:
            interrupt.args = (summary,)
            raise
    return summary


def _sort(row: ImageResult[Path], sorter: Sorter | None) -> tuple[ImageResult[Path], Path | None]:
    """Puts an image into its folder; one that has gone meanwhile becomes a row with an error."""
    if sorter is None or row.prediction is None:
        return row, None
    try:
        return row, sorter.put(row.path, row.prediction.label)
    except ImageError as error:
        return ImageResult(row.path, None, str(error)), None


def _find(options: ClassifyOptions) -> Iterator[Path]:
    return find_images(options.sources, null=options.null, without=options.sort_to)


def _open_results(options: ClassifyOptions, info: ModelInfo) -> list[Results]:
    results: list[Results] = []
    if options.csv:
        sorting = options.sort_to is not None
        results.append(FileResults.open_csv(options.csv, info, sorting=sorting, resume=options.resume))
    if options.jsonl:
        results.append(FileResults.open_jsonl(options.jsonl, info, resume=options.resume))
    return results or [Lines(info.labels)]

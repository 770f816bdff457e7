"""What `catsdogs-classify` does: finds pictures, classifies them, writes a row for each, sorts them into folders."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from catsdogs_edge.classifier import Classifier
from catsdogs_edge.errors import ImageError
from catsdogs_edge.folder import Row, classify_files
from catsdogs_edge.pictures import find_pictures, is_list
from catsdogs_edge.progress import progress
from catsdogs_edge.results import FileResults, Lines, Results, Summary
from catsdogs_edge.resume import NOTHING, skip_done
from catsdogs_edge.sightings import Origin
from catsdogs_edge.sorting import How, Sorter


@dataclass(frozen=True, slots=True)
class Job:
    """What the user asked for."""

    sources: Sequence[str]
    """Pictures, folders, patterns, lists; see `find_pictures`."""
    null: bool = False
    """The names in lists end with NUL bytes."""
    csv: Path | None = None
    """File for CSV, `-` for standard output."""
    jsonl: Path | None = None
    """File for JSON Lines, likewise; with neither, lines for people."""
    resume: bool = False
    """Leave out what the one output file already holds."""
    sort_to: Path | None = None
    """Folder to sort the pictures into."""
    how: How = How.COPY
    """What happens to the originals then."""
    workers: int = 1
    """Batches in work at a time."""


def run_job(classifier: Classifier, origin: Origin, job: Job) -> Summary:
    """Does it; rows are out as soon as their batch is done.

    Raises:
        KeyboardInterrupt: The user stopped it; what was done is complete, and the summary is in its arguments.
        OutputError: A file cannot be written, or the disk is full; the rows before are complete.
        DataError: A list cannot be read.
    """
    with ExitStack() as stack:
        results = _open(job, origin)
        for result in results:
            stack.callback(result.close)
        done = results[0].done if job.resume else NOTHING
        sorter = Sorter(job.sort_to, job.how, origin.labels) if job.sort_to else None
        step = stack.enter_context(progress(_find(job) if _can_count(job) else None, done=len(done)))
        summary = Summary(resumed=len(done))
        try:
            for row in classify_files(classifier, skip_done(_find(job), done), workers=job.workers):
                sorted_row, target = _sort(row, sorter)
                for result in results:
                    result.write(sorted_row, target)
                if sorter and target:
                    sorter.finish(row.path, target)  # the row is out: now the original may go
                summary.count(sorted_row)
                step(1)
        except KeyboardInterrupt as interrupt:
            interrupt.args = (summary,)
            raise
    return summary


def _sort(row: Row[Path], sorter: Sorter | None) -> tuple[Row[Path], Path | None]:
    """Puts a picture into its folder; one that has gone meanwhile becomes a row with an error."""
    if sorter is None or row.prediction is None:
        return row, None
    try:
        return row, sorter.put(row.path, row.prediction.label)
    except ImageError as error:
        return Row(row.path, None, str(error)), None


def _can_count(job: Job) -> bool:
    """Tells whether what there is to do can be found twice: not what comes through a pipe."""
    return all(os.path.isfile(source[1:]) for source in job.sources if is_list(source))


def _find(job: Job) -> Iterator[Path]:
    return find_pictures(job.sources, null=job.null, without=job.sort_to)


def _open(job: Job, origin: Origin) -> list[Results]:
    results: list[Results] = []
    if job.csv:
        results.append(FileResults.open_csv(job.csv, origin, sorting=job.sort_to is not None, resume=job.resume))
    if job.jsonl:
        results.append(FileResults.open_jsonl(job.jsonl, origin, resume=job.resume))
    return results or [Lines(origin.labels)]

"""Classifies pictures by the million on a Ray cluster, or on the cores of one machine (https://docs.ray.io).

Ray Data hands shards of a manifest to a pool of actors and hands them out anew when one dies. An actor reads, decodes
and classifies the pictures of a shard and writes its part of the results, whole or not at all, under the shard's name.
So whatever is done twice replaces itself, and what is there is done: each picture has one row, whoever was killed.
"""

import json
import logging
import math
import os
import signal
import socket
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data
from ray.util.annotations import RayDeprecationWarning

from catsdogs_edge.batch_classifier import BatchClassifier
from catsdogs_edge.cpu import usable_cpus
from catsdogs_edge.errors import CatsDogsError, ImageError, OutputError, ProviderError
from catsdogs_edge.folder import in_batches
from catsdogs_edge.manifest import Listing, Shard, begin, list_pictures, read_names
from catsdogs_edge.progress import progress
from catsdogs_edge.results import Summary
from catsdogs_edge.rows import open_csv
from catsdogs_edge.storage import Store, is_uri, read_picture

_READERS = 8
"""Threads of each actor that fetch pictures ahead where they are behind URIs, and each takes its time."""

_PICTURES_AT_ONCE = 32
"""That are decoded and classified between two looks at what was fetched."""

_ATTEMPTS = 4
"""To do a shard whose worker dies of it, such as for lack of memory, before it is left for `--resume`."""

_SECONDS_TO_ANSWER = 10


@dataclass(frozen=True, slots=True)
class RayJob:
    """What the user asked for."""

    sources: Sequence[str]
    """Pictures, folders, patterns, lists, manifests, behind paths or URIs; see `list_pictures`."""
    out: str
    """Folder for the parts, a path or a URI; all workers must see it."""
    ending: str
    """`csv` or `parquet`."""
    model: str
    """The model file's SHA-256, in hexadecimal."""
    accept_all: bool = False
    """Never answer "neither"."""
    null: bool = False
    """The names in lists end with NUL bytes."""
    resume: bool = False
    """Go on with what is in `out`."""
    workers: int = 0
    """Cores to work on; 0 for all."""
    shard_size: int = 0
    """Pictures in a shard; 0: what suits the number of pictures and workers."""


def run_on_ray(classifier: BatchClassifier, job: RayJob) -> Summary:
    """Does it, on the cluster that `RAY_ADDRESS` names, or on this machine.

    Raises:
        KeyboardInterrupt: The user stopped it; finished shards are kept, and the summary is in its arguments.
        CatsDogsError: A source cannot be read, or the results cannot be written; finished shards are kept.
        OutputError: Also, a shard could not be finished, because its worker died each time.
        ProviderError: Ray cannot be reached, or its workers do not start.
    """
    store = Store(job.out)
    about = {"format": job.ending, "model": job.model, "accept_all": job.accept_all}
    listing = list_pictures(store, job.sources, about, null=job.null, resume=job.resume)
    left = _left(store, listing, job) if listing.shard_size else []
    done = listing.count - sum(shard.count for shard in left) if listing.shard_size else 0
    summary = Summary(resumed=done)
    if done == listing.count:
        return summary
    with _cluster(job.workers) as workers:
        if not listing.shard_size:
            listing = begin(store, listing, workers=workers, size=job.shard_size)
            left = listing.cut()
        _run(classifier, job, left, listing.base, workers, summary)
    if lost := _left(store, listing, job):
        raise OutputError(f"{len(lost)} parts are not in {store.place}, but were written: do all workers see it?")
    return summary


def _left(store: Store, listing: Listing, job: RayJob) -> list[Shard]:
    """Gives the shards whose parts are not there."""
    there = store.names()
    return [shard for shard in listing.cut() if shard.part(job.ending) not in there]


def _run(
    classifier: BatchClassifier, job: RayJob, shards: Sequence[Shard], base: str, workers: int, summary: Summary
) -> None:
    done = summary.resumed
    total = done + sum(shard.count for shard in shards)
    unfinished = {shard.number: shard for shard in shards}
    with progress(total, done=done) as step:
        try:
            for outcome in _stream(classifier, job, shards, base, workers):
                if outcome["bug"]:
                    raise RuntimeError(outcome["bug"])
                if outcome["error"]:
                    raise OutputError(outcome["error"])
                summary.add(json.loads(outcome["labels"]), outcome["failed"])
                step(unfinished.pop(outcome["number"]).count)
        except KeyboardInterrupt as interrupt:
            interrupt.args = (summary,)
            raise
    if unfinished:
        first = next(iter(unfinished.values()))
        raise OutputError(
            f"{len(unfinished)} of {len(shards)} shards are not done: their workers died {_ATTEMPTS} times "
            f"(of memory? the first is {first.part(job.ending)}, rows {first.first} to {first.first + first.count - 1} "
            f"of {first.file}); the others are done, --resume tries these again"
        )


def _stream(
    classifier: BatchClassifier, job: RayJob, shards: Sequence[Shard], base: str, workers: int
) -> Iterator[dict[str, Any]]:
    """Lets Ray Data stream the shards through a pool of actors; gives what became of each, as they end."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_consecutive_actor_init_deaths = _ATTEMPTS - 1
    context.max_errored_blocks = -1  # a worker that dies of a shard does not end the others; a bug comes as an outcome
    # Actors that hold every CPU starve all that Ray itself has to run, and the job hangs without a word (Ray 2.60).
    # So together they hold one less, though each works on a core of its own.
    share = max(workers - 1, 0.5) / workers
    with warnings.catch_warnings():
        # Ray 2.60 warns of the number of retries, for which it has no other name yet.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        dataset = ray.data.from_items([asdict(shard) for shard in shards], override_num_blocks=len(shards)).map_batches(
            _Worker,
            fn_constructor_args=(classifier, Store(job.out).place, job.ending),
            fn_constructor_kwargs={"base": base},
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(shards))),
            num_cpus=share,
            max_task_retries=_ATTEMPTS - 1,
        )
    try:
        yield from dataset.iter_rows()
    except ray.exceptions.ActorDiedError as error:
        raise ProviderError(f"Ray's workers die while they start: {_first_line(error)}") from error
    except ray.exceptions.RayError as error:
        raise ProviderError(f"Ray broke off; --resume goes on: {_first_line(error)}") from error


class _Worker:
    """An actor of Ray: does shards, one after the other."""

    def __init__(self, classifier: BatchClassifier, out: str, ending: str, *, base: str) -> None:
        granted = ray.get_runtime_context().get_assigned_resources().get("CPU", 1)
        classifier.threads = max(math.ceil(granted), 1)
        self._classifier = classifier
        self._store = Store(out)
        self._ending = ending
        self._base = base

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Does one, and says how it went; see `_stream`."""
        shard = Shard(**{name: values.tolist()[0] for name, values in batch.items()})
        outcome = {"number": shard.number, "labels": "{}", "failed": 0, "error": "", "bug": ""}
        try:
            outcome |= self._do(shard)
        except CatsDogsError as error:
            outcome["error"] = str(error)
        except Exception:  # noqa: BLE001 - the driver raises it; Ray would take it for a worker that died
            outcome["bug"] = traceback.format_exc()
        return {name: [value] for name, value in outcome.items()}

    def _do(self, shard: Shard) -> dict[str, Any]:
        names = read_names(shard)
        rows = [{"path": name, **row} for name, row in zip(names, self._classify(names), strict=True)]
        columns = ["path", *self._classifier.columns]
        with self._store.writing(shard.part(self._ending)) as path:
            (write_csv if self._ending == "csv" else write_parquet)(path, columns, rows)
        labels = Counter(row["label"] for row in rows if not row["error"])
        return {"labels": json.dumps(labels), "failed": len(rows) - labels.total()}

    def _classify(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        readers = _READERS if any(map(is_uri, names)) else 1
        pictures: list[bytes | ImageError] = []
        for fetched in in_batches(lambda chunk: [self._fetch(name) for name in chunk], names, readers):
            pictures += fetched
            if len(pictures) >= _PICTURES_AT_ONCE:
                yield from self._classifier.classify_bytes(pictures)
                pictures.clear()
        yield from self._classifier.classify_bytes(pictures)

    def _fetch(self, name: str) -> bytes | ImageError:
        try:
            return read_picture(name, self._base)
        except ImageError as error:
            return error


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    """Writes a part as `catsdogs-classify --csv` writes the whole."""
    out = open_csv(path, columns)
    for row in rows:
        out.write(row)
    out.close()


def write_parquet(path: Path, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    """Writes a part as Parquet: strings, and float64 for what is a number; a path that is not UTF-8 is escaped."""
    text = {"path", "label", "error"}
    schema = pa.schema([(name, pa.string() if name in text else pa.float64()) for name in columns])
    shown = [{**row, "path": os.fsencode(row["path"]).decode("utf-8", "backslashreplace")} for row in rows]
    pq.write_table(pa.Table.from_pylist(shown, schema), path)


@contextmanager
def _cluster(wanted: int) -> Iterator[int]:
    """Joins the cluster that the environment names, or starts one on this machine; gives the number of workers."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    here = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": usable_cpus(), "include_dashboard": False}
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what went wrong is said at the end, in one line
    _check_address(os.environ.get("RAY_ADDRESS", ""))
    try:
        handler = signal.getsignal(signal.SIGTERM)
        ray.init(**here, log_to_driver=False, configure_logging=False)
        signal.signal(signal.SIGTERM, handler)  # Ray has its own, which ends with another exit code
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ProviderError(f"Ray does not start, or cannot be reached: {_first_line(error)}") from error
    # Ray prints what befell workers to standard output, which is not for that; it is in its log files, too.
    with Path(os.devnull).open("w", encoding="utf-8") as nothing, redirect_stdout(nothing):
        try:
            cpus = max(int(ray.cluster_resources().get("CPU", 1)), 1)
            yield min(wanted or cpus, cpus)
        finally:
            ray.shutdown()


def _check_address(address: str) -> None:
    """Knocks at the door that `RAY_ADDRESS` names: where nobody answers, Ray 2.60 waits for ever."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), timeout=_SECONDS_TO_ANSWER).close()
        except OSError as error:
            raise ProviderError(f"RAY_ADDRESS is {address}, where nobody answers: {error}") from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]

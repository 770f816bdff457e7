"""Classifies images by the million on a Ray cluster, or on the cores of one machine (https://docs.ray.io).

A task of Ray is a shard of a manifest: a worker reads, decodes and classifies its images and writes its part of the
results, whole or not at all, under the shard's name. Ray hands a task out anew when its worker dies. So whatever is
done twice replaces itself, and what is there is done: each image has one row, whoever was killed.

Tasks, not Ray Data: its executor and its three actors took a twentieth of two cores, and 3 s to start (see
benchmarks/RESULTS.md), for streaming what is but the numbers of shards.
"""

import logging
import os
import signal
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import ray

from catsdogs_edge.classify.batching import in_batches
from catsdogs_edge.classify.options import ClassifyOptions
from catsdogs_edge.classify.results import ClassifySummary
from catsdogs_edge.cluster.batch_classifier import BatchClassifier
from catsdogs_edge.cluster.manifest import Listing, Shard, begin, list_images, read_names
from catsdogs_edge.cluster.storage import Store, is_uri, read_image
from catsdogs_edge.errors import CatsDogsError, ImageError, OutputError, ProviderError
from catsdogs_edge.output.progress import progress
from catsdogs_edge.output.rows import CsvRows
from catsdogs_edge.runtime.children import neutral_folder, protect_descendants
from catsdogs_edge.runtime.cpu import usable_cpus

_READERS = 8  # threads of each worker that fetch images from URIs
_IMAGES_AT_ONCE = 32  # decoded and classified between two looks at what was fetched
_ATTEMPTS = 4  # at a shard whose worker dies, such as for lack of memory, before it is left for --resume
_SECONDS_TO_ANSWER = 10
# Errors of a task whose worker died at each attempt
_DEATHS = (
    ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.NodeDiedError,
    ray.exceptions.LocalRayletDiedError,
)  # fmt: skip


def run_on_ray(classifier: BatchClassifier, options: ClassifyOptions, parts: str) -> ClassifySummary:
    """Classifies images on the cluster that `RAY_ADDRESS` names, or on this machine; finished shards are kept.

    All workers must see `parts`, a folder or its URI. Raises `ProviderError` where Ray cannot be reached, breaks off,
    or its workers die of one shard after the other; `OutputError` where one shard's worker died each time; the
    arguments of a `KeyboardInterrupt` hold the summary.
    """
    store = Store(parts)
    about = {"format": options.format.value, "model": classifier.model_sha256, "accept_all": options.accept_all}
    listing = list_images(store, options.sources, about, null=options.null, resume=options.resume)
    left = _left(store, listing, options) if listing.shard_size else []
    done = listing.count - sum(shard.count for shard in left) if listing.shard_size else 0
    summary = ClassifySummary(resumed=done)
    if done == listing.count:
        store.remove_half_written()
        return summary
    with _cluster(options.threads) as workers:
        if not listing.shard_size:
            listing = begin(store, listing, workers=workers, size=options.shard_size)
            left = listing.cut()
        task = ray.remote(num_cpus=1, max_retries=_ATTEMPTS - 1)(_do_shard)  # once: Ray keeps what each call makes
        job = _Job(task, ray.put(classifier), options, store, listing.base, workers)
        _run(job, left, summary)
    if lost := _left(store, listing, options):
        raise OutputError(f"{len(lost)} parts are not in {store.location}, but were written: do all workers see it?")
    store.remove_half_written()  # by workers that died
    return summary


def _left(store: Store, listing: Listing, options: ClassifyOptions) -> list[Shard]:
    """Returns the shards whose parts are not there."""
    there = store.names()
    return [shard for shard in listing.cut() if shard.part(options.format.value) not in there]


@dataclass(frozen=True, slots=True)
class _Job:
    """What is the same for all shards."""

    task: Any
    classifier: ray.ObjectRef
    options: ClassifyOptions
    store: Store
    base: str
    workers: int

    def do(self, shard: Shard) -> ray.ObjectRef:
        """Hands a shard to a worker; returns what will hold the outcome."""
        # The classifier is in a list: it is fetched when it is asked for.
        return self.task.remote(shard, [self.classifier], self.store.location, self.options.format.value, self.base)


def _run(job: _Job, shards: Sequence[Shard], summary: ClassifySummary) -> None:
    done = summary.resumed
    total = done + sum(shard.count for shard in shards)
    unfinished = {shard.number: shard for shard in shards}
    with progress(total, done=done) as step:
        try:
            for outcome in _stream(job, shards):
                if outcome["error"]:
                    raise OutputError(outcome["error"])
                summary.add(outcome["labels"], outcome["failed"])
                step(unfinished.pop(outcome["number"]).count)
        except KeyboardInterrupt as interrupt:
            interrupt.args = (summary,)
            raise
    if unfinished:
        first = next(iter(unfinished.values()))
        raise OutputError(
            f"{len(unfinished)} of {len(shards)} shards are not done: their workers died {_ATTEMPTS} times "
            f"(of memory? the first is {first.part(job.options.format.value)}, rows {first.first} to "
            f"{first.first + first.count - 1} of {first.file}); the others are done, --resume tries these again"
        )


def _stream(job: _Job, shards: Sequence[Shard]) -> Iterator[dict[str, Any]]:
    """Keeps the workers busy; yields what became of each shard, as they end, but for those whose worker died."""
    waiting = iter(shards)
    running: set[ray.ObjectRef] = set()
    lost = 0
    while True:
        try:
            # Twice as many as there are cores: none waits for the next, and a cluster that can grow sees why.
            most = job.options.threads or 2 * _count_cpus()
            running |= {job.do(shard) for shard in islice(waiting, max(most - len(running), 0))}
            if not running:
                return
            (ended,), _ = ray.wait(list(running))
            running.remove(ended)
            outcome = ray.get(ended)
        except _DEATHS as error:
            lost += 1
            if lost > 2 * job.workers:
                raise ProviderError(
                    f"{lost} shards, one after the other, killed their workers {_ATTEMPTS} times each "
                    f"({_first_line(error)}): look into Ray's logs; --resume goes on"
                ) from error
            continue
        except ray.exceptions.RayTaskError as error:
            if "failed to import on the worker" not in str(error):
                raise
            raise ProviderError(
                f"the workers of the cluster cannot import catsdogs ({str(error).strip().rpartition(chr(10))[2]}): "
                "install the same version on each of its machines"
            ) from error
        except ray.exceptions.RayError as error:
            raise ProviderError(f"Ray broke off; --resume goes on: {_first_line(error)}") from error
        lost = 0
        yield outcome


def _do_shard(shard: Shard, classifier: list[ray.ObjectRef], out: str, ending: str, base: str) -> dict[str, Any]:
    """Does a shard in one of Ray's workers; returns its number, the count of each label, of failures, an error."""
    outcome = {"number": shard.number, "labels": Counter(), "failed": 0, "error": ""}
    try:
        opened = _open(*classifier)
        names = read_names(shard)
        rows = [{"path": name, **row} for name, row in zip(names, _classify(opened, names, base), strict=True)]
        with Store(out).writing(shard.part(ending)) as path:
            (write_csv if ending == "csv" else write_parquet)(path, ["path", *opened.columns], rows)
    except (CatsDogsError, OSError) as error:
        return outcome | {"error": str(error)}
    labels = Counter(row["label"] for row in rows if not row["error"])
    return outcome | {"labels": labels, "failed": len(rows) - labels.total()}


@lru_cache(maxsize=1)
def _open(classifier: ray.ObjectRef) -> BatchClassifier:
    """Fetches the classifier, once in each worker."""
    fetched: BatchClassifier = ray.get(classifier)
    return fetched


def _classify(classifier: BatchClassifier, names: Sequence[str], base: str) -> Iterator[dict[str, Any]]:
    def fetch(name: str) -> bytes | ImageError:
        try:
            return read_image(name, base)
        except ImageError as error:
            return error

    readers = _READERS if any(map(is_uri, names)) else 1
    images: list[bytes | ImageError] = []
    for fetched in in_batches(lambda chunk: [fetch(name) for name in chunk], names, readers):
        images += fetched
        if len(images) >= _IMAGES_AT_ONCE:
            yield from classifier.classify_bytes(images)
            images.clear()
    yield from classifier.classify_bytes(images)


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    """Writes a part as `catsdogs-classify --csv` writes the whole."""
    out = CsvRows(path, columns)
    out.begin()
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
    """Joins the cluster that the environment names, or starts one on this machine; yields the number of workers."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_task_oom_retries", str(_ATTEMPTS - 1))  # else without end
    # Without an address, Ray would join whatever cluster was last started on this machine.
    here = {"address": "local", "num_cpus": usable_cpus(), "include_dashboard": False}
    named = os.environ.get("RAY_ADDRESS", "")
    logging.getLogger("ray").setLevel(logging.CRITICAL)  # what went wrong is said at the end, in one line
    _check_address(named)
    try:
        handler = signal.getsignal(signal.SIGTERM)
        protect_descendants()
        with neutral_folder():  # Ray lets its workers import what lies where it starts
            ray.init(**({} if named else here), log_to_driver=False, configure_logging=False)
        signal.signal(signal.SIGTERM, handler)  # Ray has its own, which ends with another exit code
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        if isinstance(error, ray.exceptions.AuthenticationError) or "InvalidAuthToken" in str(error.__cause__):
            raise ProviderError(
                "the cluster asks for a token: set RAY_AUTH_MODE=token, and copy ~/.ray/auth_token from its head"
            ) from error
        raise ProviderError(f"Ray does not start, or cannot be reached: {_first_line(error)}") from error
    # Ray prints what befell workers to standard output, which is not for that; it is in its log files, too.
    with Path(os.devnull).open("w", encoding="utf-8") as nothing, redirect_stdout(nothing):
        try:
            cpus = _count_cpus()
            yield min(wanted or cpus, cpus)
        finally:
            ray.shutdown()


def _count_cpus() -> int:
    """Counts the CPUs of the cluster as it is now."""
    return max(int(ray.cluster_resources().get("CPU", 1)), 1)


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

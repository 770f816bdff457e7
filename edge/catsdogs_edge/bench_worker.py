"""One measurement of `catsdogs-bench`, in a process of its own: what ran before disturbs what runs after.

python -m catsdogs_edge.bench_worker KIND MODEL PROVIDER THREADS FOLDER PICTURES
"""

import json
import sys
import time
from collections.abc import Sequence
from itertools import cycle, islice, pairwise
from pathlib import Path

import numpy as np

from catsdogs_edge.classifier import Classifier
from catsdogs_edge.decision import decide
from catsdogs_edge.folder import classify_files
from catsdogs_edge.image import decode, read, read_bytes, resize
from catsdogs_edge.pictures import find_pictures
from catsdogs_edge.providers import Provider

STEPS = ("decode", "resize", "inference", "decision")
"""Of one picture, in order."""

PERCENTILES = (50, 95, 99)
"""Of latencies."""

_WARM_UP = 10
"""Pictures before the clock counts: the first ones fill caches and arenas."""


def measure_latency(classifier: Classifier, pictures: Sequence[Path], count: int) -> dict[str, float]:
    """Classifies one picture after the other, and times each step.

    Args:
        classifier: The model.
        pictures: Readable files; taken in turn.
        count: How many to time.

    Returns:
        Milliseconds, by names such as `inference p95`; `all` is a picture from its bytes to its label.
    """
    contract = classifier.contract
    files = [read_bytes(path) for path in pictures]
    times: list[list[float]] = []
    for data in islice(cycle(files), _WARM_UP + count):
        moments = [time.perf_counter()]
        image = decode(data)
        moments.append(time.perf_counter())
        batch = resize(image, contract.image_size)[np.newaxis]
        moments.append(time.perf_counter())
        probabilities, familiarity = classifier.assess(batch)
        moments.append(time.perf_counter())
        score = None if familiarity is None else float(familiarity[0])
        decide(probabilities[0].tolist(), score, contract.classes, classifier.threshold)
        moments.append(time.perf_counter())
        times.append([1000 * (end - start) for start, end in pairwise(moments)])
    steps = np.array(times[_WARM_UP:])
    columns = {**dict(zip(STEPS, steps.T, strict=True)), "all": steps.sum(axis=1)}
    return {
        f"{name} p{percent}": float(np.percentile(values, percent))
        for name, values in columns.items()
        for percent in PERCENTILES
    }


def measure_folder(classifier: Classifier, pictures: Sequence[Path], count: int, workers: int) -> dict[str, float]:
    """Classifies files as `catsdogs-classify` does, each worker on a core.

    Returns:
        Pictures a second, and the largest memory of this process in MB (2**20 bytes) where the system tells.
    """
    list(classify_files(classifier, islice(cycle(pictures), _WARM_UP), workers=workers))
    start = time.perf_counter()
    done = sum(1 for _ in classify_files(classifier, islice(cycle(pictures), count), workers=workers))
    return {"pictures a second": done / (time.perf_counter() - start)} | _peak_memory()


def _peak_memory() -> dict[str, float]:
    """Gives the largest resident set in MB (2**20 bytes), where the system tells as Linux does.

    Not by `resource.getrusage`, in which Linux counts the memory of the process that started this one, too.
    """
    status = Path("/proc/self/status")
    if not status.is_file():
        return {}
    lines = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
    return {"memory MB": int(lines["VmHWM"].split()[0]) / 2**10} if "VmHWM" in lines else {}


def _main(kind: str, model: str, provider: str, threads: str, folder: str, pictures: str) -> None:
    count, paths = int(pictures), list(find_pictures([folder]))
    if kind == "first":
        classifier = Classifier.load(model, Provider(provider))
        classifier.classify([read(paths[0])])
        figures = {}
    elif kind == "folder":
        figures = measure_folder(Classifier.load(model, Provider(provider), threads=1), paths, count, int(threads))
    else:
        figures = measure_latency(Classifier.load(model, Provider(provider), threads=int(threads)), paths, count)
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    _main(*sys.argv[1:])

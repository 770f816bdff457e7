"""One measurement of `catsdogs-bench`, in a process of its own: what ran before disturbs what runs after.

python -m catsdogs_edge.bench.worker KIND MODEL PROVIDER THREADS FOLDER IMAGES
"""

import json
import sys
import time
from collections.abc import Sequence
from itertools import cycle, islice, pairwise
from pathlib import Path

import numpy as np
from onnxruntime import InferenceSession

from catsdogs_edge.classify.batching import classify_files
from catsdogs_edge.images.decode import RgbBatch, decode, read, read_bytes, resize
from catsdogs_edge.images.discovery import find_images
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.scores import Scores
from catsdogs_edge.runtime.providers import ON_CORES, Provider

STEPS = ("decode", "resize", "inference", "decision")
"""The timed steps of one image, in order."""

RATE = "pictures a second"  # as in measurements of before
"""Name of the figure for folders in the JSON of `catsdogs-bench`."""

DEVICE_SHARE = "device share"
"""Name of the figure for the share of the time in which a GPU, or another device, works on a folder: 0 to 1."""

PERCENTILES = (50, 95, 99)

_WARM_UP = 10  # images before the clock counts: the first ones fill caches and arenas


def measure_latency(classifier: Classifier, images: Sequence[Path], count: int) -> dict[str, float]:
    """Classifies `count` images one after the other; returns milliseconds by names such as `inference p95`.

    `all` is an image from its bytes to its label.
    """
    contract = classifier.contract
    files = [read_bytes(path) for path in images]
    times: list[list[float]] = []
    for data in islice(cycle(files), _WARM_UP + count):
        moments = [time.perf_counter()]
        image = decode(data)
        moments.append(time.perf_counter())
        batch = resize(image, contract.image_size)[np.newaxis]
        moments.append(time.perf_counter())
        outputs = classifier.predict(batch)
        moments.append(time.perf_counter())
        classifier.decide(outputs)
        moments.append(time.perf_counter())
        times.append([1000 * (end - start) for start, end in pairwise(moments)])
    steps = np.array(times[_WARM_UP:])
    columns = {**dict(zip(STEPS, steps.T, strict=True)), "all": steps.sum(axis=1)}
    return {
        f"{name} p{percent}": float(np.percentile(values, percent))
        for name, values in columns.items()
        for percent in PERCENTILES
    }


class TimedClassifier(Classifier):
    """A classifier that adds up the seconds in which a device runs its model, one batch after the other."""

    seconds = 0.0

    def _run_alone(self, session: InferenceSession, names: list[str], batch: RgbBatch) -> list[Scores]:
        start = time.perf_counter()
        try:
            return super()._run_alone(session, names, batch)
        finally:
            self.seconds += time.perf_counter() - start


def measure_folder(classifier: TimedClassifier, images: Sequence[Path], count: int, workers: int) -> dict[str, float]:
    """Classifies files as `catsdogs-classify` does; returns the rate, and the largest memory of this process in MB.

    Where the model runs on a device, which works on one batch at a time, also the share of time in which it does.
    """
    list(classify_files(classifier, islice(cycle(images), _WARM_UP), workers=workers))
    classifier.seconds, start = 0.0, time.perf_counter()
    done = sum(1 for _ in classify_files(classifier, islice(cycle(images), count), workers=workers))
    seconds = time.perf_counter() - start
    share = {} if classifier.provider in ON_CORES else {DEVICE_SHARE: classifier.seconds / seconds}
    return {RATE: done / seconds} | share | _peak_memory()


def _peak_memory() -> dict[str, float]:
    """Returns the largest resident set in MB (2**20 bytes), where the system tells as Linux does.

    Not by `resource.getrusage`, in which Linux counts the memory of the process that started this one, too.
    """
    status = Path("/proc/self/status")
    if not status.is_file():
        return {}
    lines = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
    return {"memory MB": int(lines["VmHWM"].split()[0]) / 2**10} if "VmHWM" in lines else {}


def _main(kind: str, model: str, provider: str, threads: str, folder: str, images: str) -> None:
    count, paths = int(images), list(find_images([folder]))
    if kind == "first":
        classifier = Classifier.load(model, Provider(provider))
        classifier.classify([read(paths[0])])
        figures = {}
    elif kind == "folder":
        figures = measure_folder(TimedClassifier.load(model, Provider(provider), threads=1), paths, count, int(threads))
    else:
        figures = measure_latency(Classifier.load(model, Provider(provider), threads=int(threads)), paths, count)
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    _main(*sys.argv[1:])

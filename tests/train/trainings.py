"""One training that tests on several devices, and of resuming, compare theirs with; the same on each backend."""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TypeAlias

import pytest

from catsdogs_edge.images.drawings import write_folder
from tests.conftest import make_once

HEAD, FINE_TUNING = 2, 2
"""Epochs."""

OPTIONS = (
    "--image-size 32 --batch-size 8 --train-size 34 --val-size 13 --views 2 --unfreeze conv5 --precision float32 "
    f"--epochs {HEAD} --fine-tune-epochs {FINE_TUNING}"
).split()
"""The last batch is of 2 images to train, 5 to validate; of 6 in fine-tuning, which sees 4 of the 25 rooms as well."""

ON_DEVICE = ("--views-on", "device")
"""Views are drawn in the training step, as on a GPU."""

COMMAND = """
import gc, os, sys
gc.disable()
if os.environ["KERAS_BACKEND"] == "tensorflow":
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
else:
    class NotInstalled:
        def find_spec(self, name, *_):
            if name == "tensorflow":
                raise ModuleNotFoundError(name=name)
    sys.meta_path.insert(0, NotInstalled())
from catsdogs_train.cli import main
sys.argv[0] = "catsdogs-train"
main()
"""
"""The command: on TensorFlow with two CPUs, for which there is no environment variable; on JAX without TensorFlow."""

Process: TypeAlias = "subprocess.Popen[str]"


class Training:
    """The command, with images of cats, dogs and rooms, and a small network.

    Attributes:
        images: Folder of the cats and dogs.
    """

    def __init__(self, for_all: Path, weights: Path) -> None:
        self._for_all = for_all
        folder = make_once(for_all, "trained-on", _draw)
        self.images = folder / "images"
        self._given = ["--weights", str(weights), "--other", str(folder / "rooms"), *OPTIONS]

    def start(
        self,
        backend: str,
        out: Path,
        *options: str,
        images: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> Process:
        """Starts it on a backend, with more options, or other images, in a changed environment."""
        arguments = [str(images or self.images), *self._given, "--out", str(out), *options]
        variables = {"KERAS_BACKEND": backend, **(environment or {})}
        command = [sys.executable, "-c", COMMAND, *arguments]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | variables)

    def undisturbed(self, backend: str, *options: str) -> tuple[Path, float]:
        """Returns the run of one device, and the seconds that it took; skips the test without that backend."""
        pytest.importorskip(backend)

        def make(folder: Path) -> None:
            started = time.monotonic()
            finish(self.start(backend, folder / "run", *options))
            (folder / "seconds").write_text(str(time.monotonic() - started))

        folder = make_once(self._for_all, "-".join(["undisturbed", backend, *options]), make)
        return folder / "run", float((folder / "seconds").read_text())


def _draw(folder: Path) -> None:
    write_folder(folder / "images", per_class=24)
    write_folder(folder / "rooms", per_class=25, kinds=["room"])


def finish(*processes: Process) -> None:
    """Waits until all have ended well."""
    said = []
    for process in processes:
        with process:
            said.append(process.communicate(timeout=300)[1])
    assert [process.returncode for process in processes] == [0] * len(processes), said


def history(run: Path) -> list[dict[str, str]]:
    """Reads the figures of all epochs, but for those of speed."""
    with (run / "history.csv").open(newline="") as stream:
        timed = {"seconds", "pictures_per_second"}
        return [{name: value for name, value in row.items() if name not in timed} for row in csv.DictReader(stream)]

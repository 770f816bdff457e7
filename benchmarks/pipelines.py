"""Files to labels, end to end: `catsdogs-classify` against what packaged pipelines and a hand-made one do.

    python -m benchmarks.pipelines compare RUN/ FOLDER

in the environment of `benchmarks.peers`, after `prepare`. Each pipeline runs in a process of its own on the whole
folder, and on one image; the difference is what the images take, without the start.

    --openvino ENV/bin/catsdogs-classify       our command in an environment with edge-openvino, too
    --ultralytics ENV/bin/python FOLDER        and Ultralytics, made ready as `ultralytics_pipeline.py` says
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.processes import Cost, machine, measure, per_image
from catsdogs_edge.classify.batching import load_files
from catsdogs_edge.images.discovery import find_images
from catsdogs_edge.runtime.cpu import usable_cpus

app = typer.Typer(add_completion=False)

_OURS = "catsdogs-classify"
_OPENVINO = "catsdogs-classify, edge-openvino"
_PIPELINES = {
    "OpenVINO, asynchronous, by hand": "by_hand",
    "OpenVINO model_api, one after the other": "model_api",
    "OpenVINO model_api, infer_batch": "model_api_batch",
}
_ULTRALYTICS = {"Ultralytics, predict": "one", "Ultralytics, predict in batches": "batch"}
_ULTRALYTICS_SCRIPT = Path(__file__).with_name("ultralytics_pipeline.py")


@app.command()
def compare(
    run: Annotated[Path, typer.Argument(help="Run folder, prepared by benchmarks.peers.")],
    folder: Annotated[Path, typer.Argument(help="Images.")],
    runs: Annotated[int, typer.Option(help="Runs of each, in turn; medians are shown.")] = 5,
    openvino: Annotated[
        Path | None, typer.Option(metavar="COMMAND", help="catsdogs-classify of an environment with edge-openvino.")
    ] = None,
    ultralytics: Annotated[
        tuple[Path, Path] | None, typer.Option(metavar="PYTHON FOLDER", help="Of its environment; with its models.")
    ] = None,
) -> None:
    """Measure and print a table."""
    images = list(find_images([folder]))
    command = Path(sys.executable).with_name(_OURS)
    commands: dict[str, list[str | Path]] = {}
    for part, what in (("one", images[0]), ("all", folder)):
        commands[f"{part}: {_OURS}"] = [command, what, "--model", run / "onnx" / "model.int8.onnx", "--csv", "-"]
        if openvino:
            commands[f"{part}: {_OPENVINO}"] = [openvino, *commands[f"{part}: {_OURS}"][1:]]
        for name, worker in _PIPELINES.items():
            commands[f"{part}: {name}"] = [sys.executable, "-m", "benchmarks.pipelines", "work", worker, run, what]
        if ultralytics:
            python, models = ultralytics
            for name, kind in _ULTRALYTICS.items():
                commands[f"{part}: {name}"] = [python, _ULTRALYTICS_SCRIPT, "work", models, kind, what]
        for name in ("decode", "inference"):
            commands[f"{part}: {name}"] = [sys.executable, "-m", "benchmarks.pipelines", "work", name, run, what]
    costs = measure(commands, runs)

    def each(name: str) -> float:
        return per_image(costs[f"one: {name}"], costs[f"all: {name}"], len(images))

    ours = each(_OURS)
    columns = ("pipeline", "ms an image", "images a second", "x", "memory MB")
    table = Table(*columns, title=f"{len(images)} images; {machine()}")
    for column in table.columns[1:]:
        column.justify = "right"
    for name in [_OURS, *([_OPENVINO] if openvino else []), *_PIPELINES, *(_ULTRALYTICS if ultralytics else [])]:
        cost: Cost = costs[f"all: {name}"]
        values = (f"{each(name):.2f}", f"{1000 / each(name):.1f}", f"{each(name) / ours:.2f}", f"{cost.memory:.0f}")
        table.add_row(name, *values)
    Console(width=110).print(table)
    decode, inference = each("decode"), each("inference")
    bound = (decode + inference) / usable_cpus()
    typer.echo(f"on one core: decode and resize {decode:.2f} ms, inference {inference:.2f} ms; ", nl=False)
    typer.echo(f"their sum shared by {usable_cpus()} cores: {bound:.2f} ms, of which ours is {ours / bound:.2f} x")


@app.command(hidden=True)
def work(name: str, run: Path, what: Path) -> None:
    """Run one pipeline on images, and print a label for each."""
    _WORKERS[name](run, list(find_images([what])))
    sys.stdout.flush()
    os._exit(0)  # model_api 0.4.5 aborts in its clean-up after `infer_batch`


def _by_hand(run: Path, images: list[Path]) -> None:
    """As OpenVINO's guide to throughput says: its hint, as many requests as it wants; decoding in our threads."""
    import openvino as ov  # noqa: PLC0415

    compiled = ov.Core().compile_model(run / "peers" / "nncf.xml", "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"})
    answers: dict[Path, int] = {}
    queue = ov.AsyncInferQueue(compiled)
    queue.set_callback(lambda request, path: answers.update({path: int(request.get_output_tensor(0).data.argmax())}))
    size = compiled.input().partial_shape[1].get_length()
    for chunk in load_files(images, size):
        for path, item in chunk:
            if isinstance(item, np.ndarray):
                queue.start_async([item[np.newaxis]], path)
    queue.wait_all()
    for path in images:
        sys.stdout.write(f"{path},{answers.get(path)}\n")


def _model_api(run: Path, images: list[Path], *, one_by_one: bool = True) -> None:
    """As model_api's README has it: `create_model`, then a call with what OpenCV reads; or `infer_batch`."""
    from model_api.models import ClassificationModel  # noqa: PLC0415

    options = {"labels": ["cat", "dog"], "resize_type": "standard", "reverse_input_channels": True}
    model = ClassificationModel.create_model(
        str(run / "peers" / "nncf.xml"), "Classification", configuration=options, device="CPU",
        max_num_requests=1 if one_by_one else 0, nstreams="1" if one_by_one else str(usable_cpus()),
    )  # fmt: skip
    if one_by_one:
        results = [model(cv2.imread(str(path))) for path in images]
    else:
        results = model.infer_batch([cv2.imread(str(path)) for path in images])
    for path, result in zip(images, results, strict=True):
        sys.stdout.write(f"{path},{result.top_labels[0].id}\n")


def _decode(_: Path, images: list[Path]) -> None:
    """Decodes and resizes on one core."""
    from catsdogs_edge.images.decode import load  # noqa: PLC0415

    for path in images:
        load(path, 224)


def _inference(run: Path, images: list[Path]) -> None:
    """Runs the model on one core, in batches as the command does."""
    from catsdogs_edge.classify.batching import BATCH_SIZE  # noqa: PLC0415
    from catsdogs_edge.model.classifier import Classifier  # noqa: PLC0415

    classifier = Classifier.load(run / "onnx" / "model.int8.onnx", threads=1)
    size = classifier.contract.image_size
    batch = np.random.default_rng(0).integers(0, 256, (BATCH_SIZE, size, size, 3), np.uint8)
    for start in range(0, len(images), BATCH_SIZE):
        classifier.predict(batch[: len(images) - start])


_WORKERS = {
    "by_hand": _by_hand,
    "model_api": _model_api,
    "model_api_batch": lambda run, images: _model_api(run, images, one_by_one=False),
    "decode": _decode,
    "inference": _inference,
}

if __name__ == "__main__":
    app()

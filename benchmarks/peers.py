"""The same network on the engines that a user would pick instead: latency and accuracy, side by side.

    pip install -c constraints.txt -e '.[edge-headless,export,peers]'
    python -m benchmarks.peers prepare RUN/ --calibrate train/
    python -m benchmarks.peers compare RUN/ val/ --png benchmarks/peers.png

`prepare` converts and quantizes what `catsdogs-train` made as each engine's own documentation says: OpenVINO's
converter and NNCF, that of TensorFlow Lite for LiteRT, ONNX Runtime's `quantize_static` with its defaults. RUN/onnx is
from `catsdogs-export --int8`; "our graph" says that an engine got the graph that is in there, which computes less.
`compare --openvino ENV/bin/python` takes our file in an environment with edge-openvino along. Every engine gets one
uint8 image and gives logits, on all cores, each in processes of its own, in turn.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.processes import machine, median_ms
from catsdogs_edge.evaluation.charts import BLUE, ORANGE
from catsdogs_edge.images.decode import RgbBatch, load, load_batch
from catsdogs_edge.images.discovery import find_images, find_labelled
from catsdogs_edge.runtime.cpu import usable_cpus

Run: TypeAlias = Callable[[RgbBatch], NDArray[Any]]
"""One image, uint8 RGB (1, S, S, 3), to its logits, (1, C)."""

_Item = TypeVar("_Item")

app = typer.Typer(add_completion=False)

_CALIBRATION = 128
_RUNS, _WARM_UP = 150, 30
_ON_OPENVINO = "catsdogs INT8, edge-openvino"


@dataclass(frozen=True, slots=True)
class Engine:
    """One way to run the network."""

    file: str
    """In the run folder."""
    open: Callable[[Path], Run]
    """Gets it ready, on all cores."""


def _catsdogs(path: Path, provider: str = "cpu") -> Run:
    from catsdogs_edge.model.classifier import Classifier  # noqa: PLC0415
    from catsdogs_edge.runtime.providers import Provider  # noqa: PLC0415

    classifier = Classifier.load(path, Provider(provider))
    return lambda batch: classifier.predict(batch).logits


def open_file(path: Path) -> Run:
    """Opens a model with the engine that its suffix names: `.onnx`, catsdogs; `.xml`, OpenVINO; `.tflite`, LiteRT."""
    return {".onnx": _catsdogs, ".xml": _openvino, ".tflite": _litert}[path.suffix](path)


def _onnxruntime(path: Path) -> Run:
    import onnxruntime as ort  # noqa: PLC0415

    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda batch: np.asarray(session.run(["logits"], {"image": batch})[0])


def _openvino(path: Path) -> Run:
    import openvino as ov  # noqa: PLC0415

    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = ov.Core().compile_model(path, "CPU", options)
    (logits,) = (output for output in compiled.outputs if "logits" in output.get_names())
    request = compiled.create_infer_request()
    return lambda batch: np.array(request.infer([batch], share_inputs=True)[logits])


def _opencv(path: Path) -> Run:
    import cv2  # noqa: PLC0415

    network = cv2.dnn.readNetFromONNX(str(path))

    def run(batch: RgbBatch) -> NDArray[Any]:
        network.setInput(batch)
        return np.asarray(network.forward("logits"))

    return run


def _litert(path: Path) -> Run:
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415

    interpreter = Interpreter(str(path), num_threads=usable_cpus())
    interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(batch: RgbBatch) -> NDArray[Any]:
        interpreter.set_tensor(taken["index"], batch)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(given["index"]))

    return run


def _keras(path: Path) -> Run:
    import keras  # noqa: PLC0415
    import tensorflow as tf  # noqa: PLC0415

    network = keras.saving.load_model(path, compile=False)
    answer = tf.function(lambda batch: network(batch, training=False))
    return lambda batch: np.asarray(answer(batch)[0])


ENGINES = {
    "catsdogs INT8": Engine("onnx/model.int8.onnx", _catsdogs),
    _ON_OPENVINO: Engine("onnx/model.int8.onnx", partial(_catsdogs, provider="openvino")),
    "OpenVINO INT8 (NNCF)": Engine("peers/nncf.xml", _openvino),
    "OpenVINO INT8 (NNCF), our graph": Engine("peers/nncf-lean.xml", _openvino),
    "LiteRT INT8": Engine("peers/model.tflite", _litert),
    "ONNX Runtime INT8, defaults": Engine("peers/defaults.onnx", _onnxruntime),
    "catsdogs fp32": Engine("onnx/model.onnx", _catsdogs),
    "OpenVINO fp32": Engine("peers/fp32.xml", _openvino),
    "OpenCV DNN fp32, our graph": Engine("onnx/model.onnx", _opencv),
    "Keras fp32 (tf.function)": Engine("model.keras", _keras),
}


@app.command()
def prepare(
    run: Annotated[Path, typer.Argument(help="Run folder with onnx/ in it.")],
    calibrate: Annotated[Path, typer.Option(help="Training images to calibrate on.")],
) -> None:
    """Quantize the network with each engine's own tool."""
    import keras  # noqa: PLC0415
    import nncf  # noqa: PLC0415
    import openvino as ov  # noqa: PLC0415
    import tensorflow as tf  # noqa: PLC0415
    from onnxruntime.quantization import CalibrationDataReader, quantize_static  # noqa: PLC0415
    from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: PLC0415

    images = calibration_files(calibrate)
    network = keras.saving.load_model(run / "model.keras", compile=False)
    size = network.input_shape[1]
    batches = [load(path, size)[np.newaxis] for path in images]
    out = run / "peers"
    out.mkdir(exist_ok=True)

    @tf.function(input_signature=[tf.TensorSpec((1, size, size, 3), tf.uint8)])  # type: ignore[untyped-decorator]
    def logits(batch: Any) -> Any:
        return {"logits": network(batch, training=False)[0]}

    holder = tf.Module()
    holder.logits, holder.weights = logits, [variable.value for variable in network.variables]
    tf.saved_model.save(holder, str(out / "saved_model"), signatures=logits)
    plain, lean = ov.convert_model(out / "saved_model"), ov.Core().read_model(run / "onnx" / "model.onnx")
    ov.save_model(plain, out / "fp32.xml", compress_to_fp16=False)
    for name, model in (("nncf.xml", plain), ("nncf-lean.xml", lean)):
        mixed = nncf.QuantizationPreset.MIXED
        ov.save_model(nncf.quantize(model, nncf.Dataset(batches), preset=mixed), out / name, compress_to_fp16=False)

    (out / "model.tflite").write_bytes(quantize_for_litert(holder, batches))

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left: Iterator[RgbBatch] = iter(batches)

        def get_next(self) -> dict[str, RgbBatch] | None:
            batch = next(self._left, None)
            return None if batch is None else {"image": batch}

    quant_pre_process(run / "onnx" / "model.onnx", out / "folded.onnx", skip_symbolic_shape=True)
    quantize_static(out / "folded.onnx", out / "defaults.onnx", Reader())


def calibration_files(folder: Path) -> list[Path]:
    """Chooses images of a folder, evenly."""
    return _spread(list(find_images([folder])), _CALIBRATION)


def _spread(items: Sequence[_Item], count: int) -> list[_Item]:
    """Takes so many, evenly; not the one of the export, which not every environment here has."""
    return [items[int(index)] for index in np.linspace(0, len(items) - 1, min(count, len(items)))]


def quantize_for_litert(holder: Any, batches: Iterable[RgbBatch]) -> bytes:
    """Quantizes as the documentation of TensorFlow Lite says; `holder` has the `tf.function` `logits`, and weights."""
    import tensorflow as tf  # noqa: PLC0415

    converter = tf.lite.TFLiteConverter.from_concrete_functions([holder.logits.get_concrete_function()], holder)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([batch] for batch in batches)
    return bytes(converter.convert())


@app.command()
def compare(
    run: Annotated[Path, typer.Argument(help="Run folder, prepared.")],
    val: Annotated[Path, typer.Argument(help="Labelled images.")],
    rounds: Annotated[int, typer.Option(help="Processes of each for the latency, in turn.")] = 7,
    labelled: Annotated[int, typer.Option(help="Images for the accuracy.")] = 1000,
    png: Annotated[Path | None, typer.Option(help="Draw accuracy against latency into this file.")] = None,
    openvino: Annotated[
        Path | None,
        typer.Option(metavar="PYTHON", help="Of an environment with edge-openvino, which is one more engine."),
    ] = None,
) -> None:
    """Measure and print a table."""
    engines = dict.fromkeys(ENGINES, Path(sys.executable))
    if openvino:
        engines[_ON_OPENVINO] = openvino
    else:
        del engines[_ON_OPENVINO]
    answers = {name: _ask(python, "accuracy", name, run, val, labelled) for name, python in engines.items()}
    judged = {name: answer["accuracy"] for name, answer in answers.items()}
    latencies: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(rounds):
        for name, values in latencies.items():
            values.append(_ask(engines[name], "latency", name, run)["milliseconds"])
    table = Table("engine", "median ms", "smallest", "largest", "x", "right labels", title=f"One image; {machine()}")
    for column in table.columns[1:]:
        column.justify = "right"
    medians = {name: statistics.median(values) for name, values in latencies.items()}
    for name, values in latencies.items():
        times = (medians[name], min(values), max(values), medians[name] / medians["catsdogs INT8"])
        table.add_row(name, *(f"{value:.2f}" for value in times), f"{judged[name]:.2%}")
    Console(width=110).print(table)
    if png:
        _draw([(name, medians[name], judged[name]) for name in engines], int(answers["catsdogs INT8"]["images"]), png)


@app.command(hidden=True)
def work(
    what: str,
    name: str,
    run: Path,
    val: Annotated[str, typer.Argument()] = "",
    labelled: Annotated[int, typer.Argument()] = 0,
) -> None:
    """Measure one thing in this process."""
    engine = ENGINES[name]
    answer = engine.open(run / engine.file)
    size = json.loads((run / "run.json").read_text())["image_size"]
    if what == "latency":
        batch = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)
        typer.echo(json.dumps({"milliseconds": median_ms(partial(answer, batch), _RUNS, _WARM_UP)}))
        return
    _, found = find_labelled(Path(val))
    right = [int(answer(load_batch([path], size)).argmax()) == label for path, label in _spread(found, labelled)]
    typer.echo(json.dumps({"accuracy": float(np.mean(right)), "images": len(right)}))


def _ask(python: Path, what: str, name: str, run: Path, *more: object) -> dict[str, float]:
    command = [str(python), "-m", "benchmarks.peers", "work", what, name, str(run), *map(str, more)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _draw(points: list[tuple[str, float, float]], labelled: int, path: Path) -> None:
    """Draws accuracy against latency; ours filled."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    for index, (name, latency, accuracy) in enumerate(sorted(points, key=lambda point: point[1])):
        ours = name.startswith("catsdogs")
        axes.scatter(
            latency, 100 * accuracy, s=70, marker="osP^DvX*ph"[index], label=f"{name}: {latency:.1f} ms",
            color=BLUE if ours else "white", edgecolors=BLUE if ours else ORANGE, linewidths=1.5,
        )  # fmt: skip
    axes.set(title=f"The same network, one image at a time; {machine()}")
    axes.set(xlabel="latency (ms), median; less is better", ylabel=f"right labels of {labelled} photographs (%)")
    axes.set_xscale("log")
    axes.set_xticks([10, 20, 30, 50, 100], ["10", "20", "30", "50", "100"])
    middle = 50 * (min(point[2] for point in points) + max(point[2] for point in points))
    axes.set_ylim(middle - 1.5, middle + 1)  # so that one image more or less looks like what it is
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9, loc="lower center", ncols=2)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    app()

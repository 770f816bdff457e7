"""Shows what `catsdogs-bench` measured: tables in a terminal, and a plot."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from catsdogs_edge.bench.measure import Bench, ModelFigures, changes
from catsdogs_edge.bench.worker import DEVICE_SHARE, PERCENTILES, RATE, STEPS
from catsdogs_edge.output.files import atomic_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLUE, _GREY, _DARK = "#0072B2", "#999999", "#333333"
# Okabe and Ito's palette, which colour-blind people can tell apart
_COLOURS = ("#56B4E9", "#009E73", _BLUE, "#E69F00")
_BY_THREADS = "inference p50, "
_FEW_ROUNDS = 3
_BUSY = 0.1  # share of the CPUs


def show(bench: Bench) -> None:
    """Prints tables."""
    console = Console(width=110, highlight=False)
    console.print(bench.machine, markup=False)
    console.print(", ".join(f"{name} {number}" for name, number in bench.versions.items()))
    console.print(f"medians of {bench.rounds} processes, {bench.images} images in each")
    if busy := describe_busy(bench):
        console.print(busy, style="bold", markup=False)
    for model in bench.models:
        console.print()
        placed = ", ".join(f"{count} operators on {name}" for name, count in model.operators.items())
        console.print(f"{model.model}: {model.precision.value} on {model.provider} ({placed})", markup=False)
        console.print(_steps(model))
        for line in _lines(model):
            console.print(f"  {line}", markup=False)


def describe_busy(bench: Bench) -> str:
    """Returns a warning where other programs were at work; nothing where the machine was quiet, or does not say."""
    if bench.busy is None or bench.busy < _BUSY:
        return ""
    share = f"{100 * bench.busy:.0f} %"
    return f"the machine was busy: other programs used {share} of the CPUs; figures are slower than they could be"


def compare_lines(bench: Bench, before: Bench) -> list[str]:
    """Explains what has changed since an earlier measurement, model by model."""
    differences = {
        "machine": (before.machine, bench.machine),
        "images": (f"{before.images} of {before.source}", f"{bench.images} of {bench.source}"),
        "versions": (before.versions, bench.versions),
    }
    lines = [f"other {name} then: {then}, now {now}" for name, (then, now) in differences.items() if then != now]
    if min(bench.rounds, before.rounds) < _FEW_ROUNDS:
        lines.append(f"with fewer than {_FEW_ROUNDS} rounds, noise looks like a change")
    lines += [f"{when}: {busy}" for when, what in (("then", before), ("now", bench)) if (busy := describe_busy(what))]
    for model in bench.models:
        old = _same(model, bench.models, before.models)
        if old is None:
            lines.append(f"{model.model} on {model.provider}: not in the earlier measurement of {before.date}")
            continue
        changed = changes(model, old)
        lines.append(f"{model.model}, since {before.date}: " + ("" if changed else "no change beyond the noise"))
        lines += [f"  {line}" for line in changed]
    return lines


def _same(model: ModelFigures, now: Sequence[ModelFigures], before: Sequence[ModelFigures]) -> ModelFigures | None:
    """Finds a model in an earlier measurement: by its path, else by its name where that is clear."""
    for name in (str, lambda path: Path(path).name):
        here, there = (
            [item for item in models if name(item.model) == name(model.model) and item.provider == model.provider]
            for models in (now, before)
        )
        if len(here) == len(there) == 1:
            return there[0]
    return None


def plot(bench: Bench, path: Path) -> None:
    """Draws the medians of the tables to a PNG file: of one model each step, of several where they differ."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - only who wants a plot needs it

    rows = len(bench.models) if len(bench.models) > 1 else len(STEPS) + 1
    figure = Figure(figsize=(11, 2.1 + 0.62 * rows), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    if len(bench.models) > 1:
        _draw_models(bench.models, left, right)
    else:
        _draw_model(bench.models[0], left, right)
    title = f"{bench.machine}\nmedians of {bench.rounds} processes, {bench.images} images in each"
    figure.suptitle("\n".join(filter(None, (title, describe_busy(bench)))), fontsize=10)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


def _draw_model(model: ModelFigures, left: "Axes", right: "Axes") -> None:
    """Draws the steps of one image, and the latency by number of threads."""
    steps = [*STEPS, "all"]
    for row, (step, colour) in enumerate(zip(steps, (*_COLOURS, _GREY), strict=True)):
        half, slow = (model.median(f"{step} {which}") or 0.0 for which in ("p50", "p95"))
        left.barh(row, half, height=0.6, color=colour)
        left.plot([half, max(slow, half)], [row, row], color=_DARK, linewidth=1.5)
        left.annotate(
            f"{half:.2f}, p95 {slow:.2f}", (max(slow, half), row), (5, 0), textcoords="offset points", va="center"
        )
    left.set_yticks(range(len(steps)), steps)
    left.set_title(_short(model, [model]).replace("\n", ": "), parse_math=False)  # it has the name of a file
    left.set_xlabel("ms: median, line to the 95th percentile")
    _tidy(left, 0.35)
    threads = _by_threads(model)
    bars = right.bar(list(threads), list(threads.values()), width=0.5, color=_BLUE)
    right.bar_label(bars, fmt="%.2f", padding=3)
    first, memory = model.median("first answer s"), model.median("memory MB")
    facts = [f"a folder: {model.median(RATE) or 0:.1f} images a second on all cores{_device_share(model)}"]
    facts += [f"{memory:.0f} MB at most"] if memory else []
    facts += [f"first answer after {first:.2f} s"] if first else []
    right.set(title="Inference by threads (ms)", xlabel="\n".join(facts))
    right.margins(x=0.3, y=0.2)


def _draw_models(models: Sequence[ModelFigures], left: "Axes", right: "Axes") -> None:
    """Draws where the time of an image goes, and how many images of a folder are done in a second."""
    names = [_short(model, models) for model in models]
    rows = range(len(names))
    start = [0.0] * len(names)
    for step, colour in zip(STEPS, _COLOURS, strict=True):
        widths = [model.median(f"{step} p50") or 0.0 for model in models]
        left.barh(rows, widths, left=start, height=0.6, color=colour, label=step)
        start = [one + other for one, other in zip(start, widths, strict=True)]
    for row, (model, end) in enumerate(zip(models, start, strict=True)):
        half, slow = (model.median(f"all {which}") or 0.0 for which in ("p50", "p95"))
        left.plot([end, max(slow, end)], [row, row], color=_GREY, linewidth=2)
        left.annotate(
            f"{half:.2f}, p95 {slow:.2f}", (max(slow, end), row), (5, 0), textcoords="offset points", va="center"
        )
    left.set(title="One image after the other", xlabel="ms: median of each step, grey to the 95th percentile")
    left.set_yticks(list(rows), names, parse_math=False)
    _tidy(left, 0.3)
    left.legend(loc="lower right", ncols=len(STEPS), bbox_to_anchor=(1.0, 1.12), frameon=False, fontsize=9)
    bars = right.barh(rows, [model.median(RATE) or 0.0 for model in models], height=0.6, color=_BLUE)
    right.bar_label(bars, fmt="%.1f", padding=4)
    right.set(title="A folder, on all cores", xlabel="images per second")
    right.set_yticks([])
    _tidy(right, 0.15)


def _tidy(axes: "Axes", margin: float) -> None:
    """Leaves room for words behind bars that lie, the first on top."""
    axes.margins(x=margin)
    axes.set_xlim(left=0)
    axes.invert_yaxis()


def _by_threads(model: ModelFigures) -> dict[str, float]:
    """Returns the median latency of the inference for each number of threads."""
    return {
        name.removeprefix(_BY_THREADS).removesuffix(" threads"): statistics.median(values)
        for name, values in model.figures.items()
        if name.endswith(" threads")
    }


def _steps(model: ModelFigures) -> Table:
    table = Table("ms", *(f"p{percent}" for percent in PERCENTILES))
    for column in table.columns[1:]:
        column.justify = "right"
    for step in (*STEPS, "all"):
        values = [model.median(f"{step} p{percent}") for percent in PERCENTILES]
        table.add_row(step, *("-" if value is None else f"{value:.2f}" for value in values))
    return table


def _device_share(model: ModelFigures) -> str:
    """Says how much of the time the device works; nothing where the model runs on the cores."""
    share = model.median(DEVICE_SHARE)
    return "" if share is None else f", the device works {share:.0%} of the time"


def _lines(model: ModelFigures) -> list[str]:
    threads = [f"{count}: {value:.2f} ms" for count, value in _by_threads(model).items()]
    memory = model.median("memory MB")
    return [
        f"threads       {', '.join(threads)}",
        f"folder        {model.median(RATE) or 0:.1f} images a second on all cores{_device_share(model)}"
        + (f", {memory:.0f} MB at most" if memory else ""),
        f"first answer  {model.median('first answer s'):.2f} s after the start of the process",
    ]


def _short(model: ModelFigures, models: Sequence[ModelFigures]) -> str:
    """Names a model in a plot: the file, with its folders where another one is called so."""
    path = Path(model.model)
    alone = sum(Path(item.model).name == path.name for item in models) == 1
    name = path.name if alone else model.model
    return f"{name}\n{model.precision.value}, {model.provider.removesuffix('ExecutionProvider')}"

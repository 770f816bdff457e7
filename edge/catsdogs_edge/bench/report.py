"""Shows what `catsdogs-bench` measured: tables in a terminal, and a plot."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from catsdogs_edge.bench.measure import Bench, ModelFigures, changes
from catsdogs_edge.bench.worker import PERCENTILES, RATE, STEPS
from catsdogs_edge.output.files import atomic_file

_BLUE, _GREY = "#0072B2", "#999999"
# Okabe and Ito's palette, which colour-blind people can tell apart
_COLOURS = ("#56B4E9", "#009E73", _BLUE, "#E69F00")
_FEW_ROUNDS = 3


def show(bench: Bench) -> None:
    """Prints tables."""
    console = Console(width=110, highlight=False)
    console.print(bench.machine, markup=False)
    console.print(", ".join(f"{name} {number}" for name, number in bench.versions.items()))
    console.print(f"medians of {bench.rounds} processes, {bench.images} images in each")
    for model in bench.models:
        console.print()
        placed = ", ".join(f"{count} operators on {name}" for name, count in model.operators.items())
        console.print(f"{model.model}: {model.precision.value} on {model.provider} ({placed})", markup=False)
        console.print(_steps(model))
        for line in _lines(model):
            console.print(f"  {line}", markup=False)


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
    """Draws where the time of an image goes, and how many images of a folder are done in a second, to a PNG file."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - only who wants a plot needs it

    names = [_short(model, bench.models) for model in bench.models]
    figure = Figure(figsize=(11, 1.9 + 0.75 * len(names)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    rows = range(len(names))
    start = [0.0] * len(names)
    for step, colour in zip(STEPS, _COLOURS, strict=True):
        widths = [model.median(f"{step} p50") or 0.0 for model in bench.models]
        left.barh(rows, widths, left=start, height=0.6, color=colour, label=step)
        start = [one + other for one, other in zip(start, widths, strict=True)]
    for row, (model, end) in enumerate(zip(bench.models, start, strict=True)):
        slow = model.median("all p95") or 0.0
        left.plot([end, max(slow, end)], [row, row], color=_GREY, linewidth=2)
        left.annotate(
            f"{end:.1f}, p95 {slow:.1f}", (max(slow, end), row), (5, 0), textcoords="offset points", va="center"
        )
    left.set(title="One image after the other", xlabel="latency (ms): median of each step, grey to the 95th percentile")
    left.set_yticks(list(rows), names, parse_math=False)
    left.margins(x=0.3)
    left.set_xlim(left=0)
    left.invert_yaxis()
    left.legend(loc="lower right", ncols=len(STEPS), bbox_to_anchor=(1.0, 1.12), frameon=False, fontsize=9)
    rates = [model.median(RATE) or 0.0 for model in bench.models]
    bars = right.barh(rows, rates, height=0.6, color=_BLUE)
    right.bar_label(bars, fmt="%.0f", padding=4)
    right.set(title="A folder, on all cores", xlabel="images per second")
    right.set_yticks([])
    right.margins(x=0.15)
    right.invert_yaxis()
    figure.suptitle(bench.machine, fontsize=10)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


def _steps(model: ModelFigures) -> Table:
    table = Table("ms", *(f"p{percent}" for percent in PERCENTILES))
    for column in table.columns[1:]:
        column.justify = "right"
    for step in (*STEPS, "all"):
        values = [model.median(f"{step} p{percent}") for percent in PERCENTILES]
        table.add_row(step, *("-" if value is None else f"{value:.2f}" for value in values))
    return table


def _lines(model: ModelFigures) -> list[str]:
    threads = [
        f"{name.removeprefix('inference p50, ').removesuffix(' threads')}: {statistics.median(values):.2f} ms"
        for name, values in model.figures.items()
        if name.endswith(" threads")
    ]
    memory = model.median("memory MB")
    return [
        f"threads       {', '.join(threads)}",
        f"folder        {model.median(RATE) or 0:.1f} images a second on all cores"
        + (f", {memory:.0f} MB at most" if memory else ""),
        f"first answer  {model.median('first answer s'):.2f} s after the start of the process",
    ]


def _short(model: ModelFigures, models: Sequence[ModelFigures]) -> str:
    """Names a model in a plot: the file, with its folders where another one is called so."""
    path = Path(model.model)
    alone = sum(Path(item.model).name == path.name for item in models) == 1
    name = path.name if alone else model.model
    return f"{name}\n{model.precision.value}, {model.provider.removesuffix('ExecutionProvider')}"

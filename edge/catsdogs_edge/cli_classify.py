"""The command `catsdogs-classify`.

OpenCV and ONNX Runtime are imported inside the call, so that `--help` answers at once.
"""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from catsdogs_edge.command import examples, make_app, run
from catsdogs_edge.files import check_outputs
from catsdogs_edge.options import AcceptAll, CsvFile, JsonlFile, ModelFile, RunsOn
from catsdogs_edge.providers import Provider
from catsdogs_edge.shipped import MODEL

if TYPE_CHECKING:
    from catsdogs_edge.results import Summary

_app = make_app()


class Engine(StrEnum):
    """What drives the work."""

    LOCAL = "local"
    """This process, on the cores of this machine."""
    RAY = "ray"
    """A Ray cluster, or one that is started here for the purpose."""


class Format(StrEnum):
    """Of the parts of results."""

    CSV = "csv"
    PARQUET = "parquet"


def main() -> None:
    """Entry point of `catsdogs-classify`."""
    run(_app, extra="edge", quiet=True)


@_app.command(
    epilog=examples(
        "catsdogs-classify holiday/",
        "catsdogs-classify holiday/ --csv labels.csv --resume",
        "catsdogs-classify holiday/ --move sorted/",
        "catsdogs-classify '**/*.jpg' --model run/onnx/model.int8.onnx",
        "find / -name '*.jpg' -print0 | catsdogs-classify - --null --jsonl labels.jsonl",
        "catsdogs-classify archive.parquet --engine ray --parts s3://bucket/labels --resume",
    )
)
def _classify(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Pictures, folders, patterns in quotes, @FILE with names, '-' for names on standard input. With "
            "--engine ray also URIs of the same, and manifests: .parquet or .csv files with a column of names."
        ),
    ],
    model: ModelFile = MODEL,
    provider: RunsOn = Provider.AUTO,
    threads: Annotated[int, typer.Option(min=0, max=4096, help="Cores to work on; 0 for all that may be used.")] = 0,
    accept_all: AcceptAll = False,
    csv: CsvFile = None,
    jsonl: JsonlFile = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the output file: leave out the pictures that it holds.")
    ] = False,
    copy: Annotated[Path | None, typer.Option(help="Copy each picture into a folder for its label in here.")] = None,
    move: Annotated[Path | None, typer.Option(help="Move it there instead; nothing is ever overwritten.")] = None,
    null: Annotated[
        bool, typer.Option("--null", "-0", help="Names in lists end with NUL bytes, as 'find -print0' writes them.")
    ] = False,
    engine: Annotated[
        Engine, typer.Option(help="What drives the work: this process, or Ray, on this machine or RAY_ADDRESS.")
    ] = Engine.LOCAL,
    parts: Annotated[
        str | None, typer.Option(metavar="PLACE", help="With ray: folder, or URI of one, for the parts of the results.")
    ] = None,
    format_: Annotated[Format, typer.Option("--format", help="With ray: of the parts.")] = Format.PARQUET,
    shard_size: Annotated[
        int,
        typer.Option(min=0, max=10**6, help="With ray: pictures in a part; 0 for what suits their number."),
    ] = 0,
) -> None:
    """Classify pictures and folders of pictures.

    A picture that cannot be read is a row with its error. Exit code 3 says that there was one, 1 that nothing could
    be classified.
    """
    if copy and move:
        raise typer.BadParameter("either --copy or --move, not both")
    if engine is Engine.RAY:
        if parts is None or csv or jsonl or copy or move:
            raise typer.BadParameter("--engine ray writes to --parts alone, without --csv, --jsonl, --copy and --move")
        _classify_on_ray(
            sources, model, provider, parts, format_=format_, accept_all=accept_all, null=null, resume=resume,
            workers=threads, shard_size=shard_size,
        )  # fmt: skip
    if parts is not None or shard_size or format_ is not Format.PARQUET:
        raise typer.BadParameter("--parts, --format and --shard-size go with --engine ray")
    if resume and (csv is None) == (jsonl is None):
        raise typer.BadParameter("--resume goes with one output file: --csv or --jsonl")
    from catsdogs_edge.batch import Job, run_job  # noqa: PLC0415
    from catsdogs_edge.classifier import Classifier  # noqa: PLC0415
    from catsdogs_edge.cpu import usable_cpus  # noqa: PLC0415
    from catsdogs_edge.sightings import Origin  # noqa: PLC0415
    from catsdogs_edge.sorting import How  # noqa: PLC0415

    classifier = Classifier.load(model, provider, threads=1, accept_all=accept_all)  # each worker has one
    origin = Origin.of(classifier, model)
    check_outputs([csv, jsonl, copy, move], [model, *sources])
    how, workers = How.MOVE if move else How.COPY, threads or usable_cpus()
    job = Job(sources, null, csv, jsonl, resume, copy or move, how, workers)
    _end(lambda: run_job(classifier, origin, job), origin.describe(), can_resume=bool(csv or jsonl))


def _classify_on_ray(
    sources: list[str], model: Path, provider: Provider, parts: str, *, format_: Format, accept_all: bool, null: bool,
    resume: bool, workers: int, shard_size: int,
) -> NoReturn:  # fmt: skip
    """Does the same on Ray, which takes seconds to import, and ends the command."""
    if provider not in {Provider.AUTO, Provider.CPU}:
        raise typer.BadParameter(f"--engine ray works on CPUs, not on --provider {provider.value}")
    from catsdogs_edge.batch_classifier import BatchClassifier  # noqa: PLC0415
    from catsdogs_edge.on_ray import RayJob, run_on_ray  # noqa: PLC0415
    from catsdogs_edge.sightings import Origin  # noqa: PLC0415

    classifier = BatchClassifier(model, Provider.CPU, accept_all=accept_all)
    origin = Origin.of(classifier.classifier, model)
    check_outputs([None if "://" in parts else Path(parts)], [model, *sources])
    job = RayJob(sources, parts, format_.value, origin.about()["model"], accept_all, null, resume, workers, shard_size)
    _end(lambda: run_on_ray(classifier, job), f"{origin.describe()}, by Ray", can_resume=True)


def _end(work: Callable[[], "Summary"], where: str, *, can_resume: bool) -> NoReturn:
    """Works, says what came of it, and ends the command."""
    try:
        summary = work()
    except KeyboardInterrupt as interrupt:
        hint = "; --resume goes on" if can_resume else ""
        typer.echo(f"Interrupted: {interrupt.args[0].describe()}{hint}" if interrupt.args else "Interrupted", err=True)
        raise typer.Exit(130) from interrupt
    typer.echo(f"{summary.describe()}; {where}", err=True)
    raise typer.Exit(summary.exit_code)

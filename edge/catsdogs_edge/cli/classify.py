"""The command `catsdogs-classify`; OpenCV and ONNX Runtime are imported inside the call: `--help` answers at once."""

import os
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from catsdogs_edge.classify.options import ClassifyOptions, Engine, PartFormat, is_address
from catsdogs_edge.cli.app import command, make_app
from catsdogs_edge.cli.process import run
from catsdogs_edge.errors import ExitCode, ModelError
from catsdogs_edge.output.files import check_outputs
from catsdogs_edge.output.terminal import say
from catsdogs_edge.runtime.providers import Provider

if TYPE_CHECKING:
    from catsdogs_edge.classify.results import ClassifySummary

_app = make_app()
main = partial(run, _app, extra="edge", quiet=True)


@command(
    _app,
    ClassifyOptions,
    "catsdogs-classify holiday/",
    "catsdogs-classify holiday/ --csv labels.csv --resume",
    "catsdogs-classify holiday/ --move sorted/",
    "catsdogs-classify uploads/ --watch --move sorted/",
    "catsdogs-classify '**/*.jpg' --model run/onnx/model.int8.onnx",
    "find / -name '*.jpg' -print0 | catsdogs-classify - --null --jsonl labels.jsonl",
    "catsdogs-classify archive.parquet --engine ray --parts s3://bucket/labels --resume",
)
def _classify(options: ClassifyOptions) -> None:
    """Classify images and folders of images.

    An image that cannot be read is a row with its error. Exit code 3 says that there was one, 1 that nothing could
    be classified.
    """
    _check_usage(options)
    if options.engine is Engine.RAY:
        _classify_on_ray(options)
    from catsdogs_edge.images.discovery import check_apart  # noqa: PLC0415
    from catsdogs_edge.model.classifier import Classifier  # noqa: PLC0415 - first: deeper, NumPy takes 60 ms more
    from catsdogs_edge.model.info import ModelInfo  # noqa: PLC0415

    classifier = Classifier.load(options.model, options.provider, threads=1, accept_all=options.accept_all)
    info = ModelInfo.from_classifier(classifier, options.model)
    check_outputs([options.csv, options.jsonl, options.sort_to, options.maps], [options.model, *options.sources])
    if options.maps:
        check_apart("--maps", options.maps, options.sources)
        if not classifier.has_maps:
            raise ModelError(f"{options.model} cannot say where its answers come from: export it again")
    from catsdogs_edge.classify.job import run_job  # noqa: PLC0415

    if options.watch:  # an extra of its own, which may be missing: before any folder is made
        import_module("catsdogs_edge.classify.watch")

    _finish(lambda: run_job(classifier, info, options), info.describe(), can_resume=bool(options.csv or options.jsonl))


def _check_usage(options: ClassifyOptions) -> None:
    """Refuses options that do not go together."""
    to_files = options.csv or options.jsonl or options.copy or options.move or options.maps
    if options.sort_to and any(map(is_address, options.sources)):
        raise typer.BadParameter("--copy and --move sort files, not what lies on a web server")
    if options.null and not any(source == "-" or source.startswith("@") for source in options.sources):
        raise typer.BadParameter("--null goes with a list of names: '-' or '@FILE'")
    if options.copy and options.move:
        raise typer.BadParameter("either --copy or --move, not both")
    if options.watch and options.engine is Engine.RAY:
        raise typer.BadParameter("--watch works on this machine, without --engine ray")
    if options.engine is Engine.RAY:
        if options.parts is None or to_files:
            raise typer.BadParameter("--engine ray writes to --parts alone: no --csv, --jsonl, --copy, --move, --maps")
        if options.provider not in {Provider.AUTO, Provider.CPU}:
            raise typer.BadParameter(f"--engine ray works on CPUs, not on --provider {options.provider.value}")
        return
    if options.parts is not None or options.shard_size or options.format is not PartFormat.PARQUET:
        raise typer.BadParameter("--parts, --format and --shard-size go with --engine ray")
    if options.resume and (options.csv is None) == (options.jsonl is None):
        raise typer.BadParameter("--resume goes with one output file: --csv or --jsonl")


def _classify_on_ray(options: ClassifyOptions) -> NoReturn:
    """Does the same on Ray, which takes seconds to import, and ends the command."""
    if not os.environ.get("RAY_ADDRESS") and "RAY_AUTH_MODE" not in os.environ:
        # Ray listens on all interfaces: a token of this run, in no file, keeps others out. It is read at the import.
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": os.urandom(32).hex()}
    from catsdogs_edge.cluster.batch_classifier import BatchClassifier  # noqa: PLC0415
    from catsdogs_edge.cluster.ray_job import run_on_ray  # noqa: PLC0415
    from catsdogs_edge.model.info import ModelInfo  # noqa: PLC0415

    classifier = BatchClassifier(options.model, Provider.CPU, accept_all=options.accept_all)
    info = ModelInfo.from_classifier(classifier.classifier, options.model)
    parts = options.parts or ""
    check_outputs([None if "://" in parts else Path(parts)], [options.model, *options.sources])
    _finish(lambda: run_on_ray(classifier, options, parts), f"{info.describe()}, by Ray", can_resume=True)


def _finish(work: Callable[[], "ClassifySummary"], where: str, *, can_resume: bool) -> NoReturn:
    """Does the work, prints its summary, and ends the command."""
    try:
        summary = work()
    except KeyboardInterrupt as interrupt:
        hint = "; --resume goes on" if can_resume else ""
        say(f"Interrupted: {interrupt.args[0].describe()}{hint}" if interrupt.args else "Interrupted", err=True)
        raise typer.Exit(ExitCode.INTERRUPTED) from interrupt
    except SystemExit as end:
        say(f"Ended: {end.args[0].describe()}" if end.args and not isinstance(end.args[0], int) else "Ended", err=True)
        raise
    say(f"{summary.describe()}; {where}", err=True)
    raise typer.Exit(summary.exit_code)

"""Declares commands: a dataclass of options becomes a command of Typer, as all of ours are."""

import contextlib
import inspect
import math
import platform
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer
from typer.core import TyperCommand

from catsdogs_edge.cli.config import COMPLETION, PREFIX, ConfigFile, PrintConfig, to_toml, where_from
from catsdogs_edge.errors import CatsDogsError
from catsdogs_edge.output.terminal import redact

_Options = TypeVar("_Options")
HELP = ["--help", "-h"]


def _show_versions(asked: bool) -> None:
    """Prints the version, and those of what it runs on, and ends the command."""
    if asked:
        from catsdogs_edge.runtime.wheels import versions  # noqa: PLC0415 - 30 ms that only who asks should wait

        lines = [f"{name} {number}" for name, number in versions().items()]
        lines.append(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
        typer.echo("\n".join(lines))
        raise typer.Exit


VersionOption = Annotated[
    bool,
    typer.Option(
        "--version",
        help="Show the version, and those of what it runs on.",
        is_eager=True,
        callback=_show_versions,
        allow_from_autoenv=False,
    ),
]
"""Every command has it."""


def make_app() -> typer.Typer:
    """Makes an empty command; Rich's help and tracebacks would double the time that `--help` takes."""
    return typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)


class Command(TyperCommand):
    """A command as all of ours are: `-h` is help, and a wrong value says where it stands, if nobody typed it."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Reads the options; raises `typer.BadParameter` where one is wrong."""
        for each in self.params:
            if each.name in COMPLETION:  # nobody would keep them in the environment
                each.allow_from_autoenv = False  # type: ignore[attr-defined]
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            if error.param is not None:
                error.message += where_from(ctx, error.param)
            raise


class OptionalValue(Command):
    """A command one of whose options may stand alone: its value is left out, unless it looks like one."""

    option: str
    looks_like: re.Pattern[str]
    otherwise: str

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Puts the value in that was left out."""
        for index, argument in enumerate(args):
            if argument == self.option and not self.looks_like.fullmatch((*args, "")[index + 1]):
                args = [*args[: index + 1], self.otherwise, *args[index + 1 :]]
                break
        return super().parse_args(ctx, args)


def command(
    app: typer.Typer,
    options: type[_Options],
    *examples: str,
    cls: type[TyperCommand] = Command,
    is_configurable: bool = False,
) -> Callable[[Callable[[_Options], None]], Callable[[_Options], None]]:
    """Makes a function that takes a dataclass of options the command of an app; `examples` end its help page.

    The fields are declared as Typer wants its parameters: `Annotated`, with `typer.Option` or `typer.Argument`. So each
    option stands in one place. What is `is_configurable` takes them from a file and the environment, too.
    """

    def decorate(function: Callable[[_Options], None]) -> Callable[[_Options], None]:
        def run_command(
            context: typer.Context,
            *,
            version: bool,
            config: Path | None = None,
            print_config: bool = False,
            **values: Any,
        ) -> None:
            _check_numbers(values, context)
            read = options(**values)
            if print_config:
                typer.echo("\n".join(to_toml(read, context)))
            else:
                function(read)

        more: list[tuple[str, Any, Any]] = [("version", VersionOption, False)]
        if is_configurable:
            more += [("config", ConfigFile, None), ("print_config", PrintConfig, False)]
        keyword = inspect.Parameter.KEYWORD_ONLY
        context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
        asked = [inspect.Parameter(name, keyword, default=default, annotation=kind) for name, kind, default in more]
        signature, own = inspect.signature(options), options.__annotations__  # before those that it has in common
        run_command.__doc__ = function.__doc__
        run_command.__annotations__ = get_type_hints(options, include_extras=True) | {
            "context": typer.Context,
            **{name: kind for name, kind, _ in more},
        }
        run_command.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[context, *sorted(signature.parameters.values(), key=lambda each: each.name not in own), *asked]
        )
        epilog = "\b\nExamples:\n" + "\n".join(f"  {line}" for line in examples)
        settings: dict[str, Any] = {"help_option_names": HELP}
        if is_configurable:
            settings["auto_envvar_prefix"] = PREFIX
        app.command(cls=cls, epilog=epilog, context_settings=settings)(run_command)
        return function

    return decorate


def _check_numbers(values: Mapping[str, Any], context: typer.Context) -> None:
    """Refuses `nan` and `inf`: ranges of options let the first pass, and those without an end the second."""
    for parameter in context.command.params:
        value = values.get(parameter.name or "")
        if isinstance(value, float) and not math.isfinite(value):
            message = f"{value} is not a finite number{where_from(context, parameter)}"
            raise typer.BadParameter(message, context, parameter)


@contextlib.contextmanager
def as_wrong_usage() -> Iterator[None]:
    """Turns the `ValueError` of an option's text into wrong usage; errors of ours, some of which are such, stay."""
    try:
        yield
    except CatsDogsError:
        raise
    except ValueError as error:
        raise typer.BadParameter(redact(str(error))) from error

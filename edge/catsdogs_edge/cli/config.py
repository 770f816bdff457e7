"""Options from a TOML file and from the environment, for commands that run for months."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from catsdogs_edge.errors import DataError
from catsdogs_edge.output.files import read_text
from catsdogs_edge.output.terminal import redact

PREFIX = "CATSDOGS"
"""The environment variable of an option is this, an underscore, and its name in capitals."""

COMPLETION = frozenset({"install_completion", "show_completion"})
"""Options that Typer adds to each command."""

_NOT_CONFIGURED = frozenset({"config", "print_config", "version", "list", "json", "help"}) | COMPLETION


def _load(context: typer.Context, value: Path | None) -> Path | None:
    """Makes what a file says the defaults of a command."""
    if value is not None:
        parameters = {each.name: each for each in context.command.params if each.name not in _NOT_CONFIGURED}
        found = read_config(value, parameters)
        if alone := getattr(context.command, "option", ""):  # an option that may stand alone, or be false
            name = alone.removeprefix("--")
            if isinstance(found.get(name), bool):
                found[name] = context.command.otherwise if found[name] else None  # type: ignore[attr-defined]
        context.default_map = {}
        for name, entry in found.items():
            try:
                context.default_map[name] = None if entry is None else _fit(entry, parameters[name])
            except ValueError as error:
                shown = f"'{name.replace('_', '-')}' is {json.dumps(entry)}"
                raise DataError(f"{value}: {shown}, expected {error}") from error
    return value


ConfigFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Take options from this TOML file, each by its name; those of the command and CATSDOGS_... go first.",
        is_eager=True,
        callback=_load,
        envvar="CATSDOGS_CONFIG",
        show_envvar=False,
    ),
]
PrintConfig = Annotated[
    bool,
    typer.Option(
        "--print-config",
        help="Print all options as such a file, as they are now, and do nothing else.",
        allow_from_autoenv=False,
    ),
]


def read_config(path: Path, names: Iterable[str | None]) -> dict[str, Any]:
    """Reads a TOML file with one entry for each option, named as the option is, without its dashes in front.

    Raises `DataError` for a file that is missing or no TOML, and for an entry that is no option.
    """
    import difflib  # noqa: PLC0415 - only who has such a file should wait for these
    import tomllib  # noqa: PLC0415

    try:
        entries = tomllib.loads(read_text(path))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path} is no TOML: {error}") from error
    except RecursionError as error:
        raise DataError(f"{path} is no file of options: it is nested too deep") from error
    known = {name.replace("_", "-"): name for name in names if name}
    found = {}
    for key, value in entries.items():
        name = known.get(key.replace("_", "-"))
        if name is None:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean '{near[0]}'?" if near else "--print-config shows all"
            raise DataError(f"{path} has '{key}', which is no option: {hint}")
        if not _is_simple(value):
            raise DataError(f"{path}: '{key}' is {value!r}, expected a text, a number, true, false, or a list of texts")
        found[name] = value
    return found


def _fit(value: Any, parameter: Any) -> Any:
    """Returns a value of an entry as the parser of the command line takes it; raises `ValueError` with what it expects.

    A number may stand for a text, as that of a camera.
    """
    kind, is_list = parameter.type.name, parameter.multiple or parameter.nargs != 1
    if kind == "boolean":
        if not isinstance(value, bool):
            raise ValueError("true or false")
        return value
    accepted: tuple[type, ...] = (str, int, float)
    expected = "a list of texts" if is_list else "a text"
    if "int" in kind:
        accepted, expected = (int,), "a whole number"
    elif "float" in kind:
        accepted, expected = (int, float), "a number"
    entries = value if isinstance(value, list) else [value]
    is_good = all(isinstance(entry, accepted) and not isinstance(entry, bool) for entry in entries)
    if not is_good or not entries or (isinstance(value, list) and not is_list):
        raise ValueError(expected)
    if "" in entries:  # as a path, it would be the current folder
        raise ValueError("a value, or no such line")
    fitting = [entry if accepted[0] is int else str(entry) for entry in entries]
    return fitting if is_list else fitting[0]


def where_from(context: typer.Context, parameter: Any) -> str:
    """Returns words about where an option has its value from: the environment or a file; none if it was typed."""
    source = context.get_parameter_source(parameter.name)
    if source is not None and source.name == "ENVIRONMENT":
        name = parameter.envvar or f"{PREFIX}_{parameter.name.upper()}"
        return f" (it stands in the environment: {name})"
    if source is not None and source.name == "DEFAULT_MAP":
        return f" (it stands in {context.params.get('config')})"
    return ""


def _is_simple(value: object) -> bool:
    if isinstance(value, list):
        return all(isinstance(entry, str | int | float) for entry in value)
    return isinstance(value, str | int | float)


def to_toml(options: Any, context: typer.Context) -> Iterator[str]:
    """Yields lines: each option with what it does; what nobody has set is commented out. Passwords are left out."""
    parameters = {each.name: each for each in context.command.params}
    own = type(options).__annotations__
    for field in sorted(fields(options), key=lambda field: field.name not in own):
        if field.name in _NOT_CONFIGURED:
            continue
        about = " ".join(str(getattr(parameters[field.name], "help", "") or "").split())
        value = _plain(getattr(options, field.name))
        is_default = value == _plain(field.default)
        text = "" if value is None else json.dumps(value, ensure_ascii=False)
        shown = redact(text)
        yield f"# {about}"
        if shown != text:
            yield "# What may be a password in it is left out; 'env:NAME' or 'file:PATH' can stand for a source."
        is_out = is_default or shown != text
        yield f"{'# ' if is_out else ''}{field.name.replace('_', '-')} = {shown}".rstrip()
        yield ""


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value

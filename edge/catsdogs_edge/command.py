"""What all commands share: how they start, what they say when something is wrong, how they end.

Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 failed with
one line that says why, 2 wrong usage, 3 done but some pictures could not be classified, 130 interrupted.
"""

import faulthandler
import io
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import typer

from catsdogs_edge.errors import CatsDogsError
from catsdogs_edge.files import WRITE_ERRORS

_EXTRA_OF_MODULE = {
    "cv2": "edge",
    "onnxruntime": "edge",
    "pyarrow": "ray",
    "ray": "ray",
    "onnx": "export",
    "tf2onnx": "export",
    "keras": None,
    "matplotlib": None,
    "tensorflow": None,
}
"""The extra that brings a module; None for those that several bring, of which the command's own is meant."""

_OPENCV_SETTINGS = {"OPENCV_LOG_LEVEL": "OFF", "OPENCV_FFMPEG_LOGLEVEL": "-8"}
"""They would print their own lines beside ours."""


def make_app() -> typer.Typer:
    """Makes an empty command; Rich's help and tracebacks would double the time that `--help` takes."""
    return typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)


def examples(*lines: str) -> str:
    """Gives the end of a help page: examples, one a line, as they are typed."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def run(app: typer.Typer, *, extra: str, quiet: bool = False) -> NoReturn:
    """Runs a command to its end; the entry point of every console script.

    Ctrl-C ends it with exit code 130, SIGTERM and a closed terminal with 143 and 129; all of them run what closes files
    and releases cameras.

    A `CatsDogsError` or a missing extra becomes one line and exit code 1. Anything else is a bug and
    keeps its traceback.

    Args:
        app: The command.
        extra: The pip extra that it belongs to.
        quiet: Hide what libpng, libjpeg, FFmpeg and Qt print to standard error by themselves.
    """
    _open_closed_descriptors()
    if quiet and "OPENCV_LOG_LEVEL" not in os.environ:
        _hide_native_messages()
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):  # SIGHUP: not on Windows
            signal.signal(getattr(signal, name), _end)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    for package in ("catsdogs_edge", "catsdogs_export", "catsdogs_train"):
        logging.getLogger(package).setLevel(logging.INFO)
    for name, value in _OPENCV_SETTINGS.items():
        os.environ.setdefault(name, value)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a path need not be UTF-8, nor the console's code page hold it
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except CatsDogsError as error:
        _fail(str(error))
    except ImportError as error:
        _fail(_missing_extra(error, extra))
    except OSError as error:
        if error.errno not in WRITE_ERRORS or error.filename is not None:
            raise
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - or it fails again at exit
        _fail(f"standard output cannot be written: {error.strerror}")
    sys.exit(0)


def _end(number: int, _: FrameType | None) -> NoReturn:
    """Ends the process in order, with the exit code that a shell gives to that signal."""
    raise SystemExit(128 + number)


def _open_closed_descriptors() -> None:
    """Gives what a daemon may have closed a place to go: the next file opened would take its number."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _hide_native_messages() -> None:
    """Leaves standard error to Python: native libraries write to its file descriptor, past `sys.stderr`."""
    kept = os.dup(2)
    sys.stderr = open(kept, "w", encoding="utf-8", errors="backslashreplace", buffering=1)  # noqa: SIM115, PTH123
    faulthandler.enable(sys.stderr)  # a crash is still said
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    os.close(nothing)


@contextmanager
def tensorflow_quiet() -> Iterator[None]:
    """Hides what TensorFlow's native code says inside the block, unless it raises; import it there.

    TensorFlow 2.21 prints six lines about the CPU at import, whatever `TF_CPP_MIN_LOG_LEVEL` says; that
    variable, which the user may set, works only afterwards.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            yield
        except ImportError:
            raise  # the command says in one line what is missing
        except BaseException:
            hidden.seek(0)
            os.write(kept, hidden.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _missing_extra(error: ImportError, extra: str) -> str:
    """Says in one line what to install; raises a bug in our own imports again."""
    module = (error.name or "").partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and module in _EXTRA_OF_MODULE:
        return f"{module} is not installed: pip install 'catsdogs[{_EXTRA_OF_MODULE[module] or extra}]'"
    if "cannot open shared object file" in str(error):
        return (
            f"a system library is missing ({error}): install it (on Debian: apt install libgl1 libglib2.0-0), "
            "or use 'catsdogs[edge-headless]', which needs none"
        )
    raise error


def _fail(message: str) -> NoReturn:
    command = os.path.basename(sys.argv[0]).removesuffix(".exe")  # noqa: PTH119 - a name, not a path
    print(f"{command}: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201 - the one line
    sys.exit(1)

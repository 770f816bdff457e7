"""Runs a command to its end: what it says when something is wrong, what signals do, how it ends.

Results go to standard output, everything else to standard error; `catsdogs_edge.errors.ExitCode` lists how they end.
"""

import _thread
import errno
import io
import logging
import os
import re
import signal
import sys
import threading
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

import typer

from catsdogs_edge.errors import CatsDogsError, ExitCode
from catsdogs_edge.output.files import WRITE_ERRORS
from catsdogs_edge.output.native_stderr import hide_native_messages
from catsdogs_edge.output.terminal import PlainFormatter, say
from catsdogs_edge.runtime.signals import ENDING

# The extra that brings a module; None for those that several bring, of which the command's own is meant
_EXTRA_OF_MODULE = {
    "cv2": "edge", "onnxruntime": "edge", "pyarrow": "ray", "ray": "ray", "onnx": "export", "tf2onnx": "export",
    "starlette": "web", "uvicorn": "web", "python_multipart": "web", "prometheus_client": "web", "paho": "mqtt",
    "watchdog": "watch", "keras": None, "matplotlib": None, "tensorflow": None, "sklearn": None, "scipy": None,
    "onnx_ir": "export", "imagehash": None, "filelock": None, "platformdirs": None,
}  # fmt: skip

_A_MOMENT = 0.05  # seconds until the destructor has ended

_EMPTY_VALUE = re.compile(r"--[\w-]+=")

_received: list[int] = []  # the signal that ends the command, unless it is Ctrl-C

# Without them, OpenCV prints its own lines beside ours
_OPENCV_SETTINGS = {"OPENCV_LOG_LEVEL": "OFF", "OPENCV_FFMPEG_LOGLEVEL": "-8"}


def run(app: typer.Typer, *, extra: str, quiet: bool = False) -> NoReturn:
    """Runs a command to its end; the entry point of every console script.

    Ctrl-C ends it with exit code 130, SIGTERM and a closed terminal with 143 and 129; all of them run what closes files
    and releases cameras. A `CatsDogsError`, or a module of a missing extra, becomes one line and exit code 1. Anything
    else is a bug and keeps its traceback. `quiet` hides what libpng, libjpeg, FFmpeg and Qt print by themselves.
    """
    _open_closed_descriptors()
    if quiet and "OPENCV_LOG_LEVEL" not in os.environ:
        hide_native_messages()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainFormatter("%(message)s"))
    logging.basicConfig(handlers=[handler])
    for package in ("catsdogs_edge", "catsdogs_export", "catsdogs_train"):
        logging.getLogger(package).setLevel(logging.INFO)
    for name, value in _OPENCV_SETTINGS.items():
        os.environ.setdefault(name, value)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a path need not be UTF-8, nor the console's code page hold it
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape", newline="\n")
    try:
        _handle_signals()
        _refuse_empty_arguments()
        try:
            app()
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:  # before the command itself could say more
        raise SystemExit(ExitCode.INTERRUPTED) from None
    except SystemExit:
        if _received:  # a library on the way may have put another exit code in its place
            raise SystemExit(128 + _received[0]) from None
        raise
    except Exception as error:
        if _is_interrupt(error):
            raise SystemExit(128 + _received[0] if _received else ExitCode.INTERRUPTED) from None
        line = _explain(error, extra)
        if line is None:
            raise
        _fail(line)
    sys.exit(ExitCode.DONE)


def _refuse_empty_arguments() -> None:
    """Ends as for wrong usage where an argument is empty: as a path, it would be the current folder."""
    for argument in sys.argv[1:]:
        if not argument or _EMPTY_VALUE.fullmatch(argument):
            _say_error(f"an argument is empty ('{argument}'): is a variable of the shell not set?")
            raise SystemExit(ExitCode.WRONG_USAGE)


def _is_interrupt(error: BaseException | None) -> bool:
    """Returns whether a signal is behind an error: a library in C that is interrupted while it is imported fails."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            return True
        error = error.__cause__ or error.__context__
    return False


def _handle_signals() -> None:
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _end)
    sys.unraisablehook = _send_again


def _send_again(discarded: "sys.UnraisableHookArgs") -> None:
    """Sends a signal again whose exception Python has discarded: it came inside of a destructor."""
    is_ours = isinstance(discarded.exc_value, KeyboardInterrupt | SystemExit)
    ending = [number for number in ENDING if signal.getsignal(number) is _end_at_once]  # as `_end` leaves them
    if not is_ours or not ending:
        sys.__unraisablehook__(discarded)
        return
    for each in ending:
        signal.signal(each, _end)
    number = signal.Signals(_received[-1]) if _received else signal.SIGINT
    # On Windows, `os.kill` would end the process as it stands
    send = partial(_thread.interrupt_main, number) if sys.platform == "win32" else partial(os.kill, os.getpid(), number)
    timer = threading.Timer(_A_MOMENT, send)
    timer.daemon = True
    timer.start()


def _end(number: int, _: FrameType | None) -> NoReturn:
    """Ends the process in order, with the exit code that a shell gives to that signal; a second one ends it at once."""
    for each in ENDING:
        signal.signal(each, _end_at_once)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    _received.append(number)
    raise SystemExit(128 + number)


def _end_at_once(number: int, _: FrameType | None) -> NoReturn:
    """Ends the process where it stands, such as inside of a decoder that does not come back."""
    os._exit(128 + number)


def _open_closed_descriptors() -> None:
    """Opens the standard streams that a daemon may have closed: the next file opened would take their numbers."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


# Of a path that a user named, wherever it is looked at first: no right to enter its folder, too long a name, links in
# a circle
_PATH_ERRORS = {errno.EACCES, errno.ENAMETOOLONG, errno.ELOOP}


def _explain(error: Exception, extra: str) -> str | None:
    """Returns one line about what the user can mend; None for a bug, which keeps its traceback."""
    if isinstance(error, CatsDogsError):
        return str(error)
    if isinstance(error, ImportError):
        return _missing_extra(error, extra)
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return "the system starts no more threads: raise the limit (ulimit -u), or give --threads 1"
    return _explain_os_error(error) if isinstance(error, OSError) else None


def _explain_os_error(error: OSError) -> str | None:
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        return f"the system opens no more files: {error.strerror}; raise the limit (ulimit -n)"
    if error.filename is not None:
        is_of_path = error.errno in _PATH_ERRORS
        return f"{os.fsdecode(error.filename)} cannot be used: {error.strerror}" if is_of_path else None
    if error.errno == errno.ENOENT and "temporary directory" in str(error):
        return f"there is no folder for temporary files ({error.strerror}): set TMPDIR"
    if error.errno == errno.ENOENT and not _has_current_folder():
        return "the current folder is gone: change to one that is there"
    if error.errno in WRITE_ERRORS:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - or it fails again at exit
        return f"standard output cannot be written: {error.strerror}"
    return None


def _has_current_folder() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def _missing_extra(error: ImportError, extra: str) -> str:
    """Returns one line that says what to install; raises a bug in our own imports again."""
    module = (error.name or "").partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and module in {"tensorflow", "keras"} and sys.version_info >= (3, 14):
        instead = "take 3.13, or, to train on JAX, pip install 'catsdogs[train-jax,edge-headless]'"
        return f"there is no TensorFlow for Python 3.14: {instead}"
    if isinstance(error, ModuleNotFoundError) and module in _EXTRA_OF_MODULE:
        return f"{module} is not installed: pip install 'catsdogs[{_EXTRA_OF_MODULE[module] or extra}]'"
    if "cannot open shared object file" in str(error):
        return (
            f"a system library is missing ({error}): install it (on Debian: apt install libgl1 libglib2.0-0), "
            "or use 'catsdogs[edge-headless]', which needs none"
        )
    raise error


def _fail(message: str) -> NoReturn:
    _say_error(message)
    sys.exit(ExitCode.FAILED)


def _say_error(message: str) -> None:
    command = os.path.basename(sys.argv[0]).removesuffix(".exe")  # noqa: PTH119 - a name, not a path
    say(f"{command}: {' '.join(message.split())}", err=True)

"""What all commands share: how they start, what they say when something is wrong, how they end.

Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 failed with
one line that says why, 2 wrong usage, 3 done but some pictures could not be classified, 130 interrupted.
"""

import io
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from catsdogs_edge.errors import CatsDogsError
from catsdogs_edge.files import WRITE_ERRORS

_EXTRA_OF_MODULE = {
    "cv2": "edge",
    "onnxruntime": "edge",
    "onnx": "export",
    "tf2onnx": "export",
    "keras": None,
    "matplotlib": None,
    "tensorflow": None,
}
"""The extra that brings a module; None for those that several bring, of which the command's own is meant."""

_OPENCV_SETTINGS = {
    "OPENCV_LOG_LEVEL": "OFF",  # it would print its own lines beside ours
    "OPENCV_IO_MAX_IMAGE_PIXELS": str(2**27),  # 400 MB for a picture: one that says it is larger is a bomb
}


def run(app: typer.Typer, *, extra: str) -> NoReturn:
    """Runs a command to its end; the entry point of every console script.

    A `CatsDogsError` or a missing extra becomes one line and exit code 1. Anything else is a bug and
    keeps its traceback.

    Args:
        app: The command.
        extra: The pip extra that it belongs to.
    """
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

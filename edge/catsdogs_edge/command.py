"""What all commands share: how they start, what they say when something is wrong, how they end.

Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 failed with
one line that says why, 2 wrong usage, 3 done but some pictures could not be classified, 130 interrupted.
"""

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from catsdogs_edge.errors import CatsDogsError

_EXTRA_OF_MODULE = {
    "cv2": "edge",
    "onnxruntime": "edge",
    "onnx": "export",
    "tf2onnx": "export",
    "keras": "train",
    "matplotlib": "train",
    "tensorflow": "train",
}


def run(app: typer.Typer) -> NoReturn:
    """Runs a command to its end; the entry point of every console script.

    A `CatsDogsError` or a missing extra becomes one line and exit code 1. Anything else is a bug and
    keeps its traceback.
    """
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    for package in ("catsdogs_edge", "catsdogs_export", "catsdogs_train"):
        logging.getLogger(package).setLevel(logging.INFO)
    try:
        app()
    except CatsDogsError as error:
        _fail(str(error))
    except ImportError as error:
        _fail(_missing_extra(error))
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
        except BaseException:
            hidden.seek(0)
            os.write(kept, hidden.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _missing_extra(error: ImportError) -> str:
    """Says in one line what to install; raises a bug in our own imports again."""
    module = (error.name or "").partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and module in _EXTRA_OF_MODULE:
        return f"{module} is not installed: pip install 'catsdogs[{_EXTRA_OF_MODULE[module]}]'"
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

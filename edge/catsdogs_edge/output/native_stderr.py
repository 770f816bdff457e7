"""Keeps what native libraries print out of standard error."""

import faulthandler
import gc
import io
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from catsdogs_edge.output.terminal import RedactedStream


def hide_native_messages() -> None:
    """Leaves standard error to Python: native libraries write to its file descriptor, past `sys.stderr`."""
    kept = os.dup(2)
    buffer = io.BufferedWriter(io.FileIO(kept, "w"))
    sys.stderr = RedactedStream(buffer, encoding="utf-8", errors="backslashreplace", line_buffering=True)
    faulthandler.enable(sys.stderr)  # a crash is still said
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    os.close(nothing)


@contextmanager
def tensorflow_quiet() -> Iterator[None]:
    """Hides what TensorFlow's native code prints inside the block, unless it raises; import TensorFlow there.

    TensorFlow 2.21 prints six lines about the CPU at import, whatever `TF_CPP_MIN_LOG_LEVEL` says; that
    variable, which the user may set, works only afterwards.
    """
    import tempfile  # noqa: PLC0415 - 5 ms that `--help` need not wait for

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


@contextmanager
def importing_tensorflow() -> Iterator[None]:
    """Imports TensorFlow or JAX inside the block, without native messages, and without the garbage collector.

    That makes a million objects that stay, which the collector would look through again and again: also afterwards,
    unless they are taken out of its reach. A small training takes a seventh less time so (benchmarks/RESULTS.md).

    TensorFlow computes with oneDNN then on x86, unless the user set `TF_ENABLE_ONEDNN_OPTS`: by itself, it does so only
    on CPUs with VNNI or the like, and is slower on others (`benchmarks.onednn`).
    """
    if platform.machine() in {"x86_64", "AMD64"}:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    is_first, was_enabled = "keras" not in sys.modules, gc.isenabled()
    gc.disable()
    try:
        with tensorflow_quiet():
            yield
        if is_first:
            gc.freeze()
    finally:
        if was_enabled:
            gc.enable()

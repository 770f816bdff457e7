"""Imports TensorFlow or JAX, which take seconds, and print as they like."""

import gc
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_native_messages() -> Iterator[None]:
    """Hides what native libraries print inside the block, unless it raises."""
    import tempfile  # noqa: PLC0415 - 5 ms that `--help` need not wait for

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

    TensorFlow 2.21 prints six lines about the CPU at import, whatever `TF_CPP_MIN_LOG_LEVEL` says; that variable, which
    the user may set, works only afterwards.

    The import makes a million objects that stay, which the collector would look through again and again, also
    afterwards, unless they are taken out of its reach. A small training takes a seventh less time so
    (benchmarks/RESULTS.md).

    TensorFlow computes with oneDNN then on x86, unless the user set `TF_ENABLE_ONEDNN_OPTS`: by itself, it does so only
    on CPUs with VNNI or the like, and is slower on others (`benchmarks.onednn`).
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if platform.machine() in {"x86_64", "AMD64"}:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    is_first, was_enabled = "keras" not in sys.modules, gc.isenabled()
    gc.disable()
    try:
        with without_native_messages():
            yield
        if is_first:
            gc.freeze()
    finally:
        if was_enabled:
            gc.enable()

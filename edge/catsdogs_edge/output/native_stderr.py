"""Keeps what native libraries print out of standard error."""

import faulthandler
import io
import os
import sys

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

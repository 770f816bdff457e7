"""The console commands: each parses its options, calls one library function and renders the result."""

import os
import signal
import sys

# Until `app.run` takes over, while modules are imported, Ctrl-C ends a command without a traceback.
_is_command = os.path.basename(sys.argv[0]).startswith("catsdogs")  # noqa: PTH119 - a name, not a path
if _is_command and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

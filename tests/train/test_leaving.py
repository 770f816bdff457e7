import subprocess
import sys

import pytest

_STUCK = """
import sys, threading, time
from catsdogs_train import cli
threading.Thread(target=time.sleep, args=(600,)).start()  # as TensorFlow's, which Python's clean-up waits for
sys.argv = ["catsdogs-train", *sys.argv[1:]]
cli.main()
"""


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["--help"], 0, ""),
        (["missing", "--out", "run"], 1, "catsdogs-train: missing: no such folder"),
        (["--no-such-option"], 2, "No such option"),
    ],
)
def test_the_command_ends_though_a_thread_does_not(arguments: list[str], code: int, line: str) -> None:
    command = [sys.executable, "-c", _STUCK, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == code
    assert line in done.stderr


def test_a_bug_keeps_its_traceback() -> None:
    broken = _STUCK.replace("cli.main()", "cli._app = None; cli.main()")
    done = subprocess.run([sys.executable, "-c", broken], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0].startswith("Traceback")
    assert "NoneType" in done.stderr.splitlines()[-1]

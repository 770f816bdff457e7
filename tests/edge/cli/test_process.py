"""How every command starts and fails."""

import subprocess
import sys
from pathlib import Path

import pytest

import catsdogs_edge.cli.classify
from catsdogs_edge.images.drawings import write_folder
from tests.conftest import Call


def run(body: str, extra: str = "export") -> subprocess.CompletedProcess[str]:
    """Runs a command whose only line is `body`, in a process of its own."""
    code = (
        "import sys, typer; sys.argv = ['/some/where/catsdogs-x']\n"
        "from catsdogs_edge.cli.process import run\n"
        "from catsdogs_edge.runtime.imports import without_native_messages\n"
        "from catsdogs_edge.errors import DataError\n"
        "app = typer.Typer(pretty_exceptions_enable=False)\n"
        f"@app.command()\ndef command():\n    {body}\n"
        f"run(app, extra={extra!r})"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_our_errors_are_one_line() -> None:
    done = run("raise DataError('two\\n lines')")
    assert (done.returncode, done.stderr) == (1, "catsdogs-x: two lines\n")


def test_a_path_that_cannot_be_looked_at_is_one_line() -> None:
    done = run("import pathlib; pathlib.Path('z' * 300).stat()")
    assert (done.returncode, done.stderr) == (1, f"catsdogs-x: {'z' * 300} cannot be used: File name too long\n")


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (
            "import os, pathlib, tempfile; d = tempfile.mkdtemp(); os.chdir(d); os.rmdir(d); pathlib.Path.cwd()",
            "the current folder is gone: change to one that is there",
        ),
        (
            "import errno, os; raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), 'x')",
            "the system opens no more files: Too many open files; raise the limit (ulimit -n)",
        ),
    ],
)
def test_what_the_system_refuses_is_told_as_it_is(body: str, line: str) -> None:
    done = run(body)
    assert (done.returncode, done.stderr) == (1, f"catsdogs-x: {line}\n")


@pytest.mark.parametrize("arguments", [["", "--move", "sorted"], ["images", "--move", ""], ["images", "--move="]])
def test_an_empty_argument_is_not_the_current_folder(
    arguments: list[str], call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "images", per_class=1)
    monkeypatch.chdir(tmp_path)
    done = call(catsdogs_edge.cli.classify._app, "catsdogs-classify", *arguments)
    assert done.returncode == 2
    assert "an argument is empty" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"images"}
    assert len(list(tmp_path.rglob("*.png"))) == 2


def test_a_bug_keeps_its_traceback() -> None:
    done = run("raise ValueError('a bug')")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    ("module", "extra"), [("cv2", "edge"), ("tf2onnx", "export"), ("tensorflow.nn", "export"), ("keras", "export")]
)
def test_a_missing_module_names_the_extra(module: str, extra: str) -> None:
    package = module.partition(".")[0]
    done = run(f"sys.version_info = (3, 13); raise ModuleNotFoundError('no', name={module!r})")  # 3.14: see below
    assert (done.returncode, done.stderr) == (
        1,
        f"catsdogs-x: {package} is not installed: pip install 'catsdogs[{extra}]'\n",
    )


def test_a_really_missing_module_is_one_line_also_where_output_is_hidden() -> None:
    done = run("""sys.modules['tf2onnx'] = None
    with without_native_messages(): import os; os.write(2, b'noise'); import tf2onnx""")
    assert done.stderr == "catsdogs-x: tf2onnx is not installed: pip install 'catsdogs[export]'\n"


def test_where_there_is_no_tensorflow_it_says_what_there_is() -> None:
    done = run("sys.version_info = (3, 14); raise ModuleNotFoundError(name='keras')", extra="train")
    assert "no TensorFlow for Python 3.14" in done.stderr
    assert "'catsdogs[train-jax,edge-headless]'" in done.stderr


@pytest.mark.parametrize("body", ["import catsdogs_edge.nothing", "from catsdogs_edge.images.decode import nothing"])
def test_a_bug_in_our_own_imports_keeps_its_traceback(body: str) -> None:
    done = run(body)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_a_missing_library_of_the_system_is_one_line() -> None:
    done = run("raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "apt install libgl1" in line


def test_hidden_output_comes_out_when_something_else_fails() -> None:
    done = run("with without_native_messages(): import os; os.write(2, b'the reason'); raise ValueError('a bug')")
    assert "the reason" in done.stderr


def test_an_interrupt_is_130() -> None:
    assert run("raise KeyboardInterrupt").returncode == 130


def test_a_signal_inside_of_a_destructor_ends_the_command_too() -> None:
    done = run("""import os, signal, time
    class Last:
        def __del__(self): os.kill(os.getpid(), signal.SIGTERM)
    last = Last(); del last
    time.sleep(10)
    print('it went on')""")
    assert done.returncode == 143
    assert "it went on" not in done.stdout
    assert "Traceback" not in done.stderr

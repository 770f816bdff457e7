import subprocess
import tomllib
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

PROJECT = tomllib.loads((Path(__file__).resolve().parents[3] / "pyproject.toml").read_text())["project"]


def say(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_commands_are_named_with_what_they_need(scripts: Path) -> None:
    lines = {line.split()[0]: line for line in say(scripts / "catsdogs").splitlines() if line}
    for name, entry in PROJECT["scripts"].items():
        if name != "catsdogs":
            extra = entry.partition(".")[0].removeprefix("catsdogs_")
            works = extra == "edge" or find_spec("tensorflow") is not None
            assert f"pip install 'catsdogs[{extra}]'" in lines[name] or works
            assert "needs" not in lines[name] or not works


def test_version(scripts: Path) -> None:
    lines = say(scripts / "catsdogs", "--version").splitlines()
    assert lines[0] == f"catsdogs {version('catsdogs')}"
    assert any(line.startswith("onnxruntime") for line in lines)
    assert lines[-1].startswith("Python 3.")


@pytest.mark.parametrize("name", sorted(PROJECT["scripts"]))
def test_each_command_shows_examples_and_completes(name: str, scripts: Path) -> None:
    said = say(scripts / name, "--help")
    if name != "catsdogs":
        assert f"\n    {name}" in said.partition("Examples:")[2]
    # Typer looks for a shell among the parents of the process, and a background job need not have one.
    said = say("bash", "-c", f"'{scripts / name}' --show-completion bash; exit $?")
    assert f"_{name.replace('-', '_')}_completion" in said

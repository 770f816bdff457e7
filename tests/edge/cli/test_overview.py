import subprocess
import tomllib
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

from catsdogs_edge.cli.overview import COMMANDS

PROJECT = tomllib.loads((Path(__file__).resolve().parents[3] / "pyproject.toml").read_text())["project"]


def say(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_commands_are_named_with_what_they_need(scripts: Path) -> None:
    lines = {"-".join(line.split()[:2]): line for line in say(scripts / "catsdogs").splitlines() if line}
    assert PROJECT["scripts"].keys() == {"catsdogs", *(f"catsdogs-{name}" for name in COMMANDS)}
    for name, entry in PROJECT["scripts"].items():
        if name != "catsdogs":
            command = COMMANDS[name.removeprefix("catsdogs-")]
            assert entry == f"{command.module}:{command.main}"
            extra = entry.partition(".")[0].removeprefix("catsdogs_")
            works = extra == "edge" or find_spec("tensorflow") is not None
            assert f"pip install 'catsdogs[{extra}]'" in lines[name] or works
            assert "needs" not in lines[name] or not works


@pytest.mark.parametrize(
    "command", ["catsdogs", "catsdogs-classify", "catsdogs-export", "catsdogs-train", "catsdogs cam"]
)
def test_version(command: str, scripts: Path) -> None:
    name, *rest = command.split()
    lines = say(scripts / name, *rest, "--version").splitlines()
    assert lines[0] == f"catsdogs {version('catsdogs')}"
    assert any(line.startswith("onnxruntime") for line in lines)
    assert lines[-1].startswith("Python 3.")


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_one_of_catsdogs_too(name: str, scripts: Path) -> None:
    alone, together = say(scripts / f"catsdogs-{name}", "--help"), say(scripts / "catsdogs", name, "--help")
    assert together.partition("Options:")[2] == alone.partition("Options:")[2]
    assert f"Usage: catsdogs {name}" in together


def test_it_classifies_and_says_what_is_wrong_under_that_name(scripts: Path, album: Path, tiny: Path) -> None:
    assert say(scripts / "catsdogs", "classify", album / "a cat.png", "--model", tiny).startswith("cat")
    done = subprocess.run(
        [scripts / "catsdogs", "classify", album, "--model", "no"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "catsdogs classify: no: no such model file\n")
    done = subprocess.run([scripts / "catsdogs", "clasify"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "there is no command 'clasify': did you mean 'classify'?" in done.stderr


@pytest.mark.parametrize(
    ("typed", "word", "found"), [("catsdogs cl", 1, "classify"), ("catsdogs cam --smo", 2, "--smoothing")]
)
def test_it_completes_commands_and_their_options(typed: str, word: int, found: str, scripts: Path) -> None:
    env = {"_CATSDOGS_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(word)}
    done = subprocess.run([scripts / "catsdogs"], env=env, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [found]


@pytest.mark.parametrize("name", sorted(PROJECT["scripts"]))
def test_each_command_shows_examples_and_completes(name: str, scripts: Path) -> None:
    said = say(scripts / name, "--help")
    assert said == say(scripts / name, "-h")
    assert "COMPLETION" not in said  # nobody sets it in the environment
    if name != "catsdogs":
        assert f"\n    {name}" in said.partition("Examples:")[2]
    # Typer looks for a shell among the parents of the process, and a background job need not have one.
    said = say("bash", "-c", f"'{scripts / name}' --show-completion bash; exit $?")
    assert f"_{name.replace('-', '_')}_completion" in said

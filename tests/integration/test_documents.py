"""Every command that a document shows is parsed; and run, on drawings, but for those in `NOT_RUN`."""

import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer.main

import catsdogs_edge.cli.overview
from catsdogs_edge.images.drawings import draw, write_folder
from tests.conftest import RUN_SIZE, work_here
from tests.edge.conftest import write_video

HOUSE = Path(__file__).resolve().parents[2]
DOCUMENTS = [HOUSE / "README.md", HOUSE / "CONTRIBUTING.md", *sorted((HOUSE / "docs").rglob("*.md"))]

APPS = {"catsdogs": catsdogs_edge.cli.overview._app} | {
    f"catsdogs-{name}": entry.load() for name, entry in catsdogs_edge.cli.overview.COMMANDS.items()
}

NOT_RUN = {
    r"make ": "builds environments; CI runs lint, test, wheel, and test_the_demo runs the demo",
    r"(pip|python -m venv|python3 -m venv|\. )": "installs; test_the_demo and the edge proof of CI do",
    r"(python3 -m pip|find small|small/bin/)": "installs; test_package.py does the same",
    r"(sudo|useradd|cp catsdogs|systemctl|journalctl|/opt/|apt|ln -s /opt|install -D)": "needs root",
    r"docker": "needs Docker",
    r"catsdogs-train .*--train-size 1000": "needs 6,000 images",
    r"catsdogs-train --dataset": "downloads 825 MB; tests/train/data/test_download.py",
    r"rpicam-vid": "needs a Raspberry Pi",
    r"catsdogs-cam (0|cam:|--list)": "needs a camera",
    r"catsdogs-classify .*--watch": "does not end; tests/edge/classify/test_watch.py",
    r"catsdogs-review": "does not end; tests/edge/web/test_review.py, test_browser.py",
    r"(catsdogs-train .*--from|catsdogs-export better|catsdogs-model)": "one after the other: test_loop.py",
    r"catsdogs-serve": "does not end; tests/edge/cli/test_serve.py",
    r"(curl|ssh) ": "needs a server; tests/edge/web",
    r"(\(umask 077; )?openssl ": "makes keys; tests/edge/cli/test_serve.py makes such",
    r"catsdogs-cam rtsp:": "needs a server; tests/edge/capture/test_streams.py has one",
    r"catsdogs-.* --provider cuda": "needs a GPU",
    r"catsdogs-classify .*--engine ray": "needs Ray, which the edge's environment has: tests/edge/cluster",
    r"(export )?KERAS_": "needs two hosts; tests/train/network/test_distribution.py has two processes",
    r"catsdogs-train .*--fine-tune-epochs 32": "takes hours on two cores; each option has its test",
    r"catsdogs-train .*--drop": "needs a run on the same images; tests/train/data/test_drop_list.py",
    r"(catsdogs-train .*--teacher|catsdogs-export small)": "needs a ResNet: train/stages/test_distillation.py",
    r"catsdogs-export run --(int8|fp16)": "the fixture `published` is this command; the options have tests",
    r"catsdogs-export --check run/onnx/model\.int8": "converts a ResNet50 anew; tests/export/test_export.py",
}
"""Commands that are only looked at, by how they begin, and why."""


def units(document: Path) -> Iterator[list[str]]:
    """Returns the commands of each shell block, and each command in a table, without comments."""
    text = document.read_text()
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        lines = [re.sub(r"\s+#.*", "", line).strip() for line in block.replace("\\\n", " ").splitlines()]
        yield [line for line in lines if line]
    for line in text.splitlines():
        if line.startswith("|"):
            yield from ([code] for code in re.findall(r"`(catsdogs[a-z-]* [^`]+)`", line) if not code.endswith("..."))


HERE = r"catsdogs-(train|export|eval|classify|cam|doctor)\b[^|<>&$*]*$"
"""Commands, without anything of a shell, that run in the test's process: imports take most of the time of each."""

UNITS = [unit for document in DOCUMENTS for unit in units(document)]
SHOWN = sorted({command for unit in UNITS for command in unit})


def is_run(command: str) -> bool:
    return not any(re.match(start, command) for start in NOT_RUN)


RUNNABLE = [kept for unit in UNITS if (kept := list(filter(is_run, unit)))]
RUN = ["\n".join(unit) for unit in RUNNABLE if not any(set(unit) < set(other) for other in RUNNABLE)]


def test_there_are_commands() -> None:
    assert len(SHOWN) > 40
    for start in NOT_RUN:
        assert any(re.match(start, command) for command in SHOWN), f"no document shows {start} any more"


@pytest.mark.parametrize("command", [command for command in SHOWN if re.search(r"(^|[| ])catsdogs-.*", command)])
def test_what_a_document_shows_exists(command: str) -> None:
    command = re.sub(r"--config \S+", f"--config {HOUSE / 'docs' / 'catsdogs-cam.toml'}", command)
    for part in re.split(r"\||>|&&", command):
        words = shlex.split(part)
        words = (
            re.sub(r"\bcatsdogs ([a-z]+)", r"catsdogs-\1", shlex.join(words)).split() if "catsdogs" in words else words
        )
        start = next((index for index, word in enumerate(words) if word in APPS and "-" in word), None)
        if start is not None and words[0] not in {"journalctl", "systemctl"}:  # raises for what it does not know
            typer.main.get_command(APPS[words[start]]).make_context(words[start], words[start + 1 :])


TOML = [
    block
    for document in DOCUMENTS
    for block in re.findall(r"^```toml\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE)
]


def test_there_is_a_file_of_options() -> None:
    assert any("crop" in block for block in TOML)


@pytest.mark.parametrize("block", TOML)
def test_a_file_of_options_that_a_document_shows_has_no_unknown_one(block: str, tmp_path: Path) -> None:
    path = tmp_path / "cam.toml"
    path.write_text(block)
    command = typer.main.get_command(APPS["catsdogs-cam"])
    assert command.make_context("catsdogs-cam", ["--config", str(path)]).params["crop"] == ("flap=0.3,0.4,0.4,0.6",)


def test_the_reference_has_every_command_and_every_public_name() -> None:
    reference = HOUSE / "docs" / "reference"
    commands = re.findall(r"^```\{command\} (\w+)$", (reference / "commands.md").read_text(), re.MULTILINE)
    assert set(commands) == set(catsdogs_edge.cli.overview.COMMANDS)
    shown = re.findall(r"^\.\. auto\w+:: (\w+)", (reference / "python.md").read_text(), re.MULTILINE)
    assert {*shown, "__version__"} == set(catsdogs_edge.__all__)


@pytest.fixture(scope="module")
def finished(run_folder: Path, published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with its export in it."""
    out = tmp_path_factory.mktemp("finished") / "run"
    shutil.copytree(run_folder, out)
    shutil.copytree(published, out / "onnx")
    return out


@pytest.fixture(scope="module")
def clean_desk(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the documents name: images, a video, a run."""
    desk = tmp_path_factory.mktemp("desk")
    write_folder(desk / "data" / "train", 12)
    write_folder(desk / "data" / "val", 4, 100)
    write_folder(desk / "more", 4, 200)
    write_folder(desk / "pets", 8, 300)
    write_folder(desk / "things", 24, kinds=["room"])
    write_folder(desk / "holiday", 2, kinds=["cat", "room"])
    shutil.make_archive(str(desk / "pets"), "zip", desk / "pets")
    image = cv2.cvtColor(draw("cat", 1), cv2.COLOR_RGB2BGR)
    assert cv2.imwrite(str(desk / "image.jpg"), image)
    assert cv2.imwrite(str(desk / "holiday" / "a.jpg"), image)
    write_video(desk / "visit.mp4", [np.asarray(draw("cat", 1, 240), np.uint8)] * 3, "mp4v")
    (desk / "run").symlink_to(finished)
    (desk / "model.int8.onnx").symlink_to(finished / "onnx" / "model.int8.onnx")
    return desk


@pytest.fixture
def desk(tmp_path: Path, clean_desk: Path) -> Path:
    """A folder of its own for each test."""
    return shutil.copytree(clean_desk, tmp_path / "desk", symlinks=True)


PYTHON = [
    code
    for document in DOCUMENTS
    for code in re.findall(r"^```python\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE)
    if set(re.findall(r"^(?:from|import) (\w+)", code, re.MULTILINE)) == {"catsdogs_edge"}
]
"""What needs other programs, too, has tests of its own: test_recipes.py, tests/edge/web/test_triton.py."""


def test_the_readme_shows_python() -> None:
    assert any("classify_stream" in code for code in PYTHON)


@pytest.mark.slow
@pytest.mark.parametrize("code", PYTHON)
def test_the_python_that_a_document_shows_works(code: str, desk: Path) -> None:
    done = subprocess.run([sys.executable, "-c", code], cwd=desk, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("unit", dict.fromkeys(RUN))
def test_what_a_document_shows_works(
    unit: str,
    desk: Path,
    scripts: Path,
    small_weights: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "node " in unit:
        web = request.getfixturevalue("web")
        (desk / "node_modules").symlink_to(web.folder / "node_modules")
        shutil.copy(HOUSE / "docs" / "classify.mjs", desk)
    # Without a download, in seconds, not over the run that is there; of an option that is given twice, the last counts.
    small = f"--weights {small_weights} --image-size 32 --batch-size 8 --epochs 1 --views 1"
    fine = "--fine-tune-epochs"
    lines = [
        re.sub(r"--out run\b", f"--out new{number}", line) + f" {small}" + f" {fine} 1" * (fine in line)
        if line.startswith("catsdogs-train")
        else line
        for number, line in enumerate(unit.splitlines())
    ]
    lines = [re.sub(r"^catsdogs-bench", "catsdogs-bench --rounds 1 --count 20", line) for line in lines]
    lines = [line.replace("scale=224:224", f"scale={RUN_SIZE}:{RUN_SIZE}") for line in lines]
    monkeypatch.chdir(desk)
    monkeypatch.setenv("PATH", str(scripts), prepend=os.pathsep)
    for is_here, group in itertools.groupby(lines, lambda line: bool(re.match(HERE, line))):
        if is_here:
            for words in map(shlex.split, group):
                work_here(APPS[words[0]], *words)
        else:
            command = ["bash", "-ceo", "pipefail", "\n".join(group)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"

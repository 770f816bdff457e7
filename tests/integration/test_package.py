"""What is handed out: wheel, Dockerfiles, the unit for systemd, the demo in a fresh clone."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import typer.main

from catsdogs_edge.cli.cam import _app as _cam_app
from catsdogs_edge.options import WEB_ADDRESS
from tests.conftest import UV

HOUSE = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]
VERSIONS = [item.rpartition(" ")[2] for item in PROJECT["classifiers"] if "Python :: 3" in item]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built once."""
    folder = tmp_path_factory.mktemp("wheel")
    command: list[str | Path] = [UV, "build", "--wheel", "--out-dir", folder, HOUSE]
    if not UV.is_file():
        command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, HOUSE]
    subprocess.run(command, capture_output=True, check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_holds_the_model_and_nothing_that_a_device_does_not_need(wheel: Path) -> None:
    assert wheel.stat().st_size <= 40e6
    names = zipfile.ZipFile(wheel).namelist()
    for needed in ("catsdogs.int8.onnx", "MODEL_CARD.md"):
        assert f"catsdogs_edge/model/weights/{needed}" in names
    assert "catsdogs_edge/py.typed" in names
    folders = {name.partition("/")[0] for name in names}
    assert folders == {"catsdogs_edge", "catsdogs_export", "catsdogs_train", f"catsdogs-{PROJECT['version']}.dist-info"}
    assert not [name for name in names if name.endswith((".keras", ".h5", ".jpg", ".png", ".csv"))]


@pytest.mark.slow
def test_on_a_small_disk_it_takes_284_mb(wheel: Path, tmp_path: Path) -> None:
    shutil.copy(wheel, tmp_path)
    (block,) = re.findall(r"## A small disk.*?```sh\n(.*?)```", (HOUSE / "docs" / "device.md").read_text(), re.DOTALL)
    block = block.replace("install ", f"install --quiet -c {HOUSE / 'constraints.txt'} ").replace(
        "python3 ", f"{sys.executable} "
    )
    assert wheel.name in block
    as_installed = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        ["bash", "-ceo", "pipefail", block], cwd=tmp_path, env=as_installed, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "PASS" in done.stdout
    size = subprocess.run(["du", "-sm", tmp_path / "small"], capture_output=True, text=True, check=True).stdout
    assert 200 < int(size.split()[0]) <= 284, size


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.cuda"])
def test_dockerfiles_fit_the_project(name: str) -> None:
    text = (HOUSE / "docker" / name).read_text()
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
    steps = [line.split(maxsplit=1) for line in lines]
    (base,) = [rest for word, rest in steps if word == "FROM"]
    assert re.fullmatch(r"python:3\.\d+-slim", base)
    assert base.removeprefix("python:").removesuffix("-slim") in VERSIONS
    lock, wheel = [word for line in lines if line.startswith("COPY") for word in shlex.split(line)[1:-1]]
    assert (HOUSE / lock).is_file()
    assert f"--require-hashes -r /tmp/{Path(lock).name} " in text
    allowed = (HOUSE / ".dockerignore").read_text().split()
    assert allowed == ["*", "!locks/*.txt", f"!{wheel}"]  # else the build finds nothing to copy
    assert [word for word, _ in steps][-4:] == ["USER", "WORKDIR", "HEALTHCHECK", "CMD"]
    assert f"useradd --uid {dict(steps)['USER']} --create-home --groups video catsdogs" in text
    assert dict(steps)["HEALTHCHECK"].endswith('CMD ["catsdogs-doctor"]')
    assert re.fullmatch(r'\["([a-z-]+)"\]', dict(steps)["CMD"])[1] in PROJECT["scripts"]  # type: ignore[index]


def test_the_unit_starts_what_is_there(tmp_path: Path) -> None:
    unit = (HOUSE / "docs" / "catsdogs-cam.service").read_text()
    (start,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    program, *arguments = shlex.split(start)
    assert Path(program).name == "catsdogs-cam"
    assert arguments == ["--config", "/etc/catsdogs-cam.toml"]
    context = typer.main.get_command(_cam_app).make_context(
        "catsdogs-cam", ["--config", str(HOUSE / "docs" / "catsdogs-cam.toml")]
    )
    assert context.params["web"] == WEB_ADDRESS
    assert context.params["no_window"] is True
    assert "SuccessExitStatus=143" in unit  # see catsdogs_edge.cli.process
    if analyze := shutil.which("systemd-analyze"):
        copy = tmp_path / "catsdogs-cam.service"
        copy.write_text(unit.replace(program, shutil.which("true") or "/bin/true"))
        found = subprocess.run([analyze, "verify", copy], capture_output=True, text=True, check=False)
        assert found.stderr == ""


@pytest.mark.slow
def test_the_demo_needs_a_fresh_clone_and_nothing_else(tmp_path: Path) -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=HOUSE, capture_output=True, text=True, check=True).stdout
    for name in tracked.split("\0")[:-1]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(HOUSE / name, tmp_path / name)
    done = subprocess.run(["make", "demo"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "PASS: largest difference of logits" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines() if line.endswith(".png")]
    assert len(rows) == 12
    for label, _, path in rows:
        assert (label == "neither") == (Path(path).parent.name == "room")
        assert label in {"neither", Path(path).parent.name}
    installed = {path.name for path in (tmp_path / ".venv-edge").glob("lib/python*/site-packages/*")}
    assert "onnxruntime" in installed
    assert not installed & {"tensorflow", "keras", "onnx", "matplotlib"}

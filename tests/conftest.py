"""What all tests share."""

import contextlib
import gc
import hashlib
import importlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # JAX sets it to 1, and commands that tests start inherit it

if (worker := os.environ.get("PYTEST_XDIST_WORKER")) and "CATSDOGS_ONE_CORE" in os.environ:
    # A core for each of pytest's processes: threads of several that share their cores wait for each other, and spin.
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})

signal.signal(signal.SIGINT, signal.default_int_handler)  # in a background job it is ignored, by commands of tests, too

RUN_SIZE = 96
"""Edge length of the input of the network that tests share, in pixels."""

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
UV = ROOT / "build" / "uv" / "bin" / "uv"
"""Which `make` installed."""

HANDLED = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]

_A_DAY = 86_400  # seconds

LONGEST = (
    "integration/test_real_images.py",
    "integration/test_other_engines.py",
    "train/network/test_distribution.py",
    "train/stages/test_resume.py",
    "train/stages/test_distillation.py",
    "integration/test_loop.py",
    "integration/test_recipes.py",
    "integration/test_documents.py",
    "export/test_graph_rewrites.py",
    "train/network/test_student.py",
    "train/network/test_pruning.py",
    "export/test_export.py",
    "train/network/test_resnet.py",
    "train/network/test_familiarity.py",
    "integration/test_read_back.py",
)
"""Files that come first, in this order, or one of pytest's processes would wait for the other at the end.

First the slow ones, then the fast ones. The second of each makes what `published` holds, while the one that runs beside
it needs nothing of that.
"""


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        gc.disable()  # until all is imported: see `importing_tensorflow`


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {ROOT / "tests" / name: index for index, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path, len(LONGEST)))


def pytest_report_header() -> list[str]:
    versions = []
    for name in ("onnxruntime", "opencv-python", "opencv-python-headless", "tensorflow", "keras", "tf2onnx", "onnx"):
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    providers = importlib.import_module("onnxruntime").get_available_providers()
    real = "found" if SHARED.is_dir() else "missing: tests marked 'shared' are skipped"
    return [f"{', '.join(versions)}", f"providers: {', '.join(providers)}", f"real images: {real}"]


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, for_all: Path) -> Iterator[Path]:
    """The user's cache folder, away from the real one; commands that tests start find it, too.

    What JAX compiles, half of each training, is kept for all of them.
    """
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_CACHE_HOME", str(folder))
        environment.setenv("JAX_COMPILATION_CACHE_DIR", str(for_all / "jax"))
        environment.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        yield folder


def install(folder: Path, *what: str | Path) -> Path:
    """Makes an environment with these arguments of `pip install`, by uv, as `make` does; returns its scripts."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    command: list[str | Path] = [UV, "pip", "install", "--python", scripts / "python"]
    if not UV.is_file():
        command = [scripts / "pip", "install", "--no-compile", "--disable-pip-version-check"]
    subprocess.run([*command, "--quiet", *what], check=True)
    return scripts


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real images and weights beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("the real images are not on this machine (no ../shared beside the checkout)")
    return SHARED


@pytest.fixture(scope="session")
def scripts() -> Path:
    """Folder of the installed console scripts."""
    return Path(sysconfig.get_path("scripts"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if sys.platform != "linux":
        pytest.skip("mounts as Linux does")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("may not mount a small disk here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


Call = Callable[..., "subprocess.CompletedProcess[str]"]
"""`call(app, name, *arguments)`; see `call_here`."""


def call_here(
    app: object, name: str, *arguments: str | Path, env: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Runs a command in this process, as its console script does: what it imports takes a part of a second, or seconds.

    `env` takes the place of the environment.
    """
    run = importlib.import_module("catsdogs_edge.cli.process").run
    handlers = {number: signal.getsignal(number) for number in HANDLED}
    environment = dict(os.environ)

    def make_file() -> Any:  # not a StringIO: commands of the command inherit it; where tests take no folder away
        return tempfile.TemporaryFile("w+", encoding="utf-8", newline="", dir=ROOT)

    with contextlib.ExitStack() as stack:
        out, err = (stack.enter_context(make_file()) for _ in range(2))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(sys, "unraisablehook", sys.unraisablehook)  # the command sets its own
        patch.setattr(sys, "argv", [f"/bin/{name}", *map(str, arguments)])
        patch.setattr(logging.getLogger(), "handlers", [])  # the command adds its own
        if env is not None:
            os.environ.clear()
            os.environ.update(env)
        try:
            with pytest.raises(SystemExit) as end:
                run(app, extra="export")
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            os.environ.clear()
            os.environ.update(environment)
        printed = []
        for stream in (out, err):
            stream.seek(0)
            printed.append(stream.read())
        return subprocess.CompletedProcess(sys.argv, int(end.value.code or 0), *printed)


def work_here(app: object, name: str, *arguments: str | Path) -> None:
    """Runs a command that must do its work in this process."""
    done = call_here(app, name, *arguments)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def call() -> Call:
    """Runs a command in this process."""
    return call_here


@pytest.fixture(scope="session")
def for_all() -> Path:
    """A folder for what is made once, whichever of pytest's processes asks first; read only for all others.

    It stays for the next run of the tests, as long as neither the code nor a version of what it needs changes.
    """
    sources = sorted(path for part in ("edge", "export", "train", "tests") for path in (ROOT / part).rglob("*.py"))
    digest = hashlib.sha256()
    for path in (*sources, ROOT / "uv.lock", ROOT / "pyproject.toml"):
        digest.update(path.read_bytes())
    folder = ROOT / "build" / "tests" / digest.hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)
    for other in folder.parent.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another of pytest's processes was faster
            if time.time() - other.stat().st_mtime > _A_DAY:  # a younger one may be in use
                shutil.rmtree(other, ignore_errors=True)
    return folder


def make_once(folder: Path, name: str, make: Callable[[Path], None]) -> Path:
    """Makes a folder in `for_all`, unless another process has."""
    with importlib.import_module("filelock").FileLock(folder / f".{name}.lock"):
        if not (folder / f".{name}.done").exists():
            shutil.rmtree(folder / name, ignore_errors=True)  # of a try that failed
            make(folder / name)
            (folder / f".{name}.done").touch()
    return folder / name


@pytest.fixture(scope="session")
def drawings(for_all: Path) -> Path:
    """A folder of 20 drawn cats and 20 drawn dogs."""
    write = importlib.import_module("catsdogs_edge.images.drawings").write_folder
    return make_once(for_all, "drawings", lambda folder: write(folder, per_class=20))


def keep_output(out: Path, name: str, *arguments: str | Path) -> None:
    """Runs `catsdogs-train` or `catsdogs-export` with `--out`, and keeps what was printed in its folder."""
    commands = importlib.import_module("catsdogs_edge.cli.overview").COMMANDS
    done = call_here(commands[name.removeprefix("catsdogs-")].load(), name, *arguments, "--out", out)
    assert done.returncode == 0, done.stderr
    (out / "printed.txt").write_text(done.stdout + done.stderr)


@pytest.fixture(scope="session")
def small_weights(for_all: Path) -> Path:
    """The `model.keras` of a small network, for `--weights`."""
    write = importlib.import_module("tests.train.small_network").write_small_run
    return make_once(for_all, "small", write) / "model.keras"


@pytest.fixture(scope="session")
def training(for_all: Path, small_weights: Path) -> Any:
    """The training that others are compared with, in a small network: see tests/train/trainings.py."""
    return importlib.import_module("tests.train.trainings").Training(for_all, small_weights)


@pytest.fixture(scope="session")
def run_folder(drawings: Path, for_all: Path) -> Path:
    """What `catsdogs-train` makes of the drawings, with random weights, in one epoch; small images are fast."""
    small = ["--weights", "none", "--epochs", "1", "--batch-size", "8", "--image-size", str(RUN_SIZE)]
    return make_once(for_all, "run", lambda out: keep_output(out, "catsdogs-train", drawings, *small))


@pytest.fixture(scope="session")
def published(run_folder: Path, for_all: Path) -> Path:
    """What `catsdogs-export --int8` makes of that run."""
    return make_once(for_all, "published", lambda out: keep_output(out, "catsdogs-export", run_folder, "--int8"))

"""Runs the edge on 64-bit ARM, emulated, and compares its answers with those of this machine.

    make test-arm64

QEMU's user mode runs Debian's Python for arm64 with the wheels for aarch64 that a board would install: no board, no
root file system that boots. It says what answers are, not how fast they come. Needs Debian or Ubuntu with apt-get and
debootstrap, and half a gigabyte for what it fetches into `build/arm64`.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "arm64"
PACKAGES = ("onnxruntime", "opencv-python-headless", "numpy", "typer", "rich", "msgspec", "simplejpeg")
SOURCE = """Types: deb
URIs: http://deb.debian.org/debian
Suites: trixie
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
"""Where a QEMU is new enough: that of Debian 12 dies at `import onnxruntime`."""

_DRAWINGS = 6  # an inference takes about ten seconds in emulation

app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def compare(
    models: Annotated[list[Path], typer.Argument(help="ONNX files that catsdogs-export wrote.")],
    uv: Annotated[Path, typer.Option(help="The uv that installs.")] = ROOT / "build" / "uv" / "bin" / "uv",
) -> None:
    """Ask models here and on ARM, and print a table; exit code 1 where they differ by more than a file allows."""
    python = prepare(uv)
    with tempfile.TemporaryDirectory() as scratch:
        images = Path(scratch, "images")
        draw_images(images)
        rows = []
        for model in models:
            here, there = (ask(command, model, images) for command in ([sys.executable], python))
            rows.append(describe(model, here, there))
    sys.stdout.write("| file | its own test | labels | odd files | logits differ by | allowed | seconds |\n")
    sys.stdout.write("|---|---|---:|---:|---:|---:|---:|\n")
    sys.stdout.writelines(f"| {' | '.join(row)} |\n" for row, _ in rows)
    raise typer.Exit(not all(is_good for _, is_good in rows))


def prepare(uv: Path) -> list[str]:
    """Fetches what is not there yet; returns the command that runs Python for ARM."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    if not (FOLDER / ".done").exists():
        _fetch_emulator(FOLDER)
        root = FOLDER / "root"
        words = ["--arch=arm64", "--foreign", "--variant=minbase", "--include=python3,libgomp1,libstdc++6"]
        _run("debootstrap", *words, "bookworm", root)
        for package in sorted((root / "var/cache/apt/archives").glob("*.deb")):
            _run("dpkg", "-x", package, root)
        platform = ["--python-platform", "aarch64-manylinux_2_28", "--python-version", "3.11", "--only-binary", ":all:"]
        constraints = ["-c", str(ROOT / "constraints.txt")]
        _run(uv, "pip", "install", "--quiet", *platform, *constraints, "--target", FOLDER / "site", *PACKAGES)
        (FOLDER / ".done").touch()
    return [str(FOLDER / "qemu-aarch64"), "-L", str(FOLDER / "root"), str(FOLDER / "root/usr/bin/python3.11")]


def _fetch_emulator(folder: Path) -> None:
    """Takes `qemu-aarch64`, one static program, out of a package of a newer Debian."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        (scratch / "lists/partial").mkdir(parents=True)
        (scratch / "cache/archives/partial").mkdir(parents=True)
        (scratch / "trixie.sources").write_text(SOURCE, encoding="ascii")
        settings = {
            "Dir::Etc::sourcelist": scratch / "trixie.sources", "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::lists": scratch / "lists", "Dir::Cache": scratch / "cache",
        }  # fmt: skip
        apt = ["apt-get", "-qq"]
        for key, value in settings.items():
            apt += ["-o", f"{key}={value}"]
        _run(*apt, "update")
        _run(*apt, "download", "qemu-user", cwd=scratch)
        (package,) = scratch.glob("qemu-user_*.deb")
        _run("dpkg", "-x", package, scratch / "qemu")
        (scratch / "qemu/usr/bin/qemu-aarch64").replace(folder / "qemu-aarch64")


def _run(*command: str | Path, cwd: Path | None = None) -> None:
    subprocess.run(command, check=True, cwd=cwd, stdout=subprocess.DEVNULL)


def draw_images(folder: Path) -> None:
    """Writes drawings, and whatever else a user drops on it: damaged files, odd formats, no images at all."""
    sys.path.insert(0, str(ROOT))
    from tests.edge.cli.test_hostile import BAD, GOOD  # noqa: PLC0415

    from catsdogs_edge.images.drawings import write_folder  # noqa: PLC0415 - the emulated process draws nothing

    write_folder(folder / "drawings", per_class=_DRAWINGS // 3, kinds=["cat", "dog", "room"], soft=True)
    (folder / "drop").mkdir()
    for name, (make, _) in BAD.items():
        if name != "bomb.png":  # which is refused by its header, and takes long to pack
            make(folder / "drop" / name)
    for name, data in GOOD.items():
        if "megapixels" not in name:
            (folder / "drop" / name).write_bytes(data)


def ask(python: list[str], model: Path, images: Path) -> dict[str, Any]:
    """Asks a model about images in one process, and how it does in its own test."""
    site = [str(FOLDER / "site")] if len(python) > 1 else []
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([*site, str(ROOT / "edge")]),
        "PYTHONPYCACHEPREFIX": str(FOLDER / "compiled"),  # once, because it takes long in emulation
    }
    command = [*python, __file__, "answer", str(model), str(images)]
    done = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@app.command()
def answer(model: Path, images: Path) -> None:
    """Print what a model answers in this process, as JSON."""
    from catsdogs_edge.errors import ImageError  # noqa: PLC0415 - after the paths are set
    from catsdogs_edge.images.decode import load  # noqa: PLC0415
    from catsdogs_edge.model import selftest  # noqa: PLC0415
    from catsdogs_edge.model.classifier import Classifier  # noqa: PLC0415

    started = time.perf_counter()
    classifier = Classifier.load(model, threads=1)
    outcome = selftest.run(classifier, model)
    rows: dict[str, Any] = {}
    for path in sorted(images.rglob("*")):
        if path.is_dir() and path.name != "folder.jpg":
            continue
        name = str(path.relative_to(images))
        try:
            pixels = load(path, classifier.contract.image_size)
        except ImageError as error:
            rows[name] = str(error)
            continue
        total = int(pixels.astype(np.int64).sum())
        if path.parent.name == "drop":  # in emulation an inference takes ten seconds
            rows[name] = str(total)
            continue
        outputs = classifier.predict(pixels[np.newaxis])
        (prediction,) = classifier.decide(outputs)
        rows[name] = [prediction.label, outputs.logits[0].tolist(), total]
    found = {"rows": rows, "passed": outcome.passed, "largest": outcome.largest, "tolerance": outcome.tolerance}
    sys.stdout.write(json.dumps(found | {"seconds": time.perf_counter() - started}))


def describe(model: Path, here: dict[str, Any], there: dict[str, Any]) -> tuple[list[str], bool]:
    """Returns a row of the table, and whether all is as it should be."""
    ours, theirs = here["rows"], there["rows"]
    images = [name for name, row in ours.items() if isinstance(row, list)]
    both = [name for name in images if isinstance(theirs[name], list)]  # else it could not be read there
    difference = float(np.max([np.abs(np.subtract(ours[name][1], theirs[name][1])).max() for name in both]))
    same = sum(ours[name][0] == theirs[name][0] for name in both)
    odd = [name for name in ours if name not in images]
    alike = sum(ours[name] == theirs[name] for name in odd)
    allowed = there["tolerance"]
    row = [
        model.name,
        f"{'passes' if there['passed'] else 'FAILS'} ({there['largest']:.2g})",
        f"{same} of {len(images)}",
        f"{alike} of {len(odd)}",
        f"{difference:.2g}",
        f"{allowed:.2g}",
        f"{there['seconds']:.0f} (here {here['seconds']:.1f})",
    ]
    return row, there["passed"] and same == len(images) and alike == len(odd) and difference <= allowed


if __name__ == "__main__":
    app()

"""Builds wheel and sdist, twice, and tries each of them in an empty environment.

    make release-check

What is released is in `dist/` then: the same bytes whenever it is built, and complete.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
SBOM = ROOT / "build" / "release" / "sbom.cdx.json"
"""What the device has with it, as CycloneDX."""

UV = ROOT / "build" / "uv" / "bin" / "uv"


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Runs a command that must do its work; returns what it printed."""
    return subprocess.run(command, check=True, cwd=cwd, stdout=subprocess.PIPE, text=True).stdout


def released(folder: Path) -> list[Path]:
    """Returns the files that are released; uv leaves another beside them."""
    return sorted(folder.glob("catsdogs-*"))


def build(folder: Path) -> dict[str, str]:
    """Builds both; returns the SHA-256 of each by its name."""
    run(UV, "build", "--quiet", "--python", sys.executable, "--out-dir", folder)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in released(folder)}


def find_pythons(project: dict[str, Any]) -> list[str]:
    """Returns this interpreter, and those of the other versions that we support, as far as this machine has them."""
    versions = [line.rpartition(" ")[2] for line in project["classifiers"] if "Python :: 3." in line]
    command: list[str | Path] = [UV, "python", "find", "--system", "--no-python-downloads"]
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    others = [version for version in versions if version != own]
    finds = [subprocess.run([*command, version], capture_output=True, text=True, check=False) for version in others]
    return [sys.executable, *(done.stdout.strip() for done in finds if done.returncode == 0)]


def try_out(artifact: Path, version: str, python: str, scratch: Path) -> None:
    """Installs one into an empty environment, and lets it examine itself and classify drawings."""
    scripts = scratch / "env" / "bin"
    run(UV, "venv", "--quiet", "--clear", "--python", python, scratch / "env")
    extra = f"{artifact}[edge-headless]"
    run(UV, "pip", "install", "--quiet", "--python", scripts / "python", "-c", ROOT / "constraints.txt", extra)
    found = run(scripts / "catsdogs", "--version", cwd=scratch).splitlines()
    if found[0] != f"catsdogs {version}":
        raise SystemExit(f"{artifact.name} calls itself {found[0]}, expected catsdogs {version}")
    run(scripts / "catsdogs-doctor", cwd=scratch)
    run(scripts / "python", "-m", "catsdogs_edge.images.drawings", scratch / "drawings", "2", "--soft", cwd=scratch)
    run(scripts / "catsdogs-classify", scratch / "drawings", cwd=scratch)
    if python == sys.executable:
        run(sys.executable, "-m", "cyclonedx_py", "environment", scripts / "python", "--output-file", SBOM)
    sys.stdout.write(f"{artifact.name} works on {found[-1]}\n")


def try_sources(sdist: Path, scratch: Path) -> None:
    """Runs the demo, and builds the documentation, from what the source distribution holds."""
    shutil.unpack_archive(sdist, scratch, filter="data")
    run("make", "demo", "docs", cwd=scratch / sdist.name.removesuffix(".tar.gz"))
    sys.stdout.write(f"{sdist.name} has a demo and documentation that work\n")


def main() -> None:
    """Builds, compares, and tries out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for old in released(DIST):
        old.unlink()
    first = build(DIST)
    with tempfile.TemporaryDirectory() as name:
        again = build(Path(name, "dist"))
        if first != again:
            raise SystemExit(f"two builds differ: {first}, then {again}")
        run(sys.executable, "-m", "twine", "check", "--strict", *released(DIST))
        for artifact in released(DIST):
            for python in find_pythons(project):
                try_out(artifact, project["version"], python, Path(name))
            sys.stdout.write(f"{artifact.name}: {artifact.stat().st_size / 1e6:.1f} MB, {first[artifact.name]}\n")
        try_sources(next(DIST.glob("*.tar.gz")), Path(name))


if __name__ == "__main__":
    main()

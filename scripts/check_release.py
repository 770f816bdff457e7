"""Builds wheel and sdist, twice, and tries each of them in an empty environment.

    make release-check

What is released is in `dist/` then: the same bytes whenever it is built, and complete.
"""

import hashlib
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
SBOM = ROOT / "build" / "release" / "sbom.cdx.json"
"""What the device has with it, as CycloneDX."""

UV = ROOT / "build" / "uv" / "bin" / "uv"


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Runs a command that must do its work; returns what it printed."""
    return subprocess.run(command, check=True, cwd=cwd, stdout=subprocess.PIPE, text=True).stdout


def found(folder: Path) -> list[Path]:
    """Returns the files that are released; uv leaves another beside them."""
    return sorted(folder.glob("catsdogs-*"))


def build(folder: Path) -> dict[str, str]:
    """Builds both; returns the SHA-256 of each by its name."""
    run(UV, "build", "--quiet", "--out-dir", folder)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found(folder)}


def try_out(artifact: Path, version: str, scratch: Path) -> None:
    """Installs one into an empty environment, and lets it examine itself and classify drawings."""
    scripts = scratch / "env" / "bin"
    run(sys.executable, "-m", "venv", "--clear", scratch / "env")
    extra = f"{artifact}[edge-headless]"
    run(UV, "pip", "install", "--quiet", "--python", scripts / "python", "-c", ROOT / "constraints.txt", extra)
    found = run(scripts / "catsdogs", "--version", cwd=scratch).splitlines()[0]
    if found != f"catsdogs {version}":
        raise SystemExit(f"{artifact.name} calls itself {found}, expected catsdogs {version}")
    run(scripts / "catsdogs-doctor", cwd=scratch)
    run(scripts / "python", "-m", "catsdogs_edge.images.drawings", scratch / "drawings", "2", "--soft", cwd=scratch)
    run(scripts / "catsdogs-classify", scratch / "drawings", cwd=scratch)
    run(sys.executable, "-m", "cyclonedx_py", "environment", scripts / "python", "--output-file", SBOM)


def main() -> None:
    """Builds, compares, and tries out."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    for old in found(DIST):
        old.unlink()
    first = build(DIST)
    with tempfile.TemporaryDirectory() as name:
        again = build(Path(name, "dist"))
        if first != again:
            raise SystemExit(f"two builds differ: {first}, then {again}")
        run(sys.executable, "-m", "twine", "check", "--strict", *found(DIST))
        for artifact in found(DIST):
            try_out(artifact, version, Path(name))
            sys.stdout.write(f"{artifact.name}: {artifact.stat().st_size / 1e6:.1f} MB, {first[artifact.name]}\n")


if __name__ == "__main__":
    main()

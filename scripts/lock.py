"""Writes the lock files anew: which versions, and which files by their SHA-256, an environment is made of.

    make lock               after a change of the ranges in pyproject.toml; what still fits stays
    make lock UPGRADE=1     the newest versions within the ranges; then run all tests

`uv.lock` is what uv and make install from. The others follow from it: `locks/*.txt` for
`pip install --require-hashes -r`, on any system and Python that we support, and `constraints.txt` for `pip install -c`.
"""

import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UV = ROOT / "build" / "uv" / "bin" / "uv"

_SERVICES = ("web", "mqtt", "watch")
LOCKS = {
    "edge": ("edge", *_SERVICES),
    "edge-headless": ("edge-headless", *_SERVICES),
    "edge-cuda": ("edge-cuda", *_SERVICES),
    "edge-openvino": ("edge-openvino", *_SERVICES),
    "train": ("train", "export", "edge-headless"),
    "train-jax": ("train-jax", "edge-headless"),
}
"""Extras of each `locks/NAME.txt`."""

HEADER = "# From uv.lock, by `make lock`; do not change it by hand.\n"


def constraints(lock: str, exported: Iterable[str]) -> str:
    """Returns the content of `constraints.txt` for that of `uv.lock`: one line for each version of a package.

    Where there are two, each says for which Pythons it is, as the exported files do.
    """
    packages = [package for package in tomllib.loads(lock)["package"] if "registry" in package["source"]]
    counts = Counter(package["name"] for package in packages)
    text = "".join(exported)
    lines = []
    for package in packages:
        line = f"{package['name']}=={package['version']}"
        if counts[package["name"]] > 1:
            marked = set(re.findall(rf"^({re.escape(line)} ; .*) \\$", text, re.MULTILINE))
            if len(marked) != 1:
                raise SystemExit(f"{line}: for which Pythons is it? None of locks/*.txt says so, or two do: {marked}")
            (line,) = marked
        lines.append(f"{line}\n")
    return HEADER + "".join(lines)


def export(extras: tuple[str, ...]) -> str:
    """Returns what pip needs to install these extras' requirements, with hashes."""
    return HEADER + uv("export", "--frozen", "--no-emit-project", *(f"--extra={extra}" for extra in extras))


def uv(*arguments: str, given: str = "") -> str:
    """Runs uv in the repository; returns what it prints, without its own header and remarks."""
    command: list[str | Path] = [UV, *arguments, "--quiet", "--no-header", "--no-annotate"]
    done = subprocess.run(command, input=given, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    return done.stdout


def main() -> None:
    """Locks, then writes what follows from it; the arguments are those of `uv lock`."""
    subprocess.run([UV, "lock", *sys.argv[1:]], check=True, cwd=ROOT)
    texts = {f"locks/{name}.txt": export(extras) for name, extras in LOCKS.items()}
    texts["constraints.txt"] = constraints((ROOT / "uv.lock").read_text(encoding="utf-8"), list(texts.values()))
    own = ROOT / "locks" / "uv.txt"
    asked = "uv" if "--upgrade" in sys.argv else own.read_text(encoding="utf-8").splitlines()[1].partition(" ")[0]
    texts["locks/uv.txt"] = HEADER + uv("pip", "compile", "--universal", "--generate-hashes", "-", given=asked)
    for name, text in texts.items():
        path = ROOT / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:  # make installs anew what has changed
            path.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()

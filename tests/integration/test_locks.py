"""The lock files fit the ranges in pyproject.toml, and each other."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.conftest import UV

HOUSE = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]
LOCKED = {
    (package["name"], package["version"])
    for package in tomllib.loads((HOUSE / "uv.lock").read_text())["package"]
    if "registry" in package["source"]
}
LOCKS = sorted((HOUSE / "locks").glob("*.txt"))


def pins(text: str) -> set[tuple[str, str]]:
    return set(re.findall(r"^([\w.-]+)==([^\s;\\]+)", text, re.MULTILINE))


@pytest.mark.parametrize("extra", ["", *PROJECT["optional-dependencies"]])
def test_what_is_locked_is_in_its_range(extra: str) -> None:
    asked = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    for requirement in map(Requirement, asked):
        name = requirement.name.lower().replace("_", "-")
        versions = [version for locked, version in LOCKED if locked == name]
        is_there = any(map(requirement.specifier.contains, versions))
        assert name == "catsdogs" or is_there, f"{requirement}, locked is {versions}: run `make lock`"


def test_constraints_are_what_is_locked() -> None:
    assert pins((HOUSE / "constraints.txt").read_text()) == LOCKED


@pytest.mark.skipif(not UV.is_file(), reason="needs the uv that make installs")
def test_the_files_are_those_that_follow_from_uv_lock() -> None:
    spec = importlib.util.spec_from_file_location("lock", HOUSE / "scripts" / "lock.py")
    assert spec
    assert spec.loader
    lock = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lock)
    texts = {name: lock.export(extras) for name, extras in lock.LOCKS.items()}
    assert {path.stem for path in LOCKS} == {*texts, "uv"}
    for name, text in texts.items():
        assert (HOUSE / "locks" / f"{name}.txt").read_text() == text, f"locks/{name}.txt is of before: run `make lock`"
    constraints = lock.constraints((HOUSE / "uv.lock").read_text(), list(texts.values()))
    assert (HOUSE / "constraints.txt").read_text() == constraints


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_each_file_is_checked_by_its_hash(path: Path) -> None:
    text = re.sub(r"\\\n", "", path.read_text())
    assert len(text.splitlines()) > 1
    for line in text.splitlines():
        assert line.startswith("#") or "--hash=sha256:" in line, line


def test_there_is_one_for_each_device() -> None:
    extras = {path.stem for path in LOCKS} - {"uv"}
    assert extras <= PROJECT["optional-dependencies"].keys()
    assert {extra for extra in PROJECT["optional-dependencies"] if extra.startswith(("edge", "train"))} == {
        *extras, "train-libraries",
    }  # fmt: skip

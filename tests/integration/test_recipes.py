"""The recipes of docs/scale.md run as they stand there, on Beam's and Spark's own runners for one machine."""

import csv
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from catsdogs_edge.images.drawings import write_folder
from tests.conftest import install

HOUSE = Path(__file__).resolve().parents[2]
RECIPES = HOUSE / "tests" / "integration" / "recipes.txt"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("tensorflow") is None or sys.platform != "linux",
        reason="runs once, with the other tests that build an environment",
    ),
]

Rows = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment with both of them."""
    folder = tmp_path_factory.mktemp("recipes") / "venv"
    pip = install(folder, "-r", RECIPES) / "pip"
    quiet = ["--quiet", "--disable-pip-version-check"]
    subprocess.run([pip, "install", *quiet, "--no-deps", "-e", HOUSE], check=True)
    # Spark comes as 450 MB of source, of which pip would make, and unpack, a wheel first: that takes a minute.
    (spark,) = re.findall(r"^# (pyspark==([^\s,]+))", RECIPES.read_text(), re.MULTILINE)
    subprocess.run([pip, "download", *quiet, "--no-deps", "-d", folder, spark[0]], check=True)
    shutil.unpack_archive(folder / f"pyspark-{spark[1]}.tar.gz", folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "spark.pth").write_text(str(folder / f"pyspark-{spark[1]}"))
    return folder / "bin" / "python"


@pytest.fixture
def holiday(tmp_path: Path, scripts: Path) -> Rows:
    """Rows of `catsdogs-classify` for a folder of that name."""
    write_folder(tmp_path / "holiday", per_class=3)
    (tmp_path / "holiday" / "bad.jpg").write_bytes(b"no image")
    done = subprocess.run(
        [scripts / "catsdogs-classify", "holiday", "--csv", "-"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    return {row["path"]: told(row) for row in csv.DictReader(done.stdout.splitlines())}


def told(row: dict[str, Any]) -> dict[str, Any]:
    """A row without its path, as CSV says it."""
    return {
        name: f"{value:.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else value or ""
        for name, value in row.items()
        if name != "path"
    }


def run(name: str, python: Path, folder: Path) -> None:
    """Runs the recipe that imports a module."""
    blocks = re.findall(r"^```python\n(.*?)^```", (HOUSE / "docs" / "scale.md").read_text(), re.DOTALL | re.MULTILINE)
    (recipe,) = (block for block in blocks if f"import {name}" in block or f"from {name}" in block)
    (folder / "recipe.py").write_text(recipe)
    (spark,) = python.parents[1].glob("pyspark-*/deps")
    environment = os.environ | {"PYSPARK_PYTHON": str(python), "SPARK_HOME": str(spark)}
    done = subprocess.run(
        [python, "recipe.py"], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr


def test_beam(python: Path, holiday: Rows, tmp_path: Path) -> None:
    run("apache_beam", python, tmp_path)
    rows = [json.loads(line) for file in tmp_path.glob("labels*.jsonl") for line in file.read_text().splitlines()]
    assert len(rows) == 7
    assert {row["path"]: told(row) for row in rows} == holiday


@pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java")
def test_spark(python: Path, holiday: Rows, tmp_path: Path) -> None:
    run("pyspark", python, tmp_path)
    code = "import json, pyarrow.parquet as pq; print(json.dumps(pq.read_table('labels').to_pylist()))"
    read = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    rows = json.loads(read.stdout)
    assert len(rows) == 7
    assert {row["path"].removeprefix(f"file:{tmp_path}/"): told(row) for row in rows} == holiday

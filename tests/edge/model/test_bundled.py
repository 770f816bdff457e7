"""The model in the package, on drawings; photographs are in tests/integration/test_real_images.py."""

import hashlib
import re
import subprocess
from pathlib import Path

import pytest

from catsdogs_edge.classify.batching import classify_files
from catsdogs_edge.images.discovery import find_images
from catsdogs_edge.images.drawings import KINDS, write_folder
from catsdogs_edge.model import selftest
from catsdogs_edge.model.bundled import MODEL
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.contract import Precision

_README = Path(__file__).parents[3] / "README.md"


def test_it_is_what_its_card_says() -> None:
    classifier = Classifier.load()
    assert classifier.contract.classes == ("cat", "dog")
    assert classifier.contract.precision is Precision.INT8
    assert classifier.labels == ("cat", "dog", "neither")
    assert selftest.run(classifier, MODEL).passed
    assert MODEL.stat().st_size < 6e6
    card = MODEL.with_name("MODEL_CARD.md").read_text()
    assert f"SHA-256: `{hashlib.sha256(MODEL.read_bytes()).hexdigest()}`" in card
    assert f"{classifier.contract.training.images} photographs" in card
    assert classifier.contract.familiarity
    assert f"{classifier.contract.familiarity.outliers} images of " in card


def test_it_tells_soft_drawings_of_cats_and_dogs_and_empty_rooms(tmp_path: Path) -> None:
    write_folder(tmp_path, 10, 1, KINDS, soft=True)
    labels: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for row in classify_files(Classifier.load(), find_images([tmp_path])):
        assert row.prediction
        labels[row.path.parent.name].append(row.prediction.label)
    assert labels == {"cat": ["cat"] * 10, "dog": ["dog"] * 10, "room": ["neither"] * 10}


def test_the_readme_shows_its_answers(tmp_path: Path) -> None:
    write_folder(tmp_path, 1, 1, KINDS, soft=True)
    shown = re.findall(r"^(\w+) +([\d.]+)%  demo/(\w+)/1.png$", _README.read_text(), re.MULTILINE)
    rows = classify_files(Classifier.load(), find_images([tmp_path]))
    found = [(row.prediction, row.path.parent.name) for row in rows if row.prediction]
    assert [(item.label, kind) for item, kind in found] == [(label, kind) for label, _, kind in shown]
    # Kernels of other CPUs round in other places.
    assert [100 * item.probability for item, _ in found] == pytest.approx([float(says) for _, says, _ in shown], abs=1)


def test_a_command_takes_it_without_being_told(tmp_path: Path, scripts: Path) -> None:
    write_folder(tmp_path, 1, kinds=["room"], soft=True)
    done = subprocess.run([scripts / "catsdogs-classify", tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("neither")
    assert "catsdogs.int8.onnx (int8) on " in done.stderr

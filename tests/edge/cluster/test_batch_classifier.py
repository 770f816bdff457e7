"""The classifier that others send to their workers."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from catsdogs_edge.cluster.batch_classifier import BatchClassifier
from catsdogs_edge.errors import ImageError, ModelError
from tests.edge.conftest import BLUE, GREY, RED, encode, plain

IMAGES = [encode(plain(RED)), b"", encode(plain(BLUE), ".jpg"), encode(plain(RED, 400, 400), ".jpg")[:2000]]


def test_rows_are_those_of_the_command(tiny: Path) -> None:
    rows = BatchClassifier(tiny).classify_bytes([*IMAGES, ImageError("no such file"), None])
    assert [list(row) for row in rows] == 6 * [["label", "probability", "familiarity", "cat", "dog", "error"]]
    assert [row["label"] for row in rows] == ["cat", None, "dog", None, None, None]
    assert [row["error"] and row["error"].partition(":")[0] for row in rows] == [
        None, "empty file", None, "truncated JPEG", "no such file", "no bytes are given",
    ]  # fmt: skip
    assert rows[0]["cat"] == rows[0]["probability"] == round(1 - rows[0]["dog"], 6)


def test_it_travels_without_its_file_and_opens_the_model_there(tiny: Path, tmp_path: Path) -> None:
    copy = tmp_path / "tiny.onnx"
    copy.write_bytes(tiny.read_bytes())
    classifier = BatchClassifier(copy)
    expected = classifier.classify_bytes(IMAGES)
    copy.unlink()
    (tmp_path / "classifier.pickle").write_bytes(pickle.dumps((classifier, IMAGES)))
    code = (
        "import pickle, sys; classifier, images = pickle.load(open(sys.argv[1], 'rb'));"
        "print(classifier._classifier is None, classifier.classify_bytes(images))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "classifier.pickle"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"True {expected}"
    assert not list(tmp_path.glob("catsdogs-*"))


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_change_nothing_but_the_time(threads: int, familiar: Path) -> None:
    images = [encode(plain(colour)) for colour in (RED, GREY, BLUE)] * 9
    rows = BatchClassifier(familiar, threads=threads).classify_bytes(images)
    assert [row["label"] for row in rows] == ["cat", "neither", "dog"] * 9
    accepted = BatchClassifier(familiar, threads=threads, accept_all=True).classify_bytes(images)
    assert {row["label"] for row in accepted} == {"cat", "dog"}


def test_no_images_are_no_rows(tiny: Path) -> None:
    assert BatchClassifier(tiny).classify_bytes([]) == []


def test_a_model_that_is_none_is_said_before_it_travels(tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="not a model"):
        BatchClassifier(tmp_path / "no.onnx")

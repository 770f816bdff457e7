import logging
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from catsdogs_edge.capture.frames import Frame
from catsdogs_edge.errors import ModelError
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.stream import model_file
from catsdogs_edge.stream.explain import Explainer
from catsdogs_edge.stream.frame_result import to_row
from catsdogs_edge.stream.model_file import ReplaceableModel
from catsdogs_edge.stream.pipeline import FrameClassifier
from tests.edge.conftest import GREY, RED, plain
from tests.edge.model.test_replace import damage


@pytest.fixture
def place(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(tiny, tmp_path / "model.onnx"))


@pytest.fixture
def model(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplaceableModel]:
    monkeypatch.setattr(model_file, "SECONDS_BETWEEN_LOOKS", 1000)  # the tests look
    opened = ReplaceableModel(place, Classifier.load)
    yield opened
    opened._ended.set()


def look_twice(model: ReplaceableModel) -> None:
    model.look()
    model.look()


def put(new: Path, place: Path) -> None:
    beside = place.with_suffix(".new")
    shutil.copy(new, beside)
    beside.replace(place)


def test_another_file_is_taken_while_frames_come(model: ReplaceableModel, place: Path, familiar: Path) -> None:
    frames = FrameClassifier(model, smoothing=0)
    before = frames.classify(Frame(number=0, rgb=plain(GREY)))
    assert before.label == "cat"  # that model cannot say neither
    put(familiar, place)
    model.look()
    assert frames.classify(Frame(number=1, rgb=plain(GREY))).model == before.model  # it may still be written to
    model.look()
    after = frames.classify(Frame(number=2, rgb=plain(GREY)))
    assert after.label == "neither"
    assert (len(after.model), after.model != before.model) == (64, True)
    row = to_row(after, ("cat", "dog"), {"provider": "CPU", "model": "that of the start"})
    assert row["model"] == after.model
    explained = Explainer(model).explain(frames.classify(Frame(number=3, rgb=plain(RED))))
    assert explained.frame.rgb is not None


@pytest.mark.parametrize("kind", ["damaged", "torn", "other"])
def test_one_that_is_not_as_good_a_file_is_not_taken(
    kind: str, model: ReplaceableModel, place: Path, tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = tmp_path / "bad.onnx"
    if kind == "damaged":
        damage(tiny, bad)
    else:
        bad.write_bytes(tiny.read_bytes()[:-9] if kind == "torn" else b"something else")
    current = model.current
    put(bad, place)
    with caplog.at_level(logging.WARNING):
        look_twice(model)
        look_twice(model)
    assert model.current is current
    assert caplog.text.count("The model stays as it was: ") == 1
    assert FrameClassifier(model).classify(Frame(number=0, rgb=plain(RED))).label == "cat"


def test_one_that_could_not_be_read_is_tried_again(
    model: ReplaceableModel, place: Path, familiar: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load = model._load

    def refuse(path: Path) -> Classifier:
        raise ModelError(f"{path} cannot be read: Permission denied") from PermissionError()

    model._load = refuse
    before = model.current
    put(familiar, place)
    for _ in range(3):
        look_twice(model)
    assert caplog.text.count("The model stays as it was: ") == 1
    model._load = load  # it may be read now, though nothing of the file has changed
    look_twice(model)
    assert model.current is not before


def test_a_place_that_is_empty_for_a_while_changes_nothing(
    model: ReplaceableModel, place: Path, familiar: Path
) -> None:
    current = model.current
    place.unlink()
    look_twice(model)
    assert model.current is current
    put(familiar, place)
    look_twice(model)
    assert model.current is not current


def test_the_same_file_once_more_is_no_other_model(model: ReplaceableModel, place: Path, tiny: Path) -> None:
    current = model.current
    put(tiny, place)
    look_twice(model)
    assert model.current is current


def test_it_looks_by_itself(place: Path, familiar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_file, "SECONDS_BETWEEN_LOOKS", 0.05)
    model = ReplaceableModel(place, Classifier.load)
    put(familiar, place)
    end = time.monotonic() + 20
    while model.current.threshold is None and time.monotonic() < end:
        time.sleep(0.05)
    assert model.current.threshold is not None
    model.close()

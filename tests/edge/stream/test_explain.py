from pathlib import Path

import numpy as np
import pytest

from catsdogs_edge.capture.frames import Frame
from catsdogs_edge.images.decode import RgbImage
from catsdogs_edge.model import integrity
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.onnx_file import read_onnx_file
from catsdogs_edge.stream.explain import Explainer
from catsdogs_edge.stream.pipeline import FrameClassifier
from catsdogs_edge.stream.regions import Region
from tests.edge.conftest import BLUE, RED, plain


def saturated(rgb: RgbImage) -> bool:
    return bool(np.ptp(rgb.astype(int), axis=2).max() > 0)


def test_the_frame_shows_what_speaks_for_its_label(familiar: Path) -> None:
    classifier = Classifier.load(familiar)
    image = plain(RED, 224, 224)
    image[112:] = BLUE
    image[100:112] = RED  # a little more of it
    result = FrameClassifier(classifier, smoothing=0).classify(Frame(number=0, rgb=image))
    explained = Explainer(Classifier.load(familiar, accept_all=True)).explain(result)
    assert explained.smoothed == result.smoothed
    assert result.frame.rgb is image
    assert explained.frame.rgb is not None
    assert explained.frame.rgb.shape == image.shape
    assert not np.array_equal(explained.frame.rgb, image)


def test_each_region_is_explained_and_the_rest_stays(familiar: Path) -> None:
    classifier = Classifier.load(familiar)
    image = plain(RED, 200, 200)
    image[:, 100:] = BLUE
    regions = Region.parse_all(["left=0,0,80,200", "right=120,0,80,200"])
    result = FrameClassifier(classifier, smoothing=0, regions=regions).classify(Frame(number=0, rgb=image))
    explained = Explainer(classifier).explain(result).frame.rgb
    assert explained is not None
    np.testing.assert_array_equal(explained[:, 80:120], image[:, 80:120])
    for part in (explained[:, :80], explained[:, 120:]):
        assert part.min() > 0 or saturated(part)
        assert not np.array_equal(part, image[:, :80])


def test_what_was_not_classified_stays_as_it_is(familiar: Path) -> None:
    explainer = Explainer(Classifier.load(familiar))
    frames = FrameClassifier(Classifier.load(familiar))
    for frame in (Frame(number=0, rgb=None, error="gone"), Frame(number=1, rgb=plain(RED), error="damaged")):
        result = frames.classify(frame)
        assert explainer.explain(result) is result


def test_a_model_without_maps_says_so(tiny: Path, tmp_path: Path) -> None:
    assert Explainer(Classifier.load(tiny)).can_explain
    without = tmp_path / "old.onnx"
    without.write_bytes(
        integrity.seal(
            tiny.read_bytes()
            .replace(b"catsdogs.maps", b"catsdogs.mapx")
            .replace(read_onnx_file(tiny).metadata[integrity.SEAL_KEY].encode(), integrity.PLACEHOLDER.encode())
        )
    )
    assert not Explainer(Classifier.load(without)).can_explain


def test_what_cannot_be_said_ends_nothing(tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(tiny.read_bytes())
    classifier = Classifier.load(path)
    path.unlink()  # such as between two renames
    result = FrameClassifier(classifier, smoothing=0).classify(Frame(number=0, rgb=plain(RED)))
    explainer = Explainer(classifier)
    assert explainer.explain(result) is result
    assert explainer.explain(result) is result
    assert caplog.text.count("It cannot be shown where answers come from") == 1

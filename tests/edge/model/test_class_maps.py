import json
from pathlib import Path

import numpy as np
import pytest

from catsdogs_edge.errors import ModelError
from catsdogs_edge.images.decode import RgbImage
from catsdogs_edge.model import class_maps, integrity
from catsdogs_edge.model.class_maps import ImageMaps
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.onnx_file import read_onnx_file
from tests.edge.conftest import BLUE, RED, plain


@pytest.fixture
def half_red() -> RgbImage:
    """Red above, blue below: a cat above a dog."""
    image = plain(RED, 224, 224)
    image[112:] = BLUE
    return image


def test_a_map_shows_where_the_answer_comes_from(familiar: Path, half_red: RgbImage) -> None:
    prediction = Classifier.load(familiar, accept_all=True).classify(half_red, maps=True)
    assert prediction.maps is not None
    cat, dog = prediction.maps.classes.values()
    assert cat.shape == (7, 7)
    assert cat[:3].min() > 8 > -8 > cat[-3:].max()
    np.testing.assert_allclose(cat, -dog, atol=1e-4)
    np.testing.assert_allclose(prediction.maps.evidence("dog"), dog - cat, atol=1e-4)
    assert prediction.maps.familiarity is not None
    assert prediction.maps.familiarity.shape == (14, 14)


def test_the_map_of_a_prediction_is_that_of_its_label(familiar: Path) -> None:
    classifier = Classifier.load(familiar)
    red, grey = classifier.classify([plain(RED), plain((90, 90, 90))], maps=True)
    assert red.maps is not None
    assert grey.maps is not None
    assert red.map is not None
    np.testing.assert_array_equal(red.map, red.maps.evidence("cat"))
    assert grey.label == "neither"
    assert grey.maps.familiarity is not None
    np.testing.assert_array_equal(grey.map, -grey.maps.familiarity)


def test_nothing_changes_for_those_who_do_not_ask(familiar: Path, half_red: RgbImage) -> None:
    classifier = Classifier.load(familiar)
    plain_, mapped = classifier.classify(half_red), classifier.classify(half_red, maps=True)
    assert (plain_.map, plain_.maps) == (None, None)
    assert plain_ == mapped
    assert classifier.has_maps


def test_several_classes_are_compared_with_the_mean_of_the_others() -> None:
    ones = np.ones((2, 2), np.float32)
    maps = ImageMaps({"cat": 5 * ones, "dog": ones, "fox": 3 * ones}, None)
    np.testing.assert_array_equal(maps.evidence("cat"), 3 * ones)
    with pytest.raises(ValueError, match="no map for 'neither', expected one of cat, dog, fox"):
        maps.evidence("neither")


def change(tiny: Path, out: Path, entry: str) -> Path:
    """Writes a model whose metadata has another entry for its maps, and the right hash."""
    data = tiny.read_bytes()
    metadata = dict(read_onnx_file(tiny).metadata)
    old = metadata[class_maps.MAPS_KEY].encode()
    new = entry.encode().ljust(len(old))
    out.write_bytes(
        integrity.seal(
            data.replace(old, new).replace(metadata[integrity.SEAL_KEY].encode(), integrity.PLACEHOLDER.encode())
        )
    )
    return out


@pytest.mark.parametrize("entry", ["", "{}", '{"graph": 3}', '{"graph": "!"}'])
def test_damaged_maps_are_one_line(entry: str, tiny: Path, tmp_path: Path) -> None:
    classifier = Classifier.load(change(tiny, tmp_path / "changed.onnx", entry))
    assert classifier.classify(plain(RED)).label == "cat"
    with pytest.raises(ModelError, match=r"changed\.onnx has damaged maps .*: export it again"):
        classifier.classify(plain(RED), maps=True)


def test_maps_that_are_no_graph_are_one_line(tiny: Path, tmp_path: Path) -> None:
    entry = json.dumps({"graph": "AAAA"})
    classifier = Classifier.load(change(tiny, tmp_path / "changed.onnx", entry))
    with pytest.raises(ModelError, match=r"changed\.onnx is not a model, or a damaged one"):
        classifier.classify(plain(RED), maps=True)


def test_a_file_that_is_replaced_meanwhile_does_not_explain_another(tiny: Path, familiar: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(tiny.read_bytes())
    classifier = Classifier.load(path)
    path.write_bytes(familiar.read_bytes())
    with pytest.raises(ModelError, match="has been replaced since it was opened"):
        classifier.classify(plain(RED), maps=True)

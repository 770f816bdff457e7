import importlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnxruntime import InferenceSession

from catsdogs_edge.errors import ImageError, ModelError, ProviderError
from catsdogs_edge.images.decode import RgbBatch, RgbImage
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.scores import Scores
from catsdogs_edge.runtime.providers import Provider
from tests.edge.conftest import BLUE, GREY, RED, encode, no_cuda, plain
from tests.edge.contracts import CONTRACT, FAMILIAR


def test_classify_takes_images_of_any_size(tiny: Path) -> None:
    cat, dog = Classifier.load(tiny).classify([plain(RED), plain(BLUE, 1, 300)])
    assert (cat.label, dog.label) == ("cat", "dog")
    assert cat.probability == max(cat.probabilities.values()) > 0.99
    assert sum(dog.probabilities.values()) == pytest.approx(1)


def test_what_is_not_familiar_is_neither(familiar: Path) -> None:
    classifier = Classifier.load(familiar)
    assert classifier.labels == ("cat", "dog", "neither")
    cat, grey = classifier.classify([plain(RED), plain(GREY)])
    assert (cat.label, grey.label) == ("cat", "neither")
    assert cat.familiarity is not None
    assert grey.familiarity is not None
    assert cat.familiarity > 0.5 > grey.familiarity == 1 - grey.probability
    assert grey.probabilities == pytest.approx({"cat": 0.5987, "dog": 0.4013}, abs=1e-3)


def test_accept_all_answers_with_a_class(familiar: Path) -> None:
    classifier = Classifier.load(familiar, accept_all=True)
    (grey,) = classifier.classify([plain(GREY)])
    assert (grey.label, classifier.labels) == ("cat", ("cat", "dog"))
    assert grey.familiarity is not None
    assert grey.familiarity < 0.5


def test_a_model_without_the_score_does_not_make_one_up(tiny: Path) -> None:
    classifier = Classifier.load(tiny)
    assert classifier.classify([plain(GREY)])[0].familiarity is None
    assert classifier.predict(np.zeros((1, 224, 224, 3), np.uint8)).familiarity is None


def test_a_device_runs_one_batch_at_a_time_whoever_asks(tiny: Path) -> None:
    inside: list[None] = []

    class Watched(Classifier):
        most = 0

        def _run_alone(self, session: InferenceSession, names: list[str], batch: RgbBatch) -> list[Scores]:
            inside.append(None)
            self.most = max(self.most, len(inside))
            time.sleep(0.02)
            inside.pop()
            return super()._run_alone(session, names, batch)

    batch = np.zeros((1, 224, 224, 3), np.uint8)
    for is_device in (False, True):
        classifier = Watched.load(tiny)
        if is_device:
            classifier._turn = threading.Lock()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _, asked=classifier: asked.predict(batch), range(8)))
        assert (classifier.most == 1) == is_device


def test_a_provider_that_prepares_for_each_number_of_images_gets_one_number(familiar: Path) -> None:
    class Recorded(Classifier):
        sizes: list[int]

        def _run_once(self, session: InferenceSession, names: list[str], batch: RgbBatch) -> list[Scores]:
            self.sizes.append(len(batch))
            return super()._run_once(session, names, batch)

    classifier, expected = Recorded.load(familiar), Classifier.load(familiar)
    assert classifier.fixed_batch is None  # on a CPU
    classifier.fixed_batch = 4
    batch = np.random.default_rng(0).integers(0, 256, (9, 224, 224, 3), np.uint8)
    for count, sizes in ((1, [1]), (3, [1, 1, 1]), (5, [4, 4]), (9, [4, 4, 4])):
        classifier.sizes = []
        for maps in (False, True) if expected.has_maps else (False,):
            found, others = classifier.predict(batch[:count], maps=maps), expected.predict(batch[:count], maps=maps)
            np.testing.assert_allclose(found.logits, others.logits, atol=1e-5)
            assert found.familiarity is not None
            assert others.familiarity is not None
            np.testing.assert_allclose(found.familiarity, others.familiarity, atol=1e-5)
        assert classifier.sizes[: len(sizes)] == sizes


def test_one_image_has_one_prediction_and_several_have_a_list(tiny: Path, tmp_path: Path) -> None:
    classifier = Classifier.load(tiny)
    path = tmp_path / "red.png"
    path.write_bytes(encode(plain(RED)))
    for image in (path, str(path), path.read_bytes(), plain(RED)):
        assert classifier.classify(image).label == "cat"
        assert [found.label for found in classifier.classify([image, plain(BLUE)])] == ["cat", "dog"]
    several = (plain(BLUE if number == 70 else RED) for number in range(150))  # more than are in memory at a time
    assert [found.label for found in classifier.classify(several)] == ["cat"] * 70 + ["dog"] + ["cat"] * 79
    assert [found.label for found in classifier.classify(tmp_path.glob("*.png"))] == ["cat"]


def test_the_image_at_fault_is_named(tiny: Path, tmp_path: Path) -> None:
    classifier = Classifier.load(tiny)
    missing = tmp_path / "no.jpg"
    with pytest.raises(ImageError, match=r"no\.jpg: no such file"):
        classifier.classify(missing)
    with pytest.raises(ImageError, match=r"^image 70: empty file"):
        classifier.classify([*[plain(RED)] * 70, b""])
    with pytest.raises(ImageError, match=r"shape \(2, 9, 9, 3\), expected uint8 of shape \(H, W, 3\)"):
        classifier.classify(np.zeros((2, 9, 9, 3), np.uint8))
    with pytest.raises(TypeError, match=r"found builtins\.int"):
        classifier.classify(3)  # type: ignore[call-overload]


def test_no_images_give_no_predictions(tiny: Path) -> None:
    assert Classifier.load(tiny).classify([]) == []


def test_probabilities_are_the_softmax_of_the_logits(tiny: Path) -> None:
    classifier = Classifier.load(tiny, Provider.CPU)
    batch = np.random.default_rng(0).integers(0, 256, (5, 224, 224, 3), np.uint8)
    outputs = classifier.predict(batch)
    powers = np.exp(outputs.logits)
    # float32 rounding
    np.testing.assert_allclose(outputs.probabilities, powers / powers.sum(axis=1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("content", [b"", b"text", b"\x08\x07" * 50])
def test_what_is_no_model_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.onnx"):
        Classifier.load(path)


def test_a_truncated_model_is_refused(tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(tiny.read_bytes()[:-40])
    with pytest.raises(ModelError, match=r"model\.onnx"):
        Classifier.load(path)


def test_a_missing_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model file"):
        Classifier.load(tmp_path / "model.onnx")


def test_a_graph_that_breaks_its_contract_is_refused(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="the edge environment has no onnx to make models with")
    from tests.edge.make_tiny_model import FAMILIAR_PATH, PATH, make_tiny_model  # noqa: PLC0415

    assert make_tiny_model().graph == onnx.load(PATH).graph, "run make_tiny_model.py again"
    assert make_tiny_model(familiarity=True).graph == onnx.load(FAMILIAR_PATH).graph
    path = tmp_path / "model.onnx"
    model = make_tiny_model()
    onnx.helper.set_model_props(model, replace(CONTRACT, classes=("a", "b", "c")).to_metadata())
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"promises 'logits' \(N,3\)"):
        Classifier.load(path)
    model = make_tiny_model()
    onnx.helper.set_model_props(model, FAMILIAR.to_metadata())
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"promises 'familiarity' \(N\)"):
        Classifier.load(path)
    model = make_tiny_model(160)
    onnx.helper.set_model_props(model, CONTRACT.to_metadata())
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"promises one uint8 input 'image' \(N,224,224,3\)"):
        Classifier.load(path)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((9, 9, 3), np.float32), "float32"),
        (np.zeros((9, 9), np.uint8), "expected uint8 of shape"),
        (np.zeros((9, 9, 4), np.uint8), "expected uint8 of shape"),
    ],
)
def test_pixels_of_another_kind_are_refused(tiny: Path, pixels: RgbImage, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        Classifier.load(str(tiny)).classify([pixels])


@no_cuda
def test_a_named_provider_that_is_missing_is_an_error(tiny: Path) -> None:
    with pytest.raises(ProviderError, match="CUDAExecutionProvider"):
        Classifier.load(tiny, Provider.CUDA)


@no_cuda
def test_auto_takes_what_works(tiny: Path) -> None:
    assert Classifier.load(tiny, Provider.AUTO).provider == "CPUExecutionProvider"


def test_a_run_that_fails_is_one_error(tmp_path: Path) -> None:
    """A graph that takes one image at a time, without saying so, stands for a GPU whose memory is full."""
    onnx = pytest.importorskip("onnx", reason="the edge does not have it")
    make = importlib.import_module("tests.edge.make_tiny_model")
    model = make.make_tiny_model()
    model.graph.node[2].output[0] = "sums"
    model.graph.node.insert(3, onnx.helper.make_node("Reshape", ["sums", "one"], ["logits"]))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, 2]), "one"))
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    make.finish(path, CONTRACT)
    classifier = Classifier.load(path, Provider.CPU)
    assert classifier.classify([plain(RED)])[0].label == "cat"
    with pytest.raises(ProviderError, match=r"^CPUExecutionProvider failed: .*Reshape.*; try another --provider$"):
        classifier.classify([plain(RED)] * 3)

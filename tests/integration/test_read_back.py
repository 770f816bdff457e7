from pathlib import Path
from runpy import run_path

import keras
import numpy as np
import onnx
import onnxruntime as ort
import pytest

from catsdogs_edge.images.drawings import draw, write_folder
from catsdogs_edge.model.bundled import MODEL
from catsdogs_edge.model.classifier import Classifier
from catsdogs_export.run_folder import RunFolder
from catsdogs_train.network.resnet import get_backbone
from tests.conftest import ROOT
from tests.edge.make_tiny_model import make_tiny_model

SCRIPT = ROOT / "scripts" / "read_back.py"


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network of the model in the package."""
    network = tmp_path_factory.mktemp("packaged") / "network.keras"
    run_path(str(SCRIPT))["main"](MODEL, network)
    return network


@pytest.mark.parametrize(("is_ours", "tolerance"), [(True, 0.4), (False, 0.1)])
def test_a_network_is_read_back_from_an_int8_file(
    is_ours: bool, tolerance: float, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if is_ours:
        file, path = MODEL, request.getfixturevalue("packaged")
    else:
        file, path = request.getfixturevalue("published") / "model.int8.onnx", tmp_path / "network.keras"
        run_path(str(SCRIPT))["main"](file, path)
    network = keras.saving.load_model(path)
    for layer in get_backbone(network).layers:
        if isinstance(layer, keras.layers.Conv2D):  # as large as where learning starts, whatever the file has
            squares = np.square(layer.get_weights()[0]).sum(axis=(0, 1, 2))
            np.testing.assert_allclose(squares[squares > 0], 1, rtol=1e-3)
    size = network.input.shape[1]
    images = np.stack([np.asarray(draw(kind, 900, size), np.uint8) for kind in ("cat", "dog", "room")])
    session = ort.InferenceSession(file, providers=["CPUExecutionProvider"])
    (expected,) = session.run(["logits"], {"image": images})
    # The file rounds what is between the layers as well; that of photographs cuts off what drawings alone have.
    np.testing.assert_allclose(network(images, training=False), expected, atol=tolerance * np.abs(expected).max())


def test_what_is_neither_is_learned_anew(
    drawings: Path, packaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catsdogs_train.stages.familiarity._BLANK", 24)
    network, run = packaged, tmp_path / "run"
    write_folder(tmp_path / "val", per_class=10, first_seed=100)
    write_folder(tmp_path / "rooms", per_class=30, first_seed=0, kinds=["room"])
    learn = run_path(str(SCRIPT.with_name("learn_neither.py")))["main"]
    options = {"val": tmp_path / "val", "other": tmp_path / "rooms", "keep": 0.9}
    learn(MODEL, network, [drawings], out=run, **options)
    with pytest.raises(SystemExit, match="run exists: choose another --out, or remove it"):
        learn(MODEL, network, [drawings], out=run, **options)
    others = [tmp_path / name for name in ("others", "more others")]
    for seed, place in enumerate(others):
        write_folder(place, per_class=4, first_seed=10 * seed, kinds=["cat", "room"])
    with pytest.raises(SystemExit, match=r"the images have the classes cat, room, .*catsdogs\.int8\.onnx has cat, dog"):
        learn(MODEL, network, others[:1], out=tmp_path / "none", **options | {"val": others[1]})
    assert not (tmp_path / "none").exists()
    folder = RunFolder.load(run)
    rule, before = folder.contract.familiarity, Classifier.load(MODEL).contract
    assert rule is not None
    assert (rule.target_recall, rule.outliers, len(folder.train), len(folder.val)) == (0.9, 30, 40, 20)
    assert (folder.contract.temperature, folder.contract.blocks) == (before.temperature, before.blocks)
    kinds = {kind: np.stack([draw(kind, 900 + seed, 192) for seed in range(10)]) for kind in ("cat", "dog", "room")}
    learned = folder.load_network()
    answers = {kind: learned(images, training=False) for kind, images in kinds.items()}
    known = keras.saving.load_model(network)
    for kind, (logits, familiarity) in answers.items():
        np.testing.assert_allclose(logits, known(kinds[kind], training=False), rtol=1e-3, atol=1e-3)
        assert np.mean(np.asarray(familiarity) >= rule.threshold) == pytest.approx(float(kind != "room"), abs=0.3)


def test_another_file_is_refused(tmp_path: Path) -> None:
    onnx.save(make_tiny_model(), tmp_path / "tiny.onnx")
    read_back = run_path(str(SCRIPT))["read_back"]
    with pytest.raises(SystemExit, match=r"tiny\.onnx has no layer called logits: expected a file of catsdogs-export"):
        read_back(tmp_path / "tiny.onnx")
    with pytest.raises(SystemExit, match=r"none\.onnx: no such model file"):
        read_back(tmp_path / "none.onnx")


@pytest.mark.parametrize("name", ["mine.keras", "network.h5"])
def test_a_file_that_is_there_stays_and_the_ending_is_keras(tmp_path: Path, name: str) -> None:
    (tmp_path / "mine.keras").write_bytes(b"precious")
    with pytest.raises(SystemExit, match=r"expected the name of a new file that ends in \.keras"):
        run_path(str(SCRIPT))["main"](MODEL, tmp_path / name)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"precious"]

"""Triton's own client, unchanged."""

import httpx
import numpy as np
import pytest

from catsdogs_edge.images.decode import load_bytes
from catsdogs_edge.model.classifier import Classifier
from tests.edge.conftest import BLUE, RED, encode, plain
from tests.edge.web.test_kserve import batch_of

pytestmark = pytest.mark.slow
triton = pytest.importorskip("tritonclient.http", reason="needs tritonclient (extra test-web)")


@pytest.fixture(scope="module")
def client(plain_client: httpx.Client) -> object:
    return triton.InferenceServerClient(f"{plain_client.base_url.host}:{plain_client.base_url.port}")


def test_it_finds_the_model(client: object, classifier: Classifier) -> None:
    assert client.is_server_live()  # type: ignore[attr-defined]
    assert client.is_server_ready()  # type: ignore[attr-defined]
    assert client.is_model_ready("catsdogs")  # type: ignore[attr-defined]
    assert client.get_server_metadata()["name"] == "catsdogs"  # type: ignore[attr-defined]
    names = [output["name"] for output in client.get_model_metadata("catsdogs")["outputs"]]  # type: ignore[attr-defined]
    assert names == list(classifier.contract.outputs)


@pytest.mark.parametrize("is_binary", [True, False])
@pytest.mark.parametrize("count", [1, 4])
def test_it_gets_the_classifier_s_own_logits(
    is_binary: bool, count: int, client: object, classifier: Classifier
) -> None:
    pixels = batch_of(classifier, count)
    given = triton.InferInput("image", list(pixels.shape), "UINT8")
    given.set_data_from_numpy(pixels, binary_data=is_binary)
    wanted = [triton.InferRequestedOutput("logits", binary_data=is_binary)]
    result = client.infer("catsdogs", [given], outputs=wanted)  # type: ignore[attr-defined]
    assert (result.as_numpy("logits") == classifier.predict(pixels).logits).all()


def test_it_may_send_files(client: object, classifier: Classifier) -> None:
    files = [encode(plain(RED), ".jpg"), encode(plain(BLUE))]
    given = triton.InferInput("image", [2], "BYTES")
    given.set_data_from_numpy(np.array(files, np.object_))
    result = client.infer("catsdogs", [given])  # type: ignore[attr-defined]
    pixels = np.stack([load_bytes(file, classifier.contract.image_size) for file in files])
    assert (result.as_numpy("logits") == classifier.predict(pixels).logits).all()


def test_it_is_told_what_is_wrong(client: object) -> None:
    given = triton.InferInput("image", [1, 3, 3, 3], "UINT8")
    given.set_data_from_numpy(np.zeros((1, 3, 3, 3), np.uint8))
    with pytest.raises(triton.InferenceServerException, match="expected UINT8 of shape"):
        client.infer("catsdogs", [given])  # type: ignore[attr-defined]

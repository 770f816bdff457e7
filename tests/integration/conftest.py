"""What the tests of the whole path share."""

import pytest

from tests.integration.engines import Web


@pytest.fixture(scope="session")
def web(tmp_path_factory: pytest.TempPathFactory) -> Web:
    """onnxruntime-web, installed."""
    return Web(tmp_path_factory.mktemp("web"))

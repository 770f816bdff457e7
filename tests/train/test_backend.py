import os

import pytest

from catsdogs_edge.errors import DataError
from catsdogs_train.backend import choose_backend


def test_a_backend_that_we_do_not_know_or_have_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    choose_backend()
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with pytest.raises(DataError, match="KERAS_BACKEND is 'torch': expected tensorflow or jax"):
        choose_backend()
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr("catsdogs_train.backend.find_spec", lambda name: None if name == "jax" else name)
    with pytest.raises(DataError, match="KERAS_BACKEND is jax, which is not installed: pip install jax"):
        choose_backend()
    monkeypatch.delenv("KERAS_BACKEND")
    monkeypatch.setattr("catsdogs_train.backend.find_spec", lambda name: None if name == "tensorflow" else name)
    choose_backend()
    assert os.environ["KERAS_BACKEND"] == "jax"
    monkeypatch.setattr("catsdogs_train.backend.find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError) as missing:  # the command says which extra brings it
        choose_backend()
    assert missing.value.name == "keras"

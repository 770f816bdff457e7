import gc
import os
import platform

import pytest

from catsdogs_edge.runtime.imports import importing_tensorflow


def test_what_is_imported_is_never_looked_through_again() -> None:
    frozen = gc.get_freeze_count()
    try:
        with importing_tensorflow():
            assert not gc.isenabled()
            kept: list[list[int]] = [[] for _ in range(100_000)]
        assert gc.isenabled()
        assert gc.get_freeze_count() >= frozen + len(kept)
        with pytest.raises(ModuleNotFoundError), importing_tensorflow():
            raise ModuleNotFoundError
        assert gc.isenabled()
    finally:
        gc.unfreeze()


@pytest.mark.skipif(platform.machine() not in {"x86_64", "AMD64"}, reason="on x86 alone")
@pytest.mark.parametrize(("users", "taken"), [(None, "1"), ("0", "0")])
def test_tensorflow_takes_onednn_unless_the_user_says_otherwise(
    users: str | None, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", users or "")
    if users is None:
        monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    try:
        with importing_tensorflow():
            assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == taken
    finally:
        gc.unfreeze()

import gc

import pytest

from catsdogs_edge.output.native_stderr import importing_tensorflow


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

"""The plan of a job, without Ray."""

import os
from pathlib import Path

import pytest

from catsdogs_edge.errors import OutputError

pytest.importorskip("pyarrow", reason="Arrow is in the edge's environment only")
pytestmark = pytest.mark.slow  # though it is fast: the environment of the fast tests has no Arrow


manifest = pytest.importorskip("catsdogs_edge.cluster.manifest")
storage = pytest.importorskip("catsdogs_edge.cluster.storage")


def test_a_job_with_names_that_are_not_utf8_is_taken_up(tmp_path: Path) -> None:
    names = [os.fsdecode(b"caf\xe9.jpg"), "cat.jpg"]
    for name in names:
        (tmp_path / name).touch()
    sources = [str(tmp_path / name) for name in names]
    store = storage.Store(str(tmp_path / "parts"))
    begun = manifest.begin(
        store, manifest.list_images(store, sources, {"model": "x"}, null=False, resume=False), workers=1, size=1
    )
    assert manifest.list_images(store, sources, {"model": "x"}, null=False, resume=True) == begun
    assert [name for shard in begun.cut() for name in manifest.read_names(shard)] == sources


@pytest.mark.parametrize("plan", [b"", b"[]", b'{"about": "\xe9"}', b"{}"])
def test_a_damaged_plan_is_named(plan: bytes, tmp_path: Path) -> None:
    (tmp_path / manifest.PLAN).write_bytes(plan)
    with pytest.raises(OutputError, match=r"plan\.json is damaged"):
        manifest.list_images(storage.Store(str(tmp_path)), ["cat.jpg"], {}, null=False, resume=True)

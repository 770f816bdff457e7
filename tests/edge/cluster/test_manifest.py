"""The plan of a job, without Ray."""

import os
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from catsdogs_edge.cluster.manifest import PLAN, begin, list_images, read_names
from catsdogs_edge.cluster.storage import Store
from catsdogs_edge.errors import OutputError


def test_a_job_with_names_that_are_not_utf8_is_taken_up(tmp_path: Path) -> None:
    names = [os.fsdecode(b"caf\xe9.jpg"), "cat.jpg"]
    for name in names:
        (tmp_path / name).touch()
    sources = [str(tmp_path / name) for name in names]
    store = Store(str(tmp_path / "parts"))
    begun = begin(store, list_images(store, sources, {"model": "x"}, null=False, resume=False), workers=1, size=1)
    assert list_images(store, sources, {"model": "x"}, null=False, resume=True) == begun
    assert [name for shard in begun.cut() for name in read_names(shard)] == sources


@pytest.mark.parametrize("plan", [b"", b"[]", b'{"about": "\xe9"}', b"{}"])
def test_a_damaged_plan_is_named(plan: bytes, tmp_path: Path) -> None:
    (tmp_path / PLAN).write_bytes(plan)
    with pytest.raises(OutputError, match=r"plan\.json is damaged"):
        list_images(Store(str(tmp_path)), ["cat.jpg"], {}, null=False, resume=True)

from pathlib import Path

import pytest

from catsdogs_edge.images.drawings import write_folder
from catsdogs_train.data.split import Split, make_split
from catsdogs_train.images import find_training_images
from catsdogs_train.run.tables import write_split
from catsdogs_train.settings import Settings


@pytest.fixture
def run(tmp_path: Path) -> Split:
    """The images of a run, divided by another seed than the default."""
    write_folder(tmp_path / "pets", per_class=30)
    split = make_split([tmp_path / "pets"], val=None, train_size=None, val_size=None, seed=1)
    (tmp_path / "run").mkdir()
    write_split(tmp_path / "run", split)
    for name in ("run.json", "model.keras"):
        (tmp_path / "run" / name).touch()
    return split


def test_a_link_to_a_network_is_that_of_its_run(run: Split, tmp_path: Path) -> None:
    link = tmp_path / "latest.keras"
    link.symlink_to(tmp_path / "run" / "model.keras")
    found = find_training_images(Settings(data=[tmp_path / "pets"], out=tmp_path / "out", weights=str(link)), None)
    assert {sample.sha256 for sample in found.split.val} == {sample.sha256 for sample in run.val}


def test_what_judged_is_not_learned_without_its_label(run: Split, tmp_path: Path) -> None:
    """Also if few of those judge now; a later run hears of the others."""
    write_folder(tmp_path / "more", per_class=3, first_seed=900)
    for sample in run.val:
        (tmp_path / "more" / f"{sample.sha256}.png").write_bytes(sample.path.read_bytes())
    settings = Settings(
        data=[tmp_path / "pets"], out=tmp_path / "out", teacher=tmp_path / "run", val_size=4,
        unlabelled=tmp_path / "more",
    )  # fmt: skip
    found = find_training_images(settings, None)
    judged = {sample.sha256 for sample in run.val}
    assert len(found.unlabelled) == 6
    assert found.split.judged_hashes == judged - {sample.sha256 for sample in found.split.val}
    assert not judged & {sample.sha256 for sample in (*found.unlabelled, *found.split.train)}


def test_images_of_neither_judge_no_class_later(run: Split, tmp_path: Path) -> None:
    write_folder(tmp_path / "rooms", per_class=24, kinds=["room"])
    settings = Settings(data=[tmp_path / "pets"], out=tmp_path / "out", other=tmp_path / "rooms")
    found = find_training_images(settings, None)
    assert len(found.outliers) == 24
    assert found.split.learned_hashes == {sample.sha256 for sample in found.outliers}
    assert not found.split.judged_hashes
    assert run.classes == found.split.classes

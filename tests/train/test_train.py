"""What a training takes over from an earlier run."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from catsdogs_edge.errors import DataError
from catsdogs_edge.images.drawings import write_folder
from catsdogs_train import images
from catsdogs_train.data.split import make_split
from catsdogs_train.run.earlier_run import EarlierRun, read_earlier
from catsdogs_train.run.tables import write_split
from catsdogs_train.settings import Settings
from catsdogs_train.train import _take_over


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder of a network for images of 192 pixels, as far as it is read."""
    (tmp_path / "run.json").write_text(json.dumps({"version": 1, "classes": ["cat", "dog"], "image_size": 192}))
    (tmp_path / "model.keras").touch()
    return tmp_path


def take_over(settings: Settings, run: Path) -> Settings:
    named = settings.from_run or settings.teacher
    return _take_over(settings, read_earlier(run, "RUN") if named else None)


def test_the_image_size_is_that_of_the_earlier_run_if_none_is_asked_for(run: Path) -> None:
    plain = Settings(data=[Path("pets")], out=Path("new"))
    for asked in (plain, replace(plain, from_run=run), replace(plain, teacher=run)):
        expected = 192 if asked.from_run or asked.teacher else 224
        assert take_over(asked, run).input_size == expected
    student = replace(plain, teacher=run, image_size=160)
    assert take_over(student, run).input_size == 160
    assert take_over(student, run).weights == plain.weights
    assert take_over(replace(plain, from_run=run), run).weights == str(run / "model.keras")


def test_a_network_that_learns_on_keeps_its_image_size(run: Path) -> None:
    asked = Settings(data=[Path("pets")], out=Path("new"), from_run=run, image_size=224)
    with pytest.raises(DataError, match=r"^--image-size 224, but .* has 192 pixels, which stay: leave it out$"):
        take_over(asked, run)


def test_a_default_that_is_spelled_out_is_no_other_training(run: Path) -> None:
    plain = Settings(data=[Path("pets")], out=Path("new"), teacher=run)
    spelled = replace(plain, fine_tune_epochs=30, fine_tune_rate=3e-4, fine_tune_size=160, epochs=300, image_size=224)
    assert spelled.decisive() == plain.decisive()
    assert replace(plain, fine_tune_epochs=31).decisive() != plain.decisive()


def test_a_run_that_would_learn_nothing_new_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "old", per_class=6)
    split = make_split([tmp_path / "old"], val=None, train_size=None, val_size=None, seed=0)
    write_split(tmp_path, split)
    earlier = EarlierRun(version=1, classes=split.classes, image_size=32, folder=tmp_path)
    rooms = [replace(sample, label=0) for sample in split.val]
    monkeypatch.setattr(images, "read_fingerprint", lambda _: {"images of neither": images.hash_samples(rooms)})
    with pytest.raises(DataError, match="there is nothing to learn"):
        images._check_new(earlier, split, rooms)
    images._check_new(earlier, split, rooms[1:])
    new = replace(split.train[0], sha256="another")
    images._check_new(earlier, replace(split, train=(*split.train, new)), rooms)

"""How the images for the model in the package are divided; the rest of the script is commands of ours."""

import runpy
from pathlib import Path

import pytest

from tests.conftest import ROOT

SCRIPT = runpy.run_path(str(ROOT / "scripts" / "release_model.py"))


def write(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*.png")}


def test_every_other_kind_of_neither_teaches_and_the_others_judge(tmp_path: Path) -> None:
    write(tmp_path / "other", "car_image_0001.png", "car_image_0002.png", "sofa_image_0001.png", "tree_image_0009.png")
    write(tmp_path / "other_imagenet" / "animals", "llama.png", "panda.png")
    write(tmp_path / "other_imagenet" / "things", "cup.png")
    write(tmp_path / "other_imagenet" / "wild", "fox.png")
    out = tmp_path / "out"
    write(out / "judged" / "other" / "old", "of-a-run-before.png")
    assert SCRIPT["_divide_outliers"](tmp_path, out) == 5
    assert names(out / "learned" / "other") == {"car_image_0001.png", "car_image_0002.png", "tree_image_0009.png"}
    assert {path.name for path in (out / "learned" / "other").iterdir()} == {"car", "tree"}
    assert names(out / "learned" / "animals") == {"llama.png"}
    assert names(out / "judged") == {"sofa_image_0001.png", "panda.png"}


def test_images_that_no_network_has_seen_validate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCRIPT["_hold_back"].__globals__, "_VALIDATES", 2)
    numbers = (3999, 4000, 4001, 4002, 4003)
    for kind in ("cat", "dog"):
        write(tmp_path / "extra" / kind, *(f"{kind}.{number}.png" for number in numbers))
    out = tmp_path / "out"
    SCRIPT["_hold_back"](tmp_path / "extra", out)
    for kind in ("cat", "dog"):
        learned, validates = (names(out / "extra" / part / kind) for part in ("train", "val"))
        assert len(validates) == 2
        assert validates < {f"{kind}.{number}.png" for number in (4001, 4002, 4003)}
        assert learned | validates == {f"{kind}.{number}.png" for number in numbers}
        assert not learned & validates


def test_the_smaller_network_is_taken_if_it_is_as_good() -> None:
    refused = {"other": (282, 288), "things": (146, 150), "animals": (60, 64)}
    full = {"accuracy": 0.99, "refused": refused}
    is_as_good = SCRIPT["_is_as_good"]
    assert is_as_good(full, full)
    assert is_as_good(full | {"accuracy": 0.9885}, full)
    assert not is_as_good(full | {"accuracy": 0.9875}, full)
    assert is_as_good(full | {"refused": refused | {"other": (280, 288)}}, full)
    assert not is_as_good(full | {"refused": refused | {"animals": (59, 64)}}, full)


def test_data_without_one_of_the_folders_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(SystemExit, match="has no folder more: expected train, more, extra, val, inbox, other, other_"):
        SCRIPT["main"](tmp_path, "none", tmp_path / "out")
    assert not (tmp_path / "out").exists()

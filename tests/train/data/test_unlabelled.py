import shutil
from pathlib import Path

import cv2
import pytest

from catsdogs_edge.errors import DataError
from catsdogs_edge.images.drawings import write_folder
from catsdogs_train.data.split import make_split
from catsdogs_train.data.unlabelled import find_unlabelled


def test_nothing_that_validates_comes_back(tmp_path: Path) -> None:
    """Not as it is, not under another name, not scaled."""
    write_folder(tmp_path / "pets", per_class=8)
    write_folder(tmp_path / "more" / "new", per_class=5, first_seed=90, kinds=["room"])
    split = make_split([tmp_path / "pets"], val=None, train_size=None, val_size=None, seed=0)
    judge = split.val[0].path
    shutil.copy(judge, tmp_path / "more" / "copy.png")
    image = cv2.imread(str(judge))
    assert image is not None
    cv2.imwrite(str(tmp_path / "more" / "small.png"), cv2.resize(image, None, fx=0.6, fy=0.6))
    shutil.copy(split.train[0].path, tmp_path / "more" / "learned.png")
    (tmp_path / "more" / "torn.jpg").write_bytes(b"no image")
    (tmp_path / "more" / "link").symlink_to(tmp_path / "pets")
    found, left_out = find_unlabelled(tmp_path / "more", split.train, split.val)
    assert {sample.path.parent.parent.name for sample in found} == {"new"}
    assert len(found) == 5
    reasons = {item.path.name: item.reason for item in left_out}
    assert reasons.keys() == {"copy.png", "small.png", "learned.png", "torn.jpg"}
    assert all("nearly the same" in reasons[name] for name in ("copy.png", "small.png"))
    assert "the same file as" in reasons["learned.png"]


def test_a_folder_without_any_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        find_unlabelled(tmp_path / "nowhere", [], [])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        find_unlabelled(tmp_path / "empty", [], [])

import os
import shutil
import time
from pathlib import Path

import pytest

from catsdogs_edge.cli.model import _app
from catsdogs_edge.errors import ModelError, OutputError
from catsdogs_edge.model import integrity
from catsdogs_edge.model.bundled import MODEL
from catsdogs_edge.model.onnx_file import read_onnx_file
from catsdogs_edge.model.replace import install, previous_of, roll_back
from tests.conftest import Call


@pytest.fixture
def place(tiny: Path, tmp_path: Path) -> Path:
    """A place with a model in it."""
    path = tmp_path / "box" / "model.onnx"
    path.parent.mkdir()
    shutil.copy(tiny, path)
    return path


def damage(model: Path, out: Path) -> Path:
    """A file with the right hash that does not pass its own test."""
    data = bytearray(model.read_bytes())
    weights = data.index(b"\xcd\xccL=")  # 0.05
    data[weights : weights + 4] = b"\0\0\0\0"
    sealed = bytes(data).replace(
        read_onnx_file(model).metadata[integrity.SEAL_KEY].encode(), integrity.PLACEHOLDER.encode()
    )
    out.write_bytes(integrity.seal(sealed))
    return out


def test_the_one_before_is_kept_and_comes_back(place: Path, tiny: Path, familiar: Path) -> None:
    assert install(familiar, place) == previous_of(place)
    assert place.read_bytes() == familiar.read_bytes()
    assert previous_of(place).read_bytes() == tiny.read_bytes()
    roll_back(place)
    assert place.read_bytes() == tiny.read_bytes()
    assert previous_of(place).read_bytes() == familiar.read_bytes()
    roll_back(place)
    assert place.read_bytes() == familiar.read_bytes()
    assert {path.name for path in place.parent.iterdir()} == {"model.onnx", "model.previous.onnx"}


def test_a_new_place_is_made(tmp_path: Path, tiny: Path) -> None:
    assert install(tiny, tmp_path / "new" / "model.onnx") is None
    assert (tmp_path / "new" / "model.onnx").read_bytes() == tiny.read_bytes()


def test_one_that_fails_its_own_test_changes_nothing(place: Path, tiny: Path, tmp_path: Path) -> None:
    bad = damage(tiny, tmp_path / "bad.onnx")
    with pytest.raises(ModelError, match=r"bad\.onnx does not pass its own test here: logits differ by"):
        install(bad, place)
    shutil.copy(bad, previous_of(place))
    with pytest.raises(ModelError, match="does not pass its own test here"):
        roll_back(place)
    assert place.read_bytes() == tiny.read_bytes()


def test_without_an_earlier_one_there_is_nothing_to_go_back_to(place: Path) -> None:
    with pytest.raises(ModelError, match="there is no earlier model"):
        roll_back(place)


def test_the_command(call: Call, place: Path, familiar: Path, tiny: Path) -> None:
    done = call(_app, "catsdogs-model", "install", place, familiar)
    assert done.returncode == 0, done.stderr
    assert f"the one before is kept as {previous_of(place)}" in done.stdout.replace("\n", "")
    assert call(_app, "catsdogs-model", "rollback", place).returncode == 0
    assert place.read_bytes() == tiny.read_bytes()
    assert call(_app, "catsdogs-model", "install", place).returncode == 2
    assert call(_app, "catsdogs-model", "install", place, place.with_name("missing.onnx")).returncode == 1


def test_what_is_there_already_does_not_push_out_the_one_before(place: Path, tiny: Path, familiar: Path) -> None:
    install(familiar, place)
    assert install(familiar, place) == previous_of(place)
    assert previous_of(place).read_bytes() == tiny.read_bytes()
    with pytest.raises(ModelError, match="is the one before: catsdogs model rollback"):
        install(previous_of(place), place)
    assert previous_of(place).read_bytes() == tiny.read_bytes()


def test_a_damaged_file_is_replaced_and_not_kept(place: Path, tiny: Path) -> None:
    place.write_bytes(b"torn")
    assert install(tiny, place) is None
    assert place.read_bytes() == tiny.read_bytes()


def test_a_link_is_refused_before_anything_changes(place: Path, tiny: Path, familiar: Path) -> None:
    link = place.with_name("link.onnx")
    link.symlink_to(place)
    with pytest.raises(OutputError, match="is a link: name the file itself"):
        install(familiar, link)
    assert {path.name for path in place.parent.iterdir()} == {"model.onnx", "link.onnx"}
    assert place.read_bytes() == tiny.read_bytes()


def test_what_is_no_file_is_not_replaced(tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "model.onnx").mkdir()
    with pytest.raises(OutputError, match="is no regular file: choose another place"):
        install(tiny, tmp_path / "model.onnx")


def test_where_there_is_no_room_for_a_new_one_the_others_stay(small_disk: Path, tiny: Path, familiar: Path) -> None:
    place = small_disk / "model.onnx"
    install(tiny, place)
    install(familiar, place)
    with pytest.raises(OutputError, match="No space left"):
        install(MODEL, place)  # which the disk cannot hold; of the others, it could hold many
    assert place.read_bytes() == familiar.read_bytes()
    assert previous_of(place).read_bytes() == tiny.read_bytes()


def test_what_a_killed_one_left_goes_after_a_day(place: Path, familiar: Path) -> None:
    old, new = (place.parent / f".catsdogs-{digit * 16}" for digit in "0a")
    for stage in (old, new):
        stage.mkdir()
        (stage / "model.onnx").write_bytes(b"half")
    os.utime(old, (time.time() - 100_000,) * 2)
    install(familiar, place)
    assert not old.exists()
    assert new.exists()


@pytest.mark.parametrize("place", [".", "/"])
def test_a_folder_is_no_place(place: str, call: Call) -> None:
    done = call(_app, "catsdogs-model", "rollback", place)
    assert done.returncode == 2
    assert "expected the place of a model file" in " ".join(done.stderr.split())


def test_where_only_the_one_before_is_left_it_comes_back(call: Call, place: Path) -> None:
    place.rename(previous_of(place))
    done = call(_app, "catsdogs-model", "rollback", place)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == f"{place} is the one before now".split()


def test_who_could_read_the_one_before_can_read_the_new_one(place: Path, familiar: Path, tmp_path: Path) -> None:
    secret = tmp_path / "new.onnx"
    shutil.copy(familiar, secret)
    secret.chmod(0o600)
    place.chmod(0o644)
    before = os.umask(0o077)
    try:
        install(secret, place)
    finally:
        os.umask(before)
    assert place.stat().st_mode & 0o777 == 0o644

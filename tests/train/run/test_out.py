"""What `--out` may be: a new folder, an empty one, or a run of ours; nothing else is touched."""

import json
from pathlib import Path

import pytest

from catsdogs_edge.errors import OutputError
from catsdogs_train.run.checkpoint import Checkpoint


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    for name in ("report.md", "checkpoint/mine.txt", "run.json"):
        run = tmp_path / name.replace("/", "-")
        (run / name).parent.mkdir(parents=True)
        (run / name).write_text('{"scripts": {}}')
        with pytest.raises(OutputError, match="holds other files"):
            Checkpoint(run).check_run_folder()
        assert (run / name).read_text() == '{"scripts": {}}'


def test_a_new_an_empty_and_an_own_folder_are_taken(tmp_path: Path) -> None:
    Checkpoint(tmp_path / "new").check_run_folder()
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".catsdogs-left").mkdir()
    Checkpoint(tmp_path / "empty").check_run_folder()
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "run.json").write_text(json.dumps({"fingerprint": {}}))
    (tmp_path / "done" / "notes.txt").touch()
    Checkpoint(tmp_path / "done").check_run_folder()
    begun = Checkpoint(tmp_path / "begun")
    begun.begin({"--seed": 1})
    begun.check_run_folder()


def test_only_our_files_in_the_checkpoint_are_removed(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.begin({"--seed": 1})
    (checkpoint.folder / "mine.txt").write_text("precious")
    checkpoint.features_file("0").touch()
    checkpoint.remove()
    assert [path.name for path in checkpoint.folder.iterdir()] == ["mine.txt"]
    assert not checkpoint.exists
    (checkpoint.folder / "mine.txt").unlink()
    checkpoint.begin({"--seed": 1})
    checkpoint.remove()
    assert not checkpoint.folder.exists()

import subprocess
import sys
from pathlib import Path

import pytest

from catsdogs_train.data.cache import cache_folder
from catsdogs_train.run.lock import lock_run_folder


def in_another_process(run: Path) -> "subprocess.CompletedProcess[str]":
    code = f"""
from pathlib import Path
from catsdogs_train.run.lock import lock_run_folder
with lock_run_folder(Path({str(run)!r})):
    pass
"""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with lock_run_folder(tmp_path / "run"):
        done = in_another_process(tmp_path / "link")
        assert done.returncode == 1
        assert "another process trains in" in done.stderr
        assert in_another_process(tmp_path / "other").returncode == 0
    assert in_another_process(tmp_path / "run").returncode == 0
    assert not (tmp_path / "run").exists()


def test_without_a_cache_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cache_folder().is_relative_to(tmp_path / "file")
    with caplog.at_level("INFO"), lock_run_folder(tmp_path / "run"):
        assert "no lock for" in caplog.text

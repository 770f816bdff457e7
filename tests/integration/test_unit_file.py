"""The unit file of the documents, as systemd itself judges it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "docs" / "catsdogs-cam.service"

pytestmark = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze")


def test_its_exposure_is_low() -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", UNIT], capture_output=True, text=True, check=True
    )
    found = re.search(r"exposure level for catsdogs-cam.service: (\d+\.\d)", done.stdout)
    assert found
    assert float(found[1]) <= 2.5


def test_it_has_no_unknown_setting(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    text = UNIT.read_text().replace("/opt/catsdogs/bin/catsdogs-cam", "/bin/true").replace("User=catsdogs\n", "")
    unit.write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert not [line for line in done.stderr.splitlines() if UNIT.name in line and "Unknown" in line]

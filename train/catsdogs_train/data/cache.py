"""The user's cache folder."""

import getpass
import os
import tempfile
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Returns its path; it need not exist. A user without a home, as in some containers, has a temporary one."""
    try:
        return Path(platformdirs.user_cache_dir("catsdogs", appauthor=False))
    except RuntimeError:
        return Path(tempfile.gettempdir(), f"catsdogs-{os.getuid() if hasattr(os, 'getuid') else getpass.getuser()}")

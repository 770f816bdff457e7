"""The user's cache folder."""

from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Returns its path; it need not exist."""
    return Path(platformdirs.user_cache_dir("catsdogs", appauthor=False))

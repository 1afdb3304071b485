"""Where cloak's files lie: the shipped weights, the user's own, and the cache."""

import os
from pathlib import Path

PACKAGE = Path(__file__).parent


def shipped_weights() -> Path:
    """The weights that ship: inside the installed package, or beside it in a checkout."""
    installed = PACKAGE / "_weights"
    return installed if installed.is_dir() else PACKAGE.parent / "weights"


def own_weights() -> Path:
    """Weights that the user fetched or put there: $CLOAK_WEIGHTS, or a folder of the cache."""
    own = os.environ.get("CLOAK_WEIGHTS")
    return Path(own).expanduser() if own else cache_folder() / "weights"


def cache_folder() -> Path:
    """What is kept between runs: $CLOAK_CACHE, or cloak's folder in the user's cache."""
    own = os.environ.get("CLOAK_CACHE")
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(own).expanduser() if own else (Path(base) if base else Path.home() / ".cache") / "cloak"

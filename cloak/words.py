"""Numbers and lists as one says them."""

from collections.abc import Sequence

from cloak.names import shown


def amount(count: int, thing: str) -> str:
    """1 photo, 2 photos, 1,394 pairs."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def some(names: Sequence[str], most: int = 3) -> str:
    """The first of some names, and that there are others."""
    others = [f"and {len(names) - most:,} more"] if len(names) > most else []
    return ", ".join([*map(shown, names[:most]), *others])

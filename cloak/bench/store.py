"""What is finished stays finished: embeddings and cloaked files, in SQLite, one transaction each."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloak.errors import CloakError

EMBEDDING_VERSION = "1"
"""Part of every embedding's key: to be raised when alignment or a condition changes."""


def _connect(path: Path, table: str) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=60.0, isolation_level=None)
        connection.execute(f"CREATE TABLE IF NOT EXISTS {table} (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID")
    except (OSError, sqlite3.Error) as error:
        raise CloakError(f"{path}: expected a file to keep results in, got: {error}") from None
    return connection


class EmbeddingStore:
    """(photo content, condition, evaluator) -> embedding; None where no face was found.

    Args:
        path: of the database; made when absent.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._connection = path, _connect(path, "embeddings")

    def get(self, content: str, condition: str, fingerprint: str) -> tuple[bool, NDArray[np.float32] | None]:
        """(whether it is there, the embedding)."""
        row = self._connection.execute(
            "SELECT value FROM embeddings WHERE key = ?", (self._key(content, condition, fingerprint),)
        ).fetchone()
        if row is None:
            return False, None
        return True, np.frombuffer(row[0], dtype=np.float32) if row[0] else None

    def put(self, content: str, condition: str, found: Mapping[str, NDArray[np.float32] | None]) -> None:
        """Keep the embeddings of one photo: fingerprint -> embedding."""
        rows = [
            (self._key(content, condition, fingerprint), b"" if value is None else value.astype(np.float32).tobytes())
            for fingerprint, value in found.items()
        ]
        with self._connection:
            self._connection.execute("BEGIN")
            self._connection.executemany("INSERT OR REPLACE INTO embeddings VALUES (?, ?)", rows)

    @staticmethod
    def _key(content: str, condition: str, fingerprint: str) -> str:
        return "/".join((EMBEDDING_VERSION, content, condition, fingerprint))


class Journal:
    """key -> record (a dictionary) of each cloaked file that is finished.

    Args:
        path: of the database; made when absent.
    """

    def __init__(self, path: Path) -> None:
        self._connection = _connect(path, "cloaked")

    def get(self, key: str) -> dict[str, Any] | None:
        """The record, or None."""
        row = self._connection.execute("SELECT value FROM cloaked WHERE key = ?", (key,)).fetchone()
        return json.loads(row[0]) if row else None

    def put(self, records: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Add records."""
        with self._connection:
            self._connection.execute("BEGIN")
            self._connection.executemany(
                "INSERT OR REPLACE INTO cloaked VALUES (?, ?)", [(key, json.dumps(record)) for key, record in records]
            )

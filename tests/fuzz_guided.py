"""Damaged photos guided by coverage: reading, metadata and writing under Google's atheris.

    pip install atheris        # Python 3.11 to 3.13, Linux
    python -m tests.fuzz_guided CORPUS -max_total_time=600 -rss_limit_mb=2000 -timeout=10

libFuzzer's options follow. CORPUS is a folder; it begins with the whole files of ``tests.fuzz``. A crash
leaves its file (crash-SHA1) in the current folder.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["PIL", "cloak.photo", "cloak.metadata", "pillow_heif", "defusedxml"]):
    from tests.fuzz import POLICIES, corpus
    from tests.test_fuzz import check


def try_bytes(data: bytes) -> None:
    """The last byte chooses the policy."""
    check(data, POLICIES[data[-1] % len(POLICIES)] if data else "default")


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, files in corpus(larger=False).items():
        for number, data in enumerate(files):
            (folder / f"{name}-{number}").write_bytes(data)
    atheris.Setup(sys.argv, try_bytes)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

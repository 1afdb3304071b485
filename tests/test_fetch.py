"""The download, against a web server on this machine whose every trouble can be chosen."""

import errno
import hashlib
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import cloak
from cloak import WeightsError
from cloak.fetch import Download, Fetched, fetch, pinned_sha256
from cloak.transfer import PAUSES, _extent
from tests.helpers import ROOT

BODY = bytes(range(100))
OTHER = bytes(reversed(BODY))
DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Page:
    """What the server has at a path, and what goes wrong there."""

    body: bytes = BODY
    status: int = 200
    tag: str = '"one"'
    date: str = ""
    location: str = ""
    length: str = "told"  # or "chunked", "untold"
    ranges: str = "kept"  # or "ignored", "refused", "shifted", "bare"
    cuts: list[int] = field(default_factory=list)  # bytes that each request sends before it breaks
    stalls: list[int] = field(default_factory=list)  # the same before it goes silent; -1: before the headers


class Web(ThreadingHTTPServer):
    """A server on this machine; answers any path that it has a page for, absolute ones as a proxy."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages: dict[str, Page] = {"/a": Page()}
        self.requests: list[tuple[str, Message]] = []
        self.asked = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.closing = threading.Event()

    def at(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]

    def ranges(self) -> list[tuple[str | None, str | None]]:
        return [(headers["Range"], headers["If-Range"]) for _, headers in self.requests]

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients that hang up are part of the tests


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Web

    def log_message(self, *args: Any, **options: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers))
        self.server.asked.set()
        page = self.server.pages.get(self.path, Page(status=404))
        stall = page.stalls.pop(0) if page.stalls else sys.maxsize
        if stall < 0:
            self.server.closing.wait(5)
            return
        body = self.send_head(page)
        cut = page.cuts.pop(0) if page.cuts else len(body)
        self.wfile.write(body[: min(cut, stall)])
        self.wfile.flush()
        if stall < len(body):
            self.server.closing.wait(5)
        assert self.server.go_on.wait(5)
        self.close_connection = True

    def send_head(self, page: Page) -> bytes:
        """Send status and headers; the body that belongs to them."""
        start = self.range_start(page)
        body = page.body[start:] if page.status == 200 else b"<html>"
        status = 416 if start and page.ranges == "refused" else 206 if start else page.status
        self.send_response(status)
        told = start + (page.ranges == "shifted")
        headers = {
            "Content-Range": f"bytes {told}-{len(page.body) - 1}/{len(page.body)}" if status == 206 else "",
            "Content-Length": str(len(body)) if page.length == "told" else "",
            "Transfer-Encoding": "chunked" if page.length == "chunked" else "",
            "ETag": page.tag,
            "Last-Modified": page.date,
            "Location": page.location,
        }
        if page.ranges == "bare":
            del headers["Content-Range"]
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        return body if page.length != "chunked" else b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)

    def range_start(self, page: Page) -> int:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        if (
            not asked
            or page.status != 200
            or page.ranges == "ignored"
            or self.headers["If-Range"] not in (page.tag, page.date)
        ):
            return 0
        return int(asked[1])


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("CLOAK_MIRROR", "HF_ENDPOINT", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def refused() -> str:
    """An address where nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/a"


class Waits(list[float]):
    """Notes each wait instead of waiting."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def hashed(*addresses: str, body: bytes = BODY, size: int = 0) -> Download:
    return Download("net.onnx", addresses, sha256(body), size)


def unhashed(*addresses: str, size: int = 0) -> Download:
    return Download("net.onnx", addresses, bytes=size)


def get(download: Download, folder: Path) -> Fetched:
    return fetch(download, folder, wait=Waits())


def leave_part(folder: Path, web: Web, kept: int = 40, page: str = "/a") -> Path:
    """A part of ``kept`` bytes, as a download leaves it whose connection broke time and again."""
    cuts = web.pages[page].cuts
    cuts[:] = [kept, *[0] * len(PAUSES)]
    with pytest.raises(WeightsError, match="the connection broke"):
        get(hashed(web.at(page), body=web.pages[page].body), folder)
    web.requests.clear()
    part = folder / ".net.onnx.part"
    assert part.stat().st_size == kept
    return part


def visible(folder: Path) -> dict[str, bytes]:
    """Files in a folder, without the lock's."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".lock"}


# The file


def test_a_file_is_downloaded_into_a_folder_that_is_made(web: Web, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "models"
    fetched = get(hashed(web.at("/a"), size=len(BODY)), folder)
    assert fetched == Fetched(folder / "net.onnx", sha256(BODY), pinned=False, fresh=True)
    assert visible(folder) == {"net.onnx": BODY}


def test_nothing_but_the_version_is_told_to_the_server(web: Web, tmp_path: Path) -> None:
    get(hashed(web.at("/a")), tmp_path)
    headers = {name.lower(): value for name, value in web.requests[0][1].items()}
    assert headers == {
        "accept-encoding": "identity",
        "connection": "close",
        "host": f"127.0.0.1:{web.server_port}",
        "user-agent": f"cloak/{cloak.__version__}",
    }


@pytest.mark.parametrize("write", [str.lower, str.upper])
def test_a_sound_file_is_left_alone_without_a_request(web: Web, tmp_path: Path, write: Any) -> None:
    (tmp_path / "net.onnx").write_bytes(BODY)
    fetched = get(Download("net.onnx", (web.at("/a"),), write(sha256(BODY))), tmp_path)
    assert (fetched.fresh, fetched.pinned, fetched.sha256) == (False, False, sha256(BODY))
    assert not web.requests
    assert visible(tmp_path) == {"net.onnx": BODY}


def test_a_damaged_file_goes_only_once_the_sound_one_is_there(web: Web, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="status 404"):
        get(hashed(web.at("/none")), tmp_path)
    assert path.read_bytes() == b"damaged"
    before = []
    fetched = fetch(hashed(web.at("/a")), tmp_path, lambda done, total: before.append(path.read_bytes()))
    assert before == [b"damaged"]
    assert fetched.fresh
    assert path.read_bytes() == BODY


def test_progress_is_told_after_each_chunk_and_the_name_is_given_at_the_end(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloak.transfer.CHUNK", 40)
    told = []

    def on_progress(done: int, total: int) -> None:
        assert not (tmp_path / "net.onnx").exists()
        assert (tmp_path / ".net.onnx.part").exists()
        told.append((done, total))

    fetch(hashed(web.at("/a")), tmp_path, on_progress)
    assert told == [(40, 100), (80, 100), (100, 100)]


def test_a_size_that_nobody_knows_is_told_as_zero(web: Web, tmp_path: Path) -> None:
    web.pages["/a"].length = "chunked"
    told = []
    fetch(hashed(web.at("/a")), tmp_path, lambda done, total: told.append((done, total)))
    assert told == [(100, 0)]


def test_the_file_is_on_disk_before_it_gets_its_name(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        events.append("fsync")
        fsync(descriptor)

    def noted_replace(self: Path, target: Path) -> Path:
        events.append(f"{self.name} -> {target.name}")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    get(hashed(web.at("/a")), tmp_path)
    assert events == ["fsync", ".net.onnx.part -> net.onnx"]


# Breaks


def test_a_connection_that_breaks_is_resumed(web: Web, tmp_path: Path) -> None:
    web.pages["/a"].cuts = [10, 30]
    waits = Waits()
    told = []
    fetched = fetch(hashed(web.at("/a")), tmp_path, lambda done, total: told.append((done, total)), wait=waits)
    assert fetched.path.read_bytes() == BODY
    assert web.ranges() == [(None, None), ("bytes=10-", '"one"'), ("bytes=40-", '"one"')]
    assert told == [(10, 100), (40, 100), (100, 100)]
    assert waits == [1, 3]


def test_a_connection_that_goes_silent_is_resumed(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloak.transfer.TIMEOUT", 0.2)
    web.pages["/a"].stalls = [10, -1]
    assert get(hashed(web.at("/a")), tmp_path).path.read_bytes() == BODY
    assert web.ranges() == [(None, None), ("bytes=10-", '"one"'), ("bytes=10-", '"one"')]


def test_a_break_within_a_chunk_is_resumed(web: Web, tmp_path: Path) -> None:
    web.pages["/a"] = Page(length="chunked", cuts=[len("64\r\n") + 10])
    assert get(hashed(web.at("/a")), tmp_path).path.read_bytes() == BODY
    assert web.ranges() == [(None, None), ("bytes=10-", '"one"')]


def test_a_connection_that_always_breaks_leaves_what_the_next_call_goes_on_from(web: Web, tmp_path: Path) -> None:
    web.pages["/a"].cuts = [10, 0, 5, 0]
    waits = Waits()
    with pytest.raises(
        WeightsError,
        match=r"/a: the connection broke 4 times, at last it ended after 15 of 100 bytes; "
        r"run the same command again to go on from there$",
    ):
        fetch(hashed(web.at("/a"), web.at("/other")), tmp_path, wait=waits)
    assert waits == list(PAUSES)
    assert set(web.paths()) == {"/a"}
    assert (tmp_path / ".net.onnx.part").read_bytes() == BODY[:15]
    assert not (tmp_path / "net.onnx").exists()
    web.requests.clear()
    assert get(hashed(web.at("/a")), tmp_path).path.read_bytes() == BODY
    assert web.ranges() == [("bytes=15-", '"one"')]
    assert visible(tmp_path) == {"net.onnx": BODY}


@pytest.mark.parametrize(
    ("tag", "date", "validator"),
    [
        ('"one"', DATE, '"one"'),
        ("", DATE, DATE),
        ('W/"weak"', DATE, DATE),
        ('W/"weak"', "", None),
        ("", "", None),
    ],
)
def test_only_a_part_of_a_file_that_can_be_told_from_others_is_continued(
    web: Web, tmp_path: Path, tag: str, date: str, validator: str | None
) -> None:
    web.pages["/a"] = Page(tag=tag, date=date, cuts=[10])
    assert get(hashed(web.at("/a")), tmp_path).path.read_bytes() == BODY
    assert web.ranges()[1] == ("bytes=10-" if validator else None, validator)


def test_no_going_on_is_promised_where_there_is_none(web: Web, tmp_path: Path) -> None:
    web.pages["/a"] = Page(tag="", cuts=[10] * 4)
    with pytest.raises(WeightsError, match=r"; run the same command again$"):
        get(hashed(web.at("/a")), tmp_path)


def test_a_file_that_changed_meanwhile_starts_anew(web: Web, tmp_path: Path) -> None:
    leave_part(tmp_path, web)
    web.pages["/a"] = Page(body=OTHER, tag='"two"')
    assert get(hashed(web.at("/a"), body=OTHER), tmp_path).path.read_bytes() == OTHER
    assert web.ranges() == [("bytes=40-", '"one"')]


@pytest.mark.parametrize(("ranges", "requests"), [("ignored", 1), ("refused", 2), ("shifted", 2), ("bare", 2)])
def test_a_server_that_does_not_resume_starts_anew(web: Web, tmp_path: Path, ranges: str, requests: int) -> None:
    leave_part(tmp_path, web)
    web.pages["/a"].ranges = ranges
    assert get(hashed(web.at("/a")), tmp_path).path.read_bytes() == BODY
    assert web.ranges() == [("bytes=40-", '"one"'), (None, None)][:requests]


def test_the_part_of_one_address_is_not_continued_from_another(web: Web, tmp_path: Path) -> None:
    leave_part(tmp_path, web)
    web.pages["/b"] = Page(body=OTHER)
    assert get(hashed(web.at("/b"), body=OTHER), tmp_path).path.read_bytes() == OTHER
    assert web.ranges() == [(None, None)]


def test_a_note_never_stands_beside_the_part_of_another_file(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(path: Path, mode: str) -> None:
        raise KeyboardInterrupt

    part = leave_part(tmp_path, web)
    web.pages["/b"] = Page(body=OTHER)
    monkeypatch.setattr("cloak.transfer.open", opened, raising=False)
    with pytest.raises(KeyboardInterrupt):
        get(hashed(web.at("/b"), body=OTHER), tmp_path)
    assert not part.exists()


def test_a_part_without_its_note_starts_anew(web: Web, tmp_path: Path) -> None:
    part = leave_part(tmp_path, web)
    part.with_name(".net.onnx.part.json").write_text("{")
    assert get(hashed(web.at("/a")), tmp_path).path.read_bytes() == BODY
    assert web.ranges() == [(None, None)]


def test_a_part_that_is_whole_needs_no_request(web: Web, tmp_path: Path) -> None:
    leave_part(tmp_path, web).write_bytes(BODY)
    fetched = get(hashed(web.at("/a"), size=len(BODY)), tmp_path)
    assert fetched.fresh
    assert not web.requests
    assert visible(tmp_path) == {"net.onnx": BODY}


def test_a_part_that_is_too_long_starts_anew(web: Web, tmp_path: Path) -> None:
    leave_part(tmp_path, web).write_bytes(BODY + b"?")
    assert get(hashed(web.at("/a"), size=len(BODY)), tmp_path).path.read_bytes() == BODY
    assert web.ranges() == [(None, None)]


def test_a_break_by_hand_leaves_what_the_next_call_goes_on_from(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloak.transfer.CHUNK", 40)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(hashed(web.at("/a")), tmp_path, stop)
    assert get(hashed(web.at("/a")), tmp_path).path.read_bytes() == BODY
    assert web.ranges()[1] == ("bytes=40-", '"one"')


# Another file than expected


def test_a_corrupt_file_is_refused_and_nothing_kept(web: Web, tmp_path: Path) -> None:
    web.pages["/a"].body = OTHER
    with pytest.raises(WeightsError) as error:
        get(hashed(web.at("/a")), tmp_path)
    assert str(error.value) == (
        f"net.onnx could not be downloaded: {web.at('/a')}: expected sha256 {sha256(BODY)}, got {sha256(OTHER)}, "
        "nothing was kept; run the same command again, and if this comes again, another file lies there now"
    )
    assert not visible(tmp_path)


def test_after_a_corrupt_file_the_next_address_is_tried(web: Web, tmp_path: Path) -> None:
    web.pages["/bad"] = Page(body=OTHER)
    assert get(hashed(web.at("/bad"), web.at("/a")), tmp_path).path.read_bytes() == BODY
    assert web.paths() == ["/bad", "/a"]


def test_a_part_that_ends_in_another_file_is_not_kept(web: Web, tmp_path: Path) -> None:
    leave_part(tmp_path, web).write_bytes(b"?" * 40)
    with pytest.raises(WeightsError, match=r"expected sha256 \w+, got \w+, nothing was kept"):
        get(hashed(web.at("/a")), tmp_path)
    assert not visible(tmp_path)


@pytest.mark.parametrize("size", [99, 101])
def test_another_size_is_refused_before_it_comes(web: Web, tmp_path: Path, size: int) -> None:
    told = []
    with pytest.raises(WeightsError, match=f"expected a file of {size} bytes, got 100, nothing was kept; run the same"):
        fetch(hashed(web.at("/a"), size=size), tmp_path, lambda done, total: told.append(done))
    assert not told
    assert not visible(tmp_path)


def test_another_size_is_refused_when_resuming(web: Web, tmp_path: Path) -> None:
    leave_part(tmp_path, web)
    with pytest.raises(WeightsError, match="expected a file of 99 bytes, got 100"):
        get(hashed(web.at("/a"), size=99), tmp_path)
    assert web.ranges() == [("bytes=40-", '"one"')]
    assert not visible(tmp_path)


def test_never_more_is_written_than_expected(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloak.transfer.CHUNK", 40)
    web.pages["/a"].length = "chunked"
    told = []
    with pytest.raises(WeightsError, match="expected a file of 99 bytes, got more, nothing was kept"):
        fetch(hashed(web.at("/a"), size=99), tmp_path, lambda done, total: told.append((done, total)))
    assert told == [(40, 99), (80, 99)]
    assert not visible(tmp_path)


@pytest.mark.parametrize("length", ["chunked", "untold"])
def test_less_than_expected_counts_as_a_break(web: Web, tmp_path: Path, length: str) -> None:
    web.pages["/a"] = Page(length=length, tag="")
    with pytest.raises(WeightsError, match="broke 4 times, at last it ended after 100 of 101 bytes"):
        get(hashed(web.at("/a"), size=101), tmp_path)


def test_a_server_that_tells_no_size_is_not_believed(web: Web, tmp_path: Path) -> None:
    web.pages["/a"].length = "untold"
    with pytest.raises(WeightsError, match="expected a server that tells the file's size, got one that does not"):
        get(unhashed(web.at("/a")), tmp_path)
    assert not visible(tmp_path)
    assert get(unhashed(web.at("/a"), size=100), tmp_path).path.read_bytes() == BODY


# Addresses that do not answer


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
def test_after_a_refusal_the_next_address_is_tried(web: Web, tmp_path: Path, status: int) -> None:
    web.pages["/bad"] = Page(status=status)
    assert get(hashed(web.at("/bad"), web.at("/a")), tmp_path).path.read_bytes() == BODY
    assert web.paths() == ["/bad", "/a"]


def test_a_page_instead_of_the_file_is_a_refusal(web: Web, tmp_path: Path) -> None:
    web.pages["/a"].status = 202
    with pytest.raises(WeightsError, match="/a: status 202 Accepted; download"):
        get(hashed(web.at("/a")), tmp_path)


def test_when_no_address_gives_the_file_it_is_said_what_to_do_by_hand(web: Web, tmp_path: Path, refused: str) -> None:
    web.pages["/bad"] = Page(body=OTHER)
    with pytest.raises(WeightsError) as error:
        get(hashed(web.at("/gone"), refused, web.at("/bad")), tmp_path)
    assert re.fullmatch(
        rf"net\.onnx could not be downloaded: {web.at('/gone')}: status 404 Not Found; "
        rf"{refused}: no connection: .*refused.*; {web.at('/bad')}: expected sha256 .*, nothing was kept; "
        rf"download {web.at('/gone')} in a browser and put it at {re.escape(str(tmp_path))}.net\.onnx",
        str(error.value),
    )
    (tmp_path / "net.onnx").write_bytes(BODY)
    assert not get(hashed(web.at("/gone")), tmp_path).fresh


def test_no_address_at_all_is_said(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no address of it is known; put it at .*net\.onnx"):
        get(hashed(), tmp_path)


def test_a_name_that_is_not_resolved_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(WeightsError, match=r"no connection: .*Name or service not known; download https://.* browser"):
        get(hashed("https://weights.invalid/net.onnx"), tmp_path)


def test_a_server_that_is_silent_is_said(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloak.transfer.TIMEOUT", 0.1)
    web.pages["/a"].stalls = [-1]
    with pytest.raises(WeightsError, match=r"/a: no connection: timed out; download .* in a browser"):
        get(hashed(web.at("/a")), tmp_path)
    assert len(web.requests) == 1


def test_addresses_that_do_not_answer_leave_a_part_alone(web: Web, tmp_path: Path, refused: str) -> None:
    leave_part(tmp_path, web)
    with pytest.raises(WeightsError, match=r"no connection.*status 404"):
        get(hashed(refused, web.at("/gone")), tmp_path)
    web.requests.clear()
    assert get(hashed(web.at("/a")), tmp_path).path.read_bytes() == BODY
    assert web.ranges() == [("bytes=40-", '"one"')]


# The disk


@pytest.mark.parametrize("size", [0, 3_500_000])
def test_a_full_disk_is_seen_before_anything_is_written(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    web.pages["/a"].body = bytes(3_500_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2_999_999))
    with pytest.raises(
        WeightsError, match=r"expected 4 MB of free disk space, got 2 MB; make room and run the same command again"
    ):
        get(hashed(web.at("/a"), web.at("/other"), size=size), tmp_path)
    assert web.paths() == ["/a"]
    assert not visible(tmp_path)


def test_only_what_is_missing_needs_room(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_part(tmp_path, web, kept=40)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=60))
    assert get(hashed(web.at("/a")), tmp_path).path.read_bytes() == BODY


class FailingFile(io.BytesIO):
    """Fails on the second write."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.failure = OSError(code, os.strerror(code))

    def write(self, data: Any) -> int:
        if self.tell():
            raise self.failure
        return super().write(data)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_gets_full_keeps_nothing(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def opened(path: Path, mode: str) -> FailingFile:
        path.touch()
        return FailingFile(code)

    monkeypatch.setattr("cloak.transfer.open", opened, raising=False)
    monkeypatch.setattr("cloak.transfer.CHUNK", 40)
    with pytest.raises(
        WeightsError, match=r"net\.onnx: the disk is full, nothing was kept; make room and run the same command again"
    ):
        get(hashed(web.at("/a"), web.at("/other")), tmp_path)
    assert web.paths() == ["/a"]
    assert not visible(tmp_path)


def test_a_folder_that_cannot_be_written_is_said(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    message = r"net\.onnx: expected a folder that can be written, got {}; choose another folder or change its perm"
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match=message.format("Not a directory|File exists")):
        get(hashed(web.at("/a")), tmp_path / "file")

    def opened(path: Path, mode: str) -> None:
        raise PermissionError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("cloak.transfer.open", opened, raising=False)
    with pytest.raises(WeightsError, match=message.format("Read-only file system")):
        get(hashed(web.at("/a")), tmp_path)


# Two at once

CHILD = """
import sys
from pathlib import Path
from cloak.fetch import Download, fetch
print("ready", flush=True)
print(fetch(Download("net.onnx", (sys.argv[1],), sys.argv[2]), Path(sys.argv[3])).fresh)
"""


def test_of_several_at_once_one_downloads_and_the_others_find_the_file(web: Web, tmp_path: Path) -> None:
    web.go_on.clear()
    web.pages["/a"].length = "untold"  # its end comes only when the connection closes
    download = hashed(web.at("/a"), size=len(BODY))
    with ThreadPoolExecutor() as pool:
        first = pool.submit(get, download, tmp_path)
        assert web.asked.wait(5)
        second = pool.submit(get, download, tmp_path)
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, download.addresses[0], download.sha256, str(tmp_path)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        with child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(0.2)
            assert not second.done()
            web.go_on.set()
            assert child.stdout.read() == "False\n"
        assert (first.result().fresh, second.result().fresh) == (True, False)
    assert web.paths() == ["/a"]


# Files whose hash nobody knows


def test_the_first_download_pins_its_hash(web: Web, tmp_path: Path) -> None:
    (tmp_path / "pins.json").write_text('{"another.onnx": "0a"}')
    assert pinned_sha256(tmp_path, "net.onnx") == ""
    fetched = get(unhashed(web.at("/a")), tmp_path)
    assert fetched == Fetched(tmp_path / "net.onnx", sha256(BODY), pinned=True, fresh=True)
    assert pinned_sha256(tmp_path, "net.onnx") == sha256(BODY)
    assert json.loads((tmp_path / "pins.json").read_text()) == {"another.onnx": "0a", "net.onnx": sha256(BODY)}
    assert visible(tmp_path).keys() == {"net.onnx", "pins.json"}
    assert get(unhashed(web.at("/a")), tmp_path) == Fetched(fetched.path, sha256(BODY), pinned=False, fresh=False)
    assert len(web.requests) == 1


def test_a_folder_that_is_not_there_pins_nothing(tmp_path: Path) -> None:
    assert pinned_sha256(tmp_path / "none", "net.onnx") == ""


def test_a_known_hash_is_not_pinned(web: Web, tmp_path: Path) -> None:
    get(hashed(web.at("/a")), tmp_path)
    assert not (tmp_path / "pins.json").exists()


def test_a_given_hash_counts_more_than_a_pinned_one(web: Web, tmp_path: Path) -> None:
    (tmp_path / "pins.json").write_text(json.dumps({"net.onnx": sha256(OTHER)}))
    web.pages["/bad"] = Page(body=OTHER)
    with pytest.raises(WeightsError, match="if this comes again, another file lies there now"):
        get(hashed(web.at("/bad")), tmp_path)
    assert get(hashed(web.at("/a")), tmp_path).sha256 == sha256(BODY)


def test_a_later_download_that_differs_is_refused_until_its_pin_is_deleted(web: Web, tmp_path: Path) -> None:
    get(unhashed(web.at("/a")), tmp_path).path.unlink()
    web.pages["/a"] = Page(body=OTHER, tag='"two"')
    with pytest.raises(
        WeightsError,
        match=rf"expected sha256 {sha256(BODY)}, got {sha256(OTHER)}, nothing was kept; this is not the file of the "
        r"first download; to accept it, delete the entry of net\.onnx in .*pins\.json and run the same command again",
    ):
        get(unhashed(web.at("/a")), tmp_path)
    assert visible(tmp_path).keys() == {"pins.json"}
    (tmp_path / "pins.json").write_text("{}")
    assert get(unhashed(web.at("/a")), tmp_path).pinned
    assert pinned_sha256(tmp_path, "net.onnx") == sha256(OTHER)


def test_a_file_that_differs_from_its_pin_is_refused_and_stays(web: Web, tmp_path: Path) -> None:
    path = get(unhashed(web.at("/a")), tmp_path).path
    path.write_bytes(OTHER)
    web.requests.clear()
    with pytest.raises(
        WeightsError,
        match=rf"net\.onnx: expected the file of the first download, of sha256 {sha256(BODY)}, got {sha256(OTHER)}; "
        r"delete it and run the same command again, or accept it by deleting its entry in .*pins\.json",
    ):
        get(unhashed(web.at("/a")), tmp_path)
    assert not web.requests
    assert path.read_bytes() == OTHER


def test_a_file_put_there_by_hand_is_pinned(web: Web, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(OTHER)
    assert get(unhashed(web.at("/a")), tmp_path) == Fetched(path, sha256(OTHER), pinned=True, fresh=False)
    assert pinned_sha256(tmp_path, "net.onnx") == sha256(OTHER)
    assert not web.requests


def test_a_file_of_another_size_is_not_pinned(web: Web, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"half of it")
    fetched = get(unhashed(web.at("/a"), size=len(BODY)), tmp_path)
    assert fetched == Fetched(tmp_path / "net.onnx", sha256(BODY), pinned=True, fresh=True)


@pytest.mark.parametrize("text", ["{", "[]", '{"net.onnx": 1}', "\xff"])
def test_damaged_pins_are_said_before_the_download(web: Web, tmp_path: Path, text: str) -> None:
    (tmp_path / "pins.json").write_text(text, encoding="latin-1")
    with pytest.raises(
        WeightsError, match=r"pins\.json: expected a JSON object of file names and their sha256, got something else; "
    ):
        get(unhashed(web.at("/a")), tmp_path)
    assert not web.requests


def test_pins_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    (tmp_path / "pins.json").mkdir()
    with pytest.raises(WeightsError, match=r"pins\.json: cannot be read: "):
        pinned_sha256(tmp_path, "net.onnx")


# Addresses that are not allowed


@pytest.mark.parametrize("address", ["file:///etc/hostname", "ftp://127.0.0.1/a", "/etc/hostname", "data:,a"])
def test_only_http_and_https_are_allowed(tmp_path: Path, address: str) -> None:
    with pytest.raises(WeightsError, match=rf"{address}: expected an address that starts with https:// or http://"):
        get(hashed(address), tmp_path)


def test_a_malformed_address_is_said(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="expected an address, got one that is malformed"):
        get(hashed("https://[1/a"), tmp_path)
    with pytest.raises(WeightsError, match=r"http://127\.0\.0\.1:port/a: no connection: nonnumeric port"):
        get(hashed("http://127.0.0.1:port/a"), tmp_path)


def test_a_file_with_no_known_hash_must_come_over_https(web: Web, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("HTTP_PROXY", web.at(""))
    web.pages["http://weights.invalid/a"] = Page()
    message = "http://weights.invalid/a: expected an address that starts with https://, as no sha256 of the file is"
    with pytest.raises(WeightsError, match=message):
        get(unhashed("http://weights.invalid/a"), tmp_path)
    web.pages["http://127.0.0.1/a"] = Page(status=302, location="http://weights.invalid/a")
    with pytest.raises(WeightsError, match=message):
        get(unhashed("http://127.0.0.1/a"), tmp_path)
    assert web.paths() == ["http://127.0.0.1/a"]
    assert get(hashed("http://127.0.0.1/a"), tmp_path).fresh
    (tmp_path / "pins.json").write_text(json.dumps({"net.onnx": sha256(BODY)}))
    (tmp_path / "net.onnx").unlink()
    assert get(unhashed("http://weights.invalid/a"), tmp_path).fresh


def test_a_redirect_is_followed_but_only_to_http_and_https(web: Web, tmp_path: Path) -> None:
    web.pages["/moved"] = Page(status=302, location="/a", cuts=[])
    web.pages["/a"].cuts = [10]
    assert get(hashed(web.at("/moved")), tmp_path).path.read_bytes() == BODY
    assert web.paths() == ["/moved", "/a", "/moved", "/a"]
    assert web.ranges()[3] == ("bytes=10-", '"one"')
    (tmp_path / "net.onnx").unlink()
    web.pages["/file"] = Page(status=302, location="file:///etc/hostname")
    web.pages["/ftp"] = Page(status=302, location="ftp://127.0.0.1/a")
    with pytest.raises(WeightsError, match=r"/file: status 302 .*not allowed; ftp://127\.0\.0\.1/a: expected an addr"):
        get(hashed(web.at("/file"), web.at("/ftp")), tmp_path)


# Proxies and mirrors


def test_the_proxy_of_the_environment_is_used(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", web.at(""))
    web.pages["http://weights.invalid/net.onnx"] = Page()
    assert get(hashed("http://weights.invalid/net.onnx"), tmp_path).path.read_bytes() == BODY
    assert web.paths() == ["http://weights.invalid/net.onnx"]


def test_no_proxy_is_used_where_none_is_wanted(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", refused)
    with pytest.raises(WeightsError, match="no connection"):
        get(hashed(web.at("/a")), tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert get(hashed(web.at("/a")), tmp_path).fresh


@pytest.mark.parametrize("slash", ["", "/"])
def test_hf_endpoint_stands_for_hugging_face(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slash: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", web.at("/hub" + slash))
    web.pages["/hub/org/repo/resolve/main/net.onnx"] = Page()
    assert get(hashed("https://huggingface.co/org/repo/resolve/main/net.onnx"), tmp_path).fresh
    assert web.paths() == ["/hub/org/repo/resolve/main/net.onnx"]


def test_hf_endpoint_stands_for_no_other_host(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", web.at(""))
    monkeypatch.setenv("HTTPS_PROXY", refused)
    with pytest.raises(WeightsError, match=r"downloaded: https://huggingface\.co\.invalid/a: no connection"):
        get(hashed("https://huggingface.co.invalid/a"), tmp_path)
    assert not web.requests


def test_the_mirror_is_tried_first(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOAK_MIRROR", web.at("/mirror/"))
    web.pages["/mirror/a%20net.onnx"] = Page(body=OTHER)
    download = Download("a net.onnx", (web.at("/a"),), sha256(BODY))
    assert get(download, tmp_path).path.read_bytes() == BODY
    assert web.paths() == ["/mirror/a%20net.onnx", "/a"]
    web.pages["/mirror/a%20net.onnx"] = Page()
    (tmp_path / "a net.onnx").unlink()
    assert get(download, tmp_path).fresh
    assert web.paths()[2:] == ["/mirror/a%20net.onnx"]


def test_a_file_with_no_known_hash_comes_from_a_mirror_only_over_https(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    monkeypatch.setenv("CLOAK_MIRROR", web.at("/mirror"))
    web.pages["/mirror/net.onnx"] = Page(body=OTHER)
    assert get(unhashed(web.at("/a")), tmp_path).sha256 == sha256(BODY)
    assert web.paths() == ["/a"]
    secure = refused.replace("http:", "https:").removesuffix("/a")
    monkeypatch.setenv("CLOAK_MIRROR", secure)
    with pytest.raises(WeightsError, match=rf"downloaded: {secure}/new\.onnx: no connection: .*; {web.at('/gone')}: "):
        get(Download("new.onnx", (web.at("/gone"),)), tmp_path)


def test_a_mirror_that_is_no_web_address_is_said(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOAK_MIRROR", "/srv/mirror")
    with pytest.raises(WeightsError, match=r"/srv/mirror/net\.onnx: expected an address that starts with https:// or"):
        get(hashed(web.at("/a")), tmp_path)


def test_what_a_server_says_is_shown_in_letters(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Handler.responses, 503, ("\x1b[31mred\x1b]0;owned\x07", ""))
    web.pages["/a"].status = 503
    with pytest.raises(WeightsError) as caught:
        get(hashed(web.at("/a")), tmp_path)
    assert r"status 503 \x1b[31mred\x1b]0;owned\x07" in str(caught.value)


@pytest.mark.parametrize("header", ["Content-Length", "Content-Range"])
def test_sizes_of_thousands_of_digits_are_no_sizes(header: str) -> None:
    value = "9" * 5000
    headers = {header: f"bytes 0-1/{value}" if header == "Content-Range" else value}
    response = SimpleNamespace(status=206 if header == "Content-Range" else 200, headers=headers)
    assert _extent(response) in ((-1, 0), (0, 0))

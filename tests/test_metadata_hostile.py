"""Any bytes in any field: nothing is raised, nothing takes long, what comes out can be written."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloak.metadata import Metadata, apply_policy, finish, note_of, save_options
from cloak.metadata.exif import filter_exif
from cloak.metadata.fields import MAX_EXIF, MAX_IPTC, MAX_XMP, POLICIES, Policy
from cloak.metadata.hidden import hidden_parts
from cloak.metadata.iptc import filter_iptc
from cloak.metadata.read import photoshop_resources
from cloak.metadata.xmp import filter_xmp
from tests import metadata_files as files
from tests.metadata_files import FORMATS, encoded, planted, read, written

SECONDS = 10.0
"""For the worst inputs, on a slow and busy machine; most take well under one."""


def through(metadata: Metadata) -> None:
    """Each policy and format; what stays must stay when it is filtered again."""
    policy: Policy
    for policy in ("default", "keep", "strip"):
        stays, removed = apply_policy(metadata, policy, "cloak 1")
        assert all(isinstance(word, str) and word for word in removed)
        assert note_of(stays) == ("" if policy == "strip" else "cloak 1")
        assert apply_policy(stays, policy, "cloak 1") == (stays, ())
        for image_format in (*FORMATS, "BMP", "GIF", "MPO"):
            save_options(stays, image_format)


blocks = st.binary(max_size=200)
letters = st.text(st.characters(exclude_categories=()), max_size=90)  # halves of pairs too


@settings(max_examples=150, deadline=None)
@given(
    st.builds(
        Metadata,
        exif=blocks
        | blocks.map(lambda data: b"II*\0\x08\0\0\0" + data)
        | blocks.map(lambda data: b"MM\0+\0\x08" + data),
        xmp=blocks,
        iptc=blocks | blocks.map(lambda data: b"\x1c\x02\x74\0\x05" + data),
        icc_profile=blocks,
        comment=blocks,
        text=st.dictionaries(letters, letters, max_size=4),
    )
)
def test_any_bytes(metadata: Metadata) -> None:
    through(metadata)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12))
def test_changed_bytes_of_real_blocks(seed: int, changes: int) -> None:
    numbers = random.Random(seed)

    def changed(block: bytes) -> bytes:
        data = bytearray(block)
        for _ in range(changes):
            data[numbers.randrange(len(data))] = numbers.choice((0, 1, 0x7F, 0xFF, numbers.randrange(256)))
        return bytes(data[: numbers.choice((len(data), numbers.randrange(len(data))))])

    exif, xmp, iptc = changed(files.planted_exif()), changed(files.planted_xmp()), changed(files.planted_iptc())
    through(Metadata(exif=exif, xmp=xmp, iptc=iptc, icc_profile=changed(files.PROFILE)))
    for policy in POLICIES:
        assert files.THUMBNAIL_MARK not in filter_exif(exif, policy)[0]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(("JPEG", "MPO", "PNG", "WEBP", "HEIF", "AVIF", "TIFF")), blocks, st.integers(0, 400))
def test_any_bytes_as_a_file(image_format: str, data: bytes, length: int) -> None:
    hidden_parts(image_format, {"photoshop": {1: b""}, "aux": {"a": []}}, data)
    start = {"JPEG": b"\xff\xd8", "PNG": b"\x89PNG\r\n\x1a\n", "WEBP": b"RIFF\0\0\0\1WEBP"}.get(image_format, b"")
    hidden_parts(image_format, {}, start + data)
    photoshop_resources(b"8BIM" + data)
    hidden_parts(image_format, {}, FILES.get(image_format, b"")[:length])


FILES = {image_format: planted(image_format) for image_format in FORMATS}


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "JPEG"])
def test_pillow_reads_what_was_made_of_damaged_blocks(image_format: str) -> None:
    numbers = random.Random(5)
    for _ in range(40):
        exif = bytearray(files.planted_exif())
        for _ in range(6):
            exif[numbers.randrange(len(exif))] = numbers.randrange(256)
        stays, _ = apply_policy(Metadata(exif=bytes(exif)), "keep", "cloak 1")
        assert note_of(read(written(stays, image_format))) == "cloak 1"


def nested(depth: int) -> bytes:
    return files.planted_xmp("<own:a>" * depth + "</own:a>" * depth)


def overlapping_directories() -> bytes:
    """Fields that all point at the same megabytes."""
    count, size = 4000, 4 << 20
    row = b"".join(
        (0xC000 + n).to_bytes(2, "little") + b"\7\0" + size.to_bytes(4, "little") + bytes(4) for n in range(count)
    )
    return b"II*\0\x08\0\0\0" + count.to_bytes(2, "little") + row + bytes(4) + bytes(size)


@pytest.mark.parametrize(
    "packet",
    [
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd">' + files.planted_xmp(),
        b"<a/>",
        b"<rdf:RDF/>",
        b"<",
        b"\xff\xfe<",
        nested(100_000),
        nested(100),
        b"<a>" * 1_000_000,
        b"<!---->" * 2_000_000,
        files.planted_xmp("<own:a/>" * 1_000_000),
        files.planted_xmp("<own:a " + " ".join(f'b{n}=""' for n in range(300_000)) + "/>"),
        b" " + files.planted_xmp().ljust(MAX_XMP, b" "),
        b'<?xml version="1.0" encoding="none"?><a/>',
    ],
    ids=lambda packet: packet[:20].decode("latin-1"),
)
def test_packets_that_are_refused(packet: bytes) -> None:
    start = time.perf_counter()
    for policy in POLICIES:
        assert filter_xmp(packet, policy) == (b"", ("damaged XMP",))
    assert time.perf_counter() - start < SECONDS


@pytest.mark.parametrize(
    "stream",
    [
        b"x",
        bytes(50),
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff",
        overlapping_directories(),
        bytes(MAX_EXIF + 1),
    ],
    ids=["x", "zeros", "far", "cut", "overlapping", "large"],
)
def test_exif_that_cannot_be_read_is_said(stream: bytes) -> None:
    start = time.perf_counter()
    for policy in POLICIES:
        assert "damaged EXIF" in filter_exif(stream, policy)[1]
    assert time.perf_counter() - start < SECONDS


def test_iptc_that_cannot_be_read_is_said() -> None:
    for data in (
        b"x",
        b"\x1c\2",
        b"\x1c\2\x74\0\5abc",
        b"\x1c\2\x74\x80\xff",
        b"\x1c\2\x74\xff\xff",
        bytes(MAX_IPTC + 1),
    ):
        assert filter_iptc(data, "keep") == (b"", ("damaged IPTC",))
    good = files.dataset(2, 116, b"c")
    assert filter_iptc(good + bytes(40), "keep") == (good, ())
    assert filter_iptc(good + b"MARK", "keep") == (good, ("damaged IPTC",))
    assert filter_iptc(b"\x1c\2\x74\x80\4\0\0\0\1c", "default") == (b"\x1c\2\x74\x80\4\0\0\0\1c", ())


@pytest.mark.parametrize(
    ("image_format", "data"),
    [
        ("JPEG", b"\xff\xd8" + b"\xff\xe0\0\2" * 2_000_000),
        ("JPEG", b"\xff\xd8" + b"\xff" * 8_000_000),
        ("JPEG", b"\xff\xd8\xff\xd9" + b"ftyp" * 2_000_000),
        ("PNG", b"\x89PNG\r\n\x1a\n" + b"\0\0\0\0abcd0000" * 1_000_000),
        ("WEBP", b"RIFF\xff\xff\xff\xffWEBP" + b"abcd\0\0\0\0" * 1_000_000),
        ("HEIF", b"\0\0\0\x08abcd" * 1_000_000),
        ("HEIF", b"\0\0\0\x08meta" * 1_000_000),
    ],
)
def test_large_files_of_small_parts_are_quick(image_format: str, data: bytes) -> None:
    start = time.perf_counter()
    hidden_parts(image_format, {}, data)
    assert time.perf_counter() - start < SECONDS


def test_hostile_png_texts_do_not_pass_for_other_metadata() -> None:
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    for key in ("icc_profile", "dpi", "xmp", "comment", "photoshop", "exif", "XML:com.adobe.xmp"):
        chunks.add_text(key, "MARK")
    metadata = read(encoded("PNG", pnginfo=chunks))
    assert (metadata.icc_profile, metadata.dpi, metadata.xmp, metadata.comment, metadata.iptc) == (
        b"",
        None,
        b"",
        b"",
        b"",
    )
    stays, removed = apply_policy(metadata, "keep")
    assert set(stays.text) == {"dpi", "comment", "photoshop"}
    assert set(removed) == {"damaged EXIF", "raw profiles"}


def test_texts_that_no_file_can_hold_go() -> None:
    texts = {"half": "\ud800", "": "no keyword", "k" * 80: "long keyword", "Zoë": "fine", "写": "no Latin-1"}
    stays, removed = apply_policy(Metadata(text=texts), "keep")
    assert (stays.text, removed) == ({"Zoë": "fine"}, ("text fields",))
    assert read(written(stays, "PNG")).text == stays.text


def test_finish_leaves_what_is_no_tiff_of_ours() -> None:
    for data in (encoded("TIFF")[:-1], encoded("PNG")):
        assert finish(data, Metadata(), "TIFF") == data
        assert finish(data, Metadata(exif=files.planted_exif()), "PNG") == data

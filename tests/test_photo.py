import io
import os
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from cloak import PhotoError
from cloak.photo import FINE_JPEG, Limits, Photo, decode, encode, photo_of, read_photo, recode, to_image
from cloak.types import Pixels
from tests.helpers import ANY_BYTES, smooth_noise
from tests.photo_files import KINDS, make

PIXELS = smooth_noise(48, 64)


def saved_bytes(image: Image.Image, name: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def test_the_pixels_under_full_transparency_are_kept() -> None:
    image = Image.fromarray(np.dstack([PIXELS, np.zeros(PIXELS.shape[:2], np.uint8)]))
    assert np.array_equal(decode(saved_bytes(image, "PNG"), "a").pixels, PIXELS)


def test_pixels_of_a_palette_with_transparency() -> None:
    data = saved_bytes(Image.fromarray(PIXELS).convert("P"), "PNG", transparency=0)
    photo = decode(data, "a")
    assert photo.alpha is not None
    expected: Pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))[..., 3]
    assert np.array_equal(photo.alpha, expected)


def test_grey_is_seen_in_one_channel_and_in_three() -> None:
    grey = smooth_noise(20, 20, grey=True)
    assert Photo(grey).grey
    assert photo_of(Image.fromarray(grey[..., 0])).grey
    assert not Photo(PIXELS).grey
    assert to_image(photo_of(Image.fromarray(grey[..., 0]))).mode == "L"


def test_a_black_and_white_photo_in_a_colour_jpeg_counts_as_grey() -> None:
    grey = smooth_noise(64, 64, grey=True)
    tinted = (grey + np.array([2, 0, 1])).clip(0, 255).astype(np.uint8)  # a scanner's cast
    photo = decode(saved_bytes(Image.fromarray(tinted), "JPEG", quality=60), "a")
    assert not photo.single_channel
    assert photo.grey
    sepia = (grey * np.array([1.0, 0.85, 0.7])).astype(np.uint8)
    assert not Photo(sepia).grey


def test_a_region_is_recoded_as_in_the_whole_file() -> None:
    photo = Photo(PIXELS, encodings=FINE_JPEG)
    whole = decode(encode(photo), "a").pixels
    assert np.array_equal(recode(photo, PIXELS[8:40, 16:48]), whole[8:40, 16:48])


def test_a_pillow_image_is_turned_upright() -> None:
    image = Image.fromarray(PIXELS)
    image.getexif()[0x0112] = 6
    assert np.array_equal(photo_of(image).pixels, np.rot90(PIXELS, -1))


def test_pillows_own_limit_is_left_as_it_was() -> None:
    before = Image.MAX_IMAGE_PIXELS
    decode(make("jpeg"), "a")
    with pytest.raises(PhotoError):
        decode(b"no photo", "a")
    assert before is not None
    assert before == Image.MAX_IMAGE_PIXELS


def huge_png(width: int, height: int) -> bytes:
    """A few bytes that claim to be a picture of this size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    lines = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", lines) + chunk(b"IEND", b"")


def floating() -> bytes:
    return saved_bytes(Image.fromarray(PIXELS[..., 0].astype(np.float32)), "TIFF")


def raw() -> bytes:
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    tags = ImageFileDirectory_v2()
    tags[0xC612] = b"\x01\x04\x00\x00"
    tags.tagtype[0xC612] = 1
    return saved_bytes(Image.fromarray(PIXELS), "TIFF", tiffinfo=tags)


def many_scans() -> bytes:
    data = saved_bytes(Image.fromarray(PIXELS), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + 300 * scan + data[-2:]


BROKEN: Mapping[str, tuple[Callable[[], bytes], str]] = {
    "text": (lambda: b"this is no photo", "expected a photo \\(JPEG, PNG, .*\\), got a file that is none, or damaged"),
    "postscript": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "got a file that is none"),
    "portable map": (lambda: saved_bytes(Image.fromarray(PIXELS), "PPM"), "got a file that is none"),
    "empty": (lambda: b"", "expected a photo, got an empty file"),
    "truncated jpeg": (lambda: make("jpeg")[:900], "the file is damaged: .*truncated"),
    "truncated png 16": (lambda: make("png 16")[:900], "the file is damaged"),
    "truncated heic": (lambda: make("heic")[:900], "damaged"),
    "bomb": (lambda: huge_png(60_000, 60_000), "expected at most 200 megapixels, got more than twice"),
    "lying": (lambda: huge_png(6_000, 6_000), "the file is damaged"),
    "floating": (floating, "expected a picture of 8 or 16 bits a channel in colour or grey, got mode F"),
    "raw": (raw, "got a camera's raw file; develop it first"),
    "scans": (many_scans, "expected a JPEG of at most 100 scans, got 3"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_cannot_be_read_is_named_with_the_reason(tmp_path: Path, kind: str) -> None:
    content, message = BROKEN[kind]
    path = tmp_path / "bad.jpg"
    path.write_bytes(content())
    with pytest.raises(PhotoError, match=message) as caught:
        read_photo(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_half_a_file_of_any_kind_is_refused_or_read_but_never_raises_another_error(kind: str) -> None:
    data = make(kind)
    for share in (0.1, 0.5, 0.9, 0.99):
        with suppress(PhotoError):
            assert decode(data[: round(len(data) * share)], "a").pixels.shape == (48, 64, 3)


def test_limits_can_be_set(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(make("png"))
    size = path.stat().st_size
    assert read_photo(path, Limits(pixels=48 * 64, bytes=size)).bytes == size
    with pytest.raises(PhotoError, match=r"expected at most 0.003071 megapixels, got .*raise --max-megapixels"):
        read_photo(path, Limits(pixels=48 * 64 - 1))
    with pytest.raises(PhotoError, match=r"expected a file of at most .* MB, got a larger one; raise --max-megabytes"):
        read_photo(path, Limits(bytes=size - 1))


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="got a path that does not exist"):
        read_photo(tmp_path / "none.jpg")
    with pytest.raises(PhotoError, match="cannot be read: Is a directory"):
        read_photo(tmp_path)
    with pytest.raises(PhotoError, match="cannot be read: embedded null byte"):
        read_photo(tmp_path / "a\0.jpg")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    with pytest.raises(PhotoError, match="cannot be read: Too many levels of symbolic links"):
        read_photo(tmp_path / "loop.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(PhotoError, match=r"got something that is not a file \(a pipe or a device\)"):
        read_photo(tmp_path / "pipe.jpg")
    with pytest.raises(PhotoError, match="got something that is not a file"):
        read_photo(Path("/dev/zero"))


@ANY_BYTES
def test_a_name_that_cannot_be_printed_is_shown_in_one_line(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\x1b[31m\n.jpg"))
    path.write_bytes(b"x")
    with pytest.raises(PhotoError) as caught:
        read_photo(path)
    assert str(caught.value).startswith(f"{tmp_path}/\\udcff\\x1b[31m\\n.jpg: ")
    str(caught.value).encode()


def test_a_file_without_a_source_has_a_jpeg_of_full_chroma() -> None:
    for encoding in FINE_JPEG:
        photo = replace(Photo(PIXELS), encodings=(encoding,))
        with Image.open(io.BytesIO(encode(photo))) as image:
            assert isinstance(image, JpegImageFile)
            assert [component[1:3] for component in image.layer] == [(1, 1)] * 3

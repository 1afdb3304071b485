import io
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile

from cloak import PhotoError, SaveError
from cloak.photo import ORIENTATION, Photo, decode, encode, photo_of, read_photo, recode, save_bytes, to_image
from cloak.types import Pixels
from tests.helpers import smooth_noise

PIXELS = smooth_noise(48, 64)


def saved(image: Image.Image, path: Path, **options: Any) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "webp"])
def test_lossless_formats_come_back_bit_for_bit(tmp_path: Path, suffix: str) -> None:
    path = saved(Image.fromarray(PIXELS), tmp_path / f"a.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    photo = read_photo(path)
    again = decode(encode(photo), "a")
    assert again.format == photo.format
    assert np.array_equal(again.pixels, PIXELS)


@pytest.mark.parametrize("quality", [95, 98])
def test_jpeg_is_saved_at_its_quality_with_full_chroma(tmp_path: Path, quality: int) -> None:
    photo = read_photo(saved(Image.fromarray(PIXELS), tmp_path / "a.jpg", quality=70))
    with Image.open(io.BytesIO(encode(replace(photo, jpeg_quality=quality)))) as image:
        assert image.format == "JPEG"
        assert isinstance(image, JpegImageFile)
        assert [component[1:3] for component in image.layer] == [(1, 1)] * 3
        tables = image.quantization
    reference = Image.open(saved(Image.fromarray(PIXELS), tmp_path / "c.jpg", quality=quality))
    assert isinstance(reference, JpegImageFile)
    assert tables == reference.quantization


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1"])
def test_png_modes_keep_channels_alpha_and_size(tmp_path: Path, mode: str) -> None:
    source = Image.fromarray(PIXELS)
    if "A" in mode:
        source.putalpha(Image.fromarray(PIXELS[..., 0]))
    image = source.convert(mode)
    photo = read_photo(saved(image, tmp_path / "a.png"))
    with Image.open(io.BytesIO(encode(photo))) as again:
        assert again.size == image.size
        assert again.mode == {"P": "RGB", "1": "L"}.get(mode, mode)
        assert np.array_equal(np.asarray(again.convert("RGBA")), np.asarray(image.convert("RGBA")))


def test_the_pixels_under_full_transparency_are_kept(tmp_path: Path) -> None:
    image = Image.fromarray(np.dstack([PIXELS, np.zeros(PIXELS.shape[:2], np.uint8)]))
    photo = read_photo(saved(image, tmp_path / "a.png"))
    assert np.array_equal(photo.pixels, PIXELS)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_orientation_is_undone_for_work_and_kept_in_the_file(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = saved(Image.fromarray(PIXELS), tmp_path / f"a.{suffix}", exif=exif, quality=100)
    photo = read_photo(path)
    with Image.open(path) as before, Image.open(io.BytesIO(encode(photo))) as after:
        assert np.array_equal(photo.pixels, np.asarray(ImageOps.exif_transpose(before).convert("RGB")))
        assert after.size == before.size
        assert after.getexif().get(ORIENTATION, 1) == orientation
        shown = np.asarray(ImageOps.exif_transpose(after).convert("RGB"))
    assert np.abs(shown.astype(int) - photo.pixels).mean() < 4


def test_the_colour_profile_and_resolution_stay_and_the_thumbnail_goes(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    bare = exif.tobytes()
    thumbnail = io.BytesIO()
    Image.fromarray(PIXELS).resize((16, 12)).save(thumbnail, "JPEG")
    # IFD1 with a JPEG behind it, as cameras write it
    payload = bytearray(bare[6:])
    order: Literal["little", "big"] = "little" if payload[:2] == b"II" else "big"
    count = int.from_bytes(payload[8:10], order)
    next_ifd = 8 + 2 + 12 * count
    start = len(payload)
    payload[next_ifd : next_ifd + 4] = start.to_bytes(4, order)
    picture = thumbnail.getvalue()
    entries = [(0x0201, 4, start + 2 + 24 + 4), (0x0202, 4, len(picture))]
    payload += (2).to_bytes(2, order)
    for tag, kind, value in entries:
        payload += tag.to_bytes(2, order) + kind.to_bytes(2, order) + (1).to_bytes(4, order) + value.to_bytes(4, order)
    payload += (0).to_bytes(4, order) + picture
    path = tmp_path / "a.jpg"
    Image.fromarray(PIXELS).save(path, exif=b"Exif\0\0" + bytes(payload), icc_profile=b"profile", dpi=(240, 240))
    assert path.read_bytes().count(b"\xff\xd8\xff") == 2  # the photo and its thumbnail

    written = encode(read_photo(path))
    with Image.open(io.BytesIO(written)) as image:
        assert image.info["icc_profile"] == b"profile"
        assert image.info["dpi"] == (240, 240)
        assert image.getexif()[0x010F] == "a camera"
    assert written.count(b"\xff\xd8\xff") == 1


def test_a_multi_picture_jpeg_counts_as_a_jpeg(tmp_path: Path) -> None:
    image = Image.fromarray(PIXELS)
    path = saved(image, tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[image])
    assert read_photo(path).format == "JPEG"


def test_grey_is_seen_in_one_channel_and_in_three() -> None:
    grey = smooth_noise(20, 20, grey=True)
    assert Photo(grey).grey
    assert photo_of(Image.fromarray(grey[..., 0])).grey
    assert not Photo(PIXELS).grey
    assert to_image(photo_of(Image.fromarray(grey[..., 0]))).mode == "L"


def test_a_region_is_recoded_as_in_the_whole_file() -> None:
    photo = Photo(PIXELS, format="JPEG")
    whole = decode(encode(photo), "a").pixels
    assert np.array_equal(recode(photo, PIXELS[8:40, 16:48]), whole[8:40, 16:48])


def broken(kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "frames":
        Image.fromarray(PIXELS).save(buffer, "PNG", save_all=True, append_images=[Image.fromarray(255 - PIXELS)])
    elif kind == "gif":
        Image.fromarray(PIXELS).save(buffer, "GIF")
    elif kind == "cmyk":
        Image.fromarray(PIXELS).convert("CMYK").save(buffer, "JPEG")
    elif kind == "deep":
        Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257).save(buffer, "PNG")
    elif kind == "truncated":
        Image.fromarray(PIXELS).save(buffer, "JPEG")
        return buffer.getvalue()[:600]
    elif kind == "text":
        return b"this is no photo"
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("frames", "expected one picture, got 2 frames"),
        ("gif", "expected a photo in JPEG, PNG, WEBP, BMP, TIFF, got GIF; convert it first"),
        ("cmyk", "expected a picture of 8 bits a channel in colour or grey, got mode CMYK"),
        ("deep", "expected a picture of 8 bits a channel in colour or grey, got mode I;16"),
        ("truncated", "the file is damaged"),
        ("text", "expected a photo, got a file that is none"),
        ("empty", "expected a photo, got an empty file"),
    ],
)
def test_what_cannot_be_read_is_named_with_the_reason(tmp_path: Path, kind: str, message: str) -> None:
    path = tmp_path / "bad.jpg"
    path.write_bytes(broken(kind))
    with pytest.raises(PhotoError, match=message) as caught:
        read_photo(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="cannot be read: No such file"):
        read_photo(tmp_path / "none.jpg")


def test_saving_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "a.png"
    save_bytes(b"first", path)
    with pytest.raises(SaveError, match="exists already; pass --overwrite"):
        save_bytes(b"second", path)
    assert path.read_bytes() == b"first"

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(SaveError, match="cannot be written: No space left on device"):
        save_bytes(b"second", path, overwrite=True)
    assert path.read_bytes() == b"first"
    assert list(path.parent.iterdir()) == [path]


def test_pixels_of_a_palette_with_transparency(tmp_path: Path) -> None:
    image = Image.fromarray(PIXELS).convert("P")
    path = saved(image, tmp_path / "a.png", transparency=0)
    photo = read_photo(path)
    assert photo.alpha is not None
    expected: Pixels = np.asarray(Image.open(path).convert("RGBA"))[..., 3]
    assert np.array_equal(photo.alpha, expected)

"""Rare kinds of files that people have all the same."""

import io
import zlib
from dataclasses import replace

import numpy as np
import pillow_heif
import pytest
import pyvips
from PIL import Image, ImageFile
from PIL.PngImagePlugin import PngInfo

from cloak import PhotoError
from cloak.photo import Limits, decode, encode, read_back
from tests.helpers import smooth_noise
from tests.photo_files import PIXELS, camera_exif, make


def saved(image: Image.Image, name: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def profile_name(profile: bytes) -> str:
    return "p3" if profile == bytes(pyvips.Image.profile_load("p3")) else "another" if profile else "none"


def by_numbers(kind: str, primaries: int, transfer: int) -> bytes:
    """A HEIC or AVIF that says what its colours mean by numbers."""
    image = Image.fromarray(PIXELS)
    if kind == "avif":
        data = make("avif")
    else:
        buffer = io.BytesIO()
        pillow_heif.from_pillow(image).save(
            buffer, quality=80, save_nclx_profile=True, color_primaries=12, transfer_characteristics=13
        )
        data = buffer.getvalue()
    place = data.index(b"colrnclx") + 8
    return data[:place] + primaries.to_bytes(2, "big") + transfer.to_bytes(2, "big") + data[place + 4 :]


@pytest.mark.parametrize("kind", ["heic", "avif"])
def test_colours_that_are_stated_by_numbers(kind: str) -> None:
    photo = decode(by_numbers(kind, 12, 13), "photo")
    assert profile_name(photo.metadata.icc_profile) == "p3"
    assert profile_name(read_back(encode(photo)).metadata.icc_profile) == "p3"
    ordinary = decode(by_numbers(kind, 1, 13), "photo")
    assert (profile_name(ordinary.metadata.icc_profile), ordinary.notes) == ("none", ())
    bright = decode(by_numbers(kind, 9, 18), "photo")
    assert "saved as if they were ordinary ones" in bright.notes[0]


@pytest.mark.parametrize("kind", ["png", "png 16"])
def test_a_png_keeps_what_its_colours_mean(kind: str) -> None:
    stated = {b"gAMA": (45455).to_bytes(4, "big"), b"cHRM": bytes(range(32)), b"cICP": b"\x0c\x0d\0\1", b"sRGB": b"\0"}
    chunks = PngInfo()
    for name, content in stated.items():
        chunks.add(name, content)
    described = saved(Image.new("RGB", (1, 1)), "PNG", pnginfo=chunks)
    bare = make(kind)
    data = bare[:33] + described[33 : described.index(b"IDAT") - 4] + bare[33:]
    photo = decode(data, "photo")
    assert photo.metadata.colours == stated
    assert read_back(encode(photo)).metadata.colours == stated


def test_more_than_eight_bits_of_a_heic_are_told() -> None:
    buffer = io.BytesIO()
    samples = (PIXELS.astype(np.uint16) * 257).tobytes()
    pillow_heif.from_bytes("RGB;16", PIXELS.shape[1::-1], samples).save(buffer, quality=80)
    assert "more than 8 bits a channel became 8" in decode(buffer.getvalue(), "photo").notes


def test_more_than_eight_bits_of_an_avif_are_told() -> None:
    data = pyvips.Image.new_from_array(PIXELS.astype(np.uint16) * 257).copy(interpretation="rgb16")
    try:
        ten = bytes(data.heifsave_buffer(compression="av1", bitdepth=10, Q=80))
    except pyvips.Error:
        pytest.skip("this libvips cannot write AVIF")
    assert "more than 8 bits a channel became 8" in decode(ten, "photo").notes
    assert decode(make("avif"), "photo").notes == ()


def test_a_tiff_of_16_bits_in_cmyk_is_no_picture_with_transparency() -> None:
    four = np.dstack([255 - PIXELS, np.zeros_like(PIXELS[..., :1])]).astype(np.uint16) * 257
    picture = pyvips.Image.new_from_array(four).copy(interpretation="cmyk")
    try:
        photo = decode(bytes(picture.tiffsave_buffer()), "photo")
    except PhotoError as error:
        pytest.skip(f"Pillow here cannot read it: {error}")
    assert photo.alpha is None
    assert "CMYK colours became RGB" in photo.notes


def test_a_bmp_with_transparency_becomes_a_png() -> None:
    rgba = Image.fromarray(np.dstack([PIXELS, PIXELS[..., 0]]))
    header = bytearray(saved(rgba, "BMP"))
    assert header[28] == 32
    photo = decode(bytes(header), "photo")
    assert (photo.encoding.format == "PNG") is (photo.alpha is not None)


def test_a_text_that_looks_like_the_pixels_beginning() -> None:
    photo = decode(make("png 16"), "photo")
    described = replace(photo, metadata=replace(photo.metadata, text={"Copyright": "(c) CANDIDATE"}))
    again = read_back(encode(described))
    assert again.metadata.text == {"Copyright": "(c) CANDIDATE"}
    assert again.deep is not None


def test_a_cameras_raw_file_is_refused_and_not_its_preview_taken() -> None:
    preview = saved(Image.fromarray(PIXELS), "TIFF", tiffinfo={0x00FE: 1, 0x010F: "NIKON"})
    with pytest.raises(PhotoError, match="got a camera's raw file; develop it first"):
        decode(preview, "photo")


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff"])
def test_an_orientation_in_xmp_alone_turns_nothing(kind: str) -> None:
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    )
    if kind == "tiff":
        data = saved(Image.fromarray(PIXELS), "TIFF", tiffinfo={0x02BC: xmp})
    elif kind == "png":
        chunks = PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", xmp.decode())
        data = make(kind, pnginfo=chunks)
    else:
        data = make(kind, xmp=xmp)
    assert xmp[:20] in data
    assert decode(data, "photo").pixels.shape == PIXELS.shape


def test_an_orientation_in_exif_counts_beside_any_xmp() -> None:
    data = make("jpeg", xmp=b"<x/>", exif=camera_exif(orientation=6))
    assert decode(data, "photo").pixels.shape == (PIXELS.shape[1], PIXELS.shape[0], 3)


def test_grain_in_full_quality_is_written_at_every_rung() -> None:
    grain = np.random.default_rng(0).integers(-30, 31, (400, 400, 3))
    noisy = (smooth_noise(400, 400).astype(int) + grain).clip(0, 255).astype(np.uint8)
    before = ImageFile.MAXBLOCK
    photo = decode(saved(Image.fromarray(noisy), "JPEG", quality=100, subsampling=0), "photo")
    for encoding in photo.encodings:
        assert read_back(encode(replace(photo, encodings=[encoding]))).pixels.shape == noisy.shape
    assert before == ImageFile.MAXBLOCK


def test_a_film_behind_a_photo_does_not_count_as_scans() -> None:
    film = b"\0\0\0\x18ftypmp42" + 200 * (b"film" + b"\xff\xda")
    photo = decode(make("jpeg") + film, "photo")
    assert "motion video" in photo.removed


def test_what_we_wrote_is_read_however_large() -> None:
    data = make("png")
    with pytest.raises(PhotoError, match="expected at most"):
        decode(data, "photo", Limits(pixels=10))
    assert read_back(data).pixels.shape == PIXELS.shape


def test_a_gif_whose_canvas_is_a_bomb_is_refused_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    gif = bytearray(saved(Image.new("P", (8, 8)), "GIF"))
    frame = gif.index(b",\0\0\0\0\x08\0\x08\0")
    gif[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"  # the frame is 65,535 pixels wide and high
    made: list[object] = []
    monkeypatch.setattr("PIL.Image.core.fill", lambda *arguments: made.append(arguments))
    with pytest.raises(PhotoError, match="expected at most 200 megapixels, got more than twice as many"):
        decode(bytes(gif), "photo")
    assert made == []


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_the_transparent_grey_of_a_png_of_few_bits(bits: int) -> None:
    most = 2**bits - 1
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8) % (most + 1)
    whole = bytes(pyvips.Image.new_from_array(grey * (255 // most)).pngsave_buffer(bitdepth=bits))
    assert whole[24] == bits
    content = b"tRNS" + (1).to_bytes(2, "big")
    chunk = (2).to_bytes(4, "big") + content + zlib.crc32(content).to_bytes(4, "big")
    photo = decode(whole[:33] + chunk + whole[33:], "photo")
    assert photo.alpha is not None
    np.testing.assert_array_equal(photo.alpha == 0, grey == 1)

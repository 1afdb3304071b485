"""Formats x properties; the README's table of formats is this file's."""

import io
import shutil
import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from PIL import Image, ImageCms

from cloak.photo import Photo, decode, encode, suffix_for
from cloak.photo.formats import SUFFIXES_OF
from cloak.types import Pixels
from tests.helpers import ROOT
from tests.photo_files import KINDS, PIXELS, Kind, deep_samples, image_of, make

GENTLE = np.asarray(Image.fromarray(PIXELS[:12, :16]).resize((64, 48), Image.Resampling.BICUBIC))
"""Without the sharp colours whose halved resolution decoders restore each in its own way."""

CHANGED = np.s_[8:24, 16:40]
LOSSLESS = [kind for kind, made in KINDS.items() if not made.error]
WITH_ALPHA = [kind for kind, made in KINDS.items() if made.mode in ("RGBA", "LA", "RGBA16")]
ORIENTED = ["jpeg", "jpeg grey", "png", "png 16", "webp", "webp lossless", "heic", "avif", "tiff"]


def expected_pixels(made: Kind) -> Pixels:
    """The picture as the file's mode shows it."""
    mode = made.mode.removesuffix("16")
    if mode in ("CMYK", "LAB"):
        return PIXELS
    image = image_of("L" if mode.startswith("L") else mode if mode in ("P", "1") else "RGB")
    return np.asarray(image.convert("RGB"))


def mean_error(a: Pixels, b: Pixels) -> float:
    return float(np.abs(a.astype(int) - b).mean())


def changed(photo: Photo, by: int = 9) -> Photo:
    pixels = photo.pixels.copy()
    pixels[CHANGED] = (pixels[CHANGED].astype(int) + by).clip(0, 255)
    return replace(photo, pixels=pixels)


def format_row(kind: str, made: Kind) -> str:
    """A kind's row in benchmarks/FORMATS.md."""
    mode = made.mode if made.saved_mode in ("", made.mode) else f"{made.mode}, then {made.saved_mode}"
    return f"| {kind} | {made.saved or made.format} | {mode} | {made.note} |"


def open_image(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_read_and_saved_in_its_format_or_the_nearest(kind: str) -> None:
    made = KINDS[kind]
    photo = decode(make(kind), "photo")
    if made.mode != "L16":
        assert mean_error(photo.pixels, expected_pixels(made)) <= made.error
    assert made.note in "; ".join(photo.notes)
    assert bool(photo.notes) == bool(made.note)
    saved = open_image(encode(changed(photo)))
    assert saved.format == (made.saved or made.format)
    assert saved.mode == (made.saved_mode or made.mode)
    assert saved.size == (PIXELS.shape[1], PIXELS.shape[0])


def test_the_table_of_formats_is_that_of_the_tests() -> None:
    table = (ROOT / "benchmarks/FORMATS.md").read_text()
    assert [row for row in table.splitlines() if row.split(" | ")[0].removeprefix("| ") in KINDS][: len(KINDS)] == [
        format_row(kind, made) for kind, made in KINDS.items()
    ]


@pytest.mark.parametrize("kind", LOSSLESS)
def test_a_lossless_file_changes_where_the_photo_changes_and_nowhere_else(kind: str) -> None:
    photo = decode(make(kind), "photo")
    after = decode(encode(changed(photo)), "photo").pixels
    assert np.array_equal(after, changed(photo).pixels)


@pytest.mark.parametrize("kind", WITH_ALPHA)
def test_transparency_is_untouched(kind: str) -> None:
    photo = decode(make(kind), "photo")
    assert photo.alpha is not None
    if KINDS[kind].format not in ("HEIF", "AVIF"):  # whose own encoders lose some of it
        assert np.array_equal(photo.alpha, PIXELS[..., 0])
    again = decode(encode(changed(photo)), "photo")
    assert again.alpha is not None
    assert np.array_equal(again.alpha, photo.alpha)


@pytest.mark.parametrize(("kind", "channels"), [("png 16", 3), ("png 16 alpha", 4), ("png 16 grey", 1)])
def test_sixteen_bits_stay_where_nothing_changes_and_move_by_whole_levels_where_it_does(
    kind: str, channels: int
) -> None:
    photo = decode(make(kind), "photo")
    after = changed(photo)
    saved = pyvips.Image.new_from_buffer(encode(after), "").numpy().astype(int)
    samples = deep_samples(channels).astype(int)
    saved = saved.reshape(samples.shape)
    inside = np.zeros(samples.shape[:2], bool)
    inside[CHANGED] = True
    assert np.array_equal(saved[~inside], samples[~inside])
    colours = 1 if channels == 1 else 3
    levels = (after.pixels.astype(int) - photo.pixels)[..., :colours]
    assert levels[inside].max() == 9
    assert np.array_equal(saved[..., :colours], (samples[..., :colours] + 257 * levels).clip(0, 65535))
    assert np.array_equal(saved[..., colours:], samples[..., colours:])


def test_sixteen_bits_are_rounded_not_cut_off() -> None:
    samples = deep_samples(3)
    read = decode(make("tiff 16"), "photo").pixels
    assert np.abs(read.astype(float) - samples / 257).max() <= 0.5


@pytest.mark.parametrize("kind", [kind for kind, made in KINDS.items() if made.mode in ("L", "LA", "1", "L16")])
def test_grey_stays_one_channel(kind: str) -> None:
    photo = decode(make(kind), "photo")
    assert photo.single_channel
    assert photo.grey
    assert open_image(encode(photo)).mode in ("L", "LA", "I;16")


def profile(name: str = "sRGB") -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes()  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["jpeg", "png", "png 16", "webp", "webp lossless", "heic", "avif", "tiff", "gif"])
def test_the_colour_profile_stays_and_the_colours_are_not_converted(kind: str) -> None:
    own = bytes(pyvips.Image.profile_load("p3"))
    if KINDS[kind].mode != "RGB16":
        data = make(kind, icc_profile=own)
    else:
        data = make(kind)
        picture = pyvips.Image.new_from_buffer(data, "").copy()
        picture.set_type(pyvips.GValue.blob_type, "icc-profile-data", own)
        data = picture.pngsave_buffer(bitdepth=16)
    photo = decode(data, "photo")
    assert mean_error(photo.pixels, expected_pixels(KINDS[kind])) <= KINDS[kind].error
    if kind != "gif":  # Pillow does not write one
        assert open_image(encode(photo)).info["icc_profile"] == own


def test_cmyk_with_a_profile_becomes_srgb_and_says_so(tmp_path: Path) -> None:
    ghostscript = Path("/usr/share/color/icc/ghostscript/default_cmyk.icc")
    if not ghostscript.is_file():
        pytest.skip("needs a CMYK profile, for instance Debian's libgs-common")
    buffer = io.BytesIO()
    image_of("CMYK").save(buffer, "JPEG", quality=95, icc_profile=ghostscript.read_bytes())
    photo = decode(buffer.getvalue(), "photo")
    assert photo.notes == ("CMYK colours became RGB (sRGB)",)
    saved = open_image(encode(photo))
    assert saved.mode == "RGB"
    assert "sRGB" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(saved.info["icc_profile"])))


@pytest.mark.parametrize("kind", ["jpeg cmyk", "tiff cmyk"])
def test_a_cmyk_profile_that_cannot_be_used_is_said(kind: str) -> None:
    photo = decode(make(kind, icc_profile=profile()), "photo")  # of RGB
    assert "without its colour profile, which cannot be used" in photo.notes[0]
    assert "icc_profile" not in open_image(encode(photo)).info


# orientation


def oriented(kind: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    if KINDS[kind].mode != "RGB16":
        return make(kind, GENTLE, exif=exif.tobytes())
    data, described = make(kind, GENTLE), io.BytesIO()
    Image.new("RGB", (1, 1)).save(described, "PNG", exif=exif.tobytes())
    chunk = described.getvalue()
    start = chunk.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(chunk[start : start + 4], "big")
    return data[:33] + chunk[start:end] + data[33:]


def by_libvips(data: bytes) -> Pixels:
    """Decoded and turned upright by libvips."""
    image = pyvips.Image.new_from_buffer(data, "").autorot()
    if image.format == "ushort":
        image = ((image + 128) / 257).cast("uchar")
    values = image.numpy()
    return np.broadcast_to(values if values.ndim == 3 else values[..., None], (*values.shape[:2], 3))


def by_imagemagick(data: bytes, suffix: str, folder: Path) -> Pixels:
    """Decoded and turned upright by ImageMagick."""
    program = next((path for path in ("/usr/bin/magick", "/usr/bin/convert") if shutil.which(path)), None)
    if program is None:
        pytest.skip("needs ImageMagick (Debian's imagemagick)")
    path = folder / f"photo{suffix}"
    path.write_bytes(data)
    command = [program, str(path), "-auto-orient", "-depth", "8", "ppm:-"]
    done = subprocess.run(command, capture_output=True, check=False)
    if not done.stdout:
        pytest.skip(f"ImageMagick here cannot read it: {done.stderr.decode()[:200]}")
    return np.asarray(open_image(done.stdout).convert("RGB"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ORIENTED)
def test_orientations_as_an_independent_decoder_sees_them(kind: str, orientation: int, tmp_path: Path) -> None:
    data = oriented(kind, orientation)
    photo = decode(data, "photo")
    suffix = suffix_for(photo.encoding, "")
    for upright in (data, encode(photo)):
        reference = by_imagemagick(upright, suffix, tmp_path) if kind in ("heic", "avif") else by_libvips(upright)
        assert reference.shape == photo.pixels.shape
        assert mean_error(reference, photo.pixels) <= (3.0 if KINDS[kind].error else 0.0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ORIENTED)
def test_the_saved_file_is_upright_and_says_nothing_else(kind: str, orientation: int) -> None:
    photo = decode(oriented(kind, orientation), "photo")
    saved = open_image(encode(photo))
    assert saved.getexif().get(0x0112, 1) == 1
    assert saved.size == photo.pixels.shape[1::-1]


# JPEG's fidelity


@pytest.mark.parametrize("layout", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("quality", [60, 75, 90, 98])
def test_a_jpeg_is_saved_in_its_own_tables_so_that_nothing_outside_the_change_is_lost(
    quality: int, layout: str
) -> None:
    pixels = np.tile(PIXELS, (4, 4, 1))
    data = make("jpeg", pixels, quality=quality, subsampling=layout)
    photo = decode(data, "photo")
    after = decode(encode(changed(photo)), "photo").pixels
    plain = io.BytesIO()  # one re-encode by Pillow
    open_image(data).save(plain, "JPEG", quality="keep")
    again = decode(plain.getvalue(), "photo").pixels
    far = np.s_[48:, 64:]
    assert np.array_equal(after[far], again[far])
    assert mean_error(after[CHANGED], photo.pixels[CHANGED]) > 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_jpeg_keeps_its_blocks_as_well(orientation: int) -> None:
    picture = np.tile(PIXELS, (2, 2, 1))  # whole blocks of 16 px, so that they lie alike after turning
    exif = Image.Exif()
    exif[0x0112] = orientation
    rows = np.arange(64) // 8 * 3 + np.arange(64) % 8 + 2  # tables that are not their own transpose
    data = make("jpeg", picture, exif=exif.tobytes(), qtables=[rows.tolist()] * 2, subsampling="4:4:4")
    photo = decode(data, "photo")
    lost = mean_error(decode(encode(photo), "photo").pixels, photo.pixels)
    assert lost < 0.4 < mean_error(photo.pixels, decode(make("jpeg", photo.pixels, quality=90), "photo").pixels)


def test_a_progressive_jpeg_stays_progressive() -> None:
    photo = decode(make("jpeg progressive"), "photo")
    assert open_image(encode(photo)).info["progressive"]
    assert "progressive" not in open_image(encode(decode(make("jpeg"), "photo"))).info


@pytest.mark.parametrize("kind", ["jpeg", "jpeg 4:4:4", "jpeg grey"])
def test_finer_tables_have_steps_that_divide_the_sources(kind: str) -> None:
    *encodings, fine, finest = decode(make(kind, quality=60), "photo").encodings
    assert [one.options["quality"] for one in (fine, finest)] == [98, 100]
    first = np.array(encodings[0].options["qtables"])
    assert len(encodings) > 2
    for coarser, finer in pairwise(encodings):
        tables = np.array(finer.options["qtables"])
        assert (first % tables == 0).all()
        assert tables.sum() < np.sum(coarser.options["qtables"])


@pytest.mark.parametrize(("quality", "finer"), [(75, [98, 100]), (90, [100]), (99, [])])
def test_full_chroma_is_tried_only_in_finer_steps_than_the_sources(quality: int, finer: list[int]) -> None:
    options = options_of("jpeg 4:4:4", quality=quality)
    assert [one["quality"] for one in options if "quality" in one] == finer
    assert all(one["subsampling"] == "4:4:4" for one in options)


@pytest.mark.parametrize("name", SUFFIXES_OF)
def test_a_wrong_suffix_is_mended_and_a_right_one_stays(name: str) -> None:
    if name == "GIF":
        pytest.skip("never written")
    photo = decode(make({"HEIF": "heic"}.get(name, name.lower())), "photo")
    for suffix in SUFFIXES_OF[name]:
        assert suffix_for(photo.encoding, suffix.upper()) == suffix.upper()
    assert suffix_for(photo.encoding, ".txt") == SUFFIXES_OF[name][0]


def options_of(kind: str, **options: Any) -> list[Any]:
    return [encoding.options for encoding in decode(make(kind, **options), "photo").encodings]


def test_formats_that_do_not_tell_their_quality_are_tried_from_coarse_to_fine() -> None:
    for kind in ("webp", "heic", "avif"):
        qualities = [options["quality"] for options in options_of(kind) if "quality" in options]
        assert qualities == sorted(qualities)
        assert len(qualities) > 2
    assert options_of("webp")[-1]["lossless"]
    assert len(options_of("webp lossless")) == 1

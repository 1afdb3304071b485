"""What each policy keeps and removes, searched in the bytes of written files."""

import io
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from cloak import CloakError
from cloak.metadata import Metadata, apply_policy, left_out, note_of, read_metadata, save_options
from cloak.metadata.fields import POLICIES, Policy
from tests import metadata_files as files
from tests.metadata_files import EXIF_FIELDS, FORMATS, IMAGE, IPTC_FIELDS, PROFILE, XMP_FIELDS, planted, read, written

NOTE = "cloak 0.1.0 mid"


Products = dict[tuple[str, str], tuple[bytes, tuple[str, ...]]]


@pytest.fixture(scope="module")
def products() -> Products:
    """Format and policy -> the file written, and what was said to be removed."""
    found: Products = {}
    for image_format in FORMATS:
        metadata = read(planted(image_format))
        policy: Policy
        for policy in ("default", "keep", "strip"):
            stays, removed = apply_policy(metadata, policy, NOTE)
            assert not left_out(stays, image_format)
            found[image_format, policy] = written(stays, image_format), removed
    return found


def mark(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("policy", POLICIES)
def test_exif_fields_stay_or_go(products: Products, image_format: str, policy: str) -> None:
    source, (data, _) = planted(image_format), products[image_format, policy]
    for name, (_, _, value, stays) in EXIF_FIELDS.items():
        assert mark(value) in source, name
        assert (mark(value) in data) == (policy in stays.split()), name


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("policy", POLICIES)
def test_xmp_properties_stay_or_go(products: Products, image_format: str, policy: str) -> None:
    source, (data, removed) = planted(image_format), products[image_format, policy]
    for name, (_, marker, stays, kind) in XMP_FIELDS.items():
        assert marker.encode() in source, name
        assert (marker.encode() in data) == (policy in stays.split()), name
        assert policy in stays.split() or kind in removed, name
    assert b"tiff:Orientation" not in data


@pytest.mark.parametrize("image_format", ["JPEG", "TIFF"])
@pytest.mark.parametrize("policy", POLICIES)
def test_iptc_datasets_stay_or_go(products: Products, image_format: str, policy: str) -> None:
    source, (data, _) = planted(image_format), products[image_format, policy]
    for name, (_, _, value, stays) in IPTC_FIELDS.items():
        assert value in source, name
        assert (value in data) == (policy in stays.split()), name


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("policy", POLICIES)
def test_no_thumbnail_survives(products: Products, image_format: str, policy: str) -> None:
    data, removed = products[image_format, policy]
    if image_format != "TIFF":  # where Pillow writes no second directory
        assert files.THUMBNAIL_MARK in planted(image_format)
    assert files.THUMBNAIL_MARK not in data
    assert b"MARK-irbthumb" not in data
    assert data.count(b"\xff\xd8\xff") == (image_format == "JPEG")
    assert "embedded thumbnail" in removed
    with Image.open(io.BytesIO(data)) as image:
        assert not image.getexif().get_ifd(1)


@pytest.mark.parametrize("image_format", FORMATS)
def test_the_note_is_read_back_and_pillow_sees_it(products: Products, image_format: str) -> None:
    for policy in ("default", "keep"):
        data, _ = products[image_format, policy]
        assert note_of(read(data)) == NOTE
        assert Image.open(io.BytesIO(data)).getexif()[0x000B] == NOTE
    assert note_of(read(products[image_format, "strip"][0])) == ""
    assert b"cloak " not in products[image_format, "strip"][0]
    bare, _ = apply_policy(Metadata(), "default", NOTE)
    assert note_of(read(written(bare, image_format))) == NOTE


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("policy", POLICIES)
def test_profile_stays_and_resolution_unless_stripped(products: Products, image_format: str, policy: str) -> None:
    again = read(products[image_format, policy][0])
    assert again.icc_profile == PROFILE
    if image_format in ("JPEG", "PNG", "TIFF"):
        assert again.dpi == (None if policy == "strip" else pytest.approx((240, 240), abs=0.01))


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("policy", POLICIES)
def test_no_orientation_is_left(products: Products, image_format: str, policy: str) -> None:
    data, removed = products[image_format, policy]
    with Image.open(io.BytesIO(data)) as image:
        assert 0x0112 not in image.getexif()
        assert image.info.get("original_orientation") is None
        assert image.size == IMAGE.size
    assert not any("orientation" in word.lower() for word in removed)


def test_what_was_removed_is_said_in_plain_words(products: Products) -> None:
    said = set(products["JPEG", "default"][1])
    for word in ("GPS position", "serial numbers", "face regions", "maker notes", "embedded thumbnail"):
        assert word in said
    assert {"names and captions", "unique ids", "other fields", "comments", "motion video", "gain map"} <= said
    kept = set(products["JPEG", "keep"][1])
    assert {"face regions", "embedded thumbnail"} <= kept
    assert not kept & {"GPS position", "serial numbers", "maker notes", "names and captions", "unique ids"}
    assert {"dates", "copyright", "camera and exposure", "resolution"} <= set(products["JPEG", "strip"][1])
    assert "text fields" not in products["PNG", "keep"][1]
    assert "raw profiles" in products["PNG", "keep"][1]


@pytest.mark.parametrize(
    ("image_format", "marker", "stays"),
    [
        ("JPEG", b"MARK-comment", "keep"),
        ("PNG", b"MARK-pngcopyright", "default keep"),
        ("PNG", b"MARK-pngauthor", "keep"),
        ("PNG", b"Raw profile", ""),
    ],
)
def test_comments_and_texts(products: Products, image_format: str, marker: bytes, stays: str) -> None:
    assert marker in planted(image_format)
    for policy in POLICIES:
        assert (marker in products[image_format, policy][0]) == (policy in stays.split())


@pytest.mark.parametrize("policy", POLICIES)
def test_maker_notes_with_a_preview_go(policy: Policy) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x927C] = b"MARK-note\0" + files.THUMBNAIL
    stays, removed = apply_policy(Metadata(exif=exif.tobytes()[6:]), policy)
    assert b"MARK-note" not in stays.exif
    assert removed == (("maker notes with a preview",) if policy == "keep" else ("maker notes",))


def test_letters_beyond_ascii_stay_as_the_camera_wrote_them() -> None:
    text = "© Zoë".encode()
    stream = b"MM\0*\0\0\0\x08\0\x01\x82\x98\0\x02" + len(text).to_bytes(4, "big") + b"\0\0\0\x1a\0\0\0\0" + text
    for image_format in FORMATS:
        stays, removed = apply_policy(Metadata(exif=stream), "default", NOTE)
        assert not removed
        assert text in written(stays, image_format)


def test_tiffs_of_each_compression_get_their_metadata() -> None:
    stays, _ = apply_policy(read(planted("TIFF")), "default", NOTE)
    for options in ({"compression": None}, {"compression": "tiff_adobe_deflate"}, {"compression": "jpeg"}):
        data = written(stays, "TIFF", **options)
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            assert image.getexif().get_ifd(0x8769)[0x9003] == "2012:03:04 05:06:07"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("image_format", FORMATS)
def test_numbers_keep_their_values_in_either_byte_order(image_format: str, order: str) -> None:
    exif = Image.Exif()
    exif.endian = order
    exif[0x013E] = (0.3127, 0.3291)
    exif.get_ifd(0x8769).update({0x829A: 0.0078125, 0x8827: 321, 0x9204: -0.5, 0xA432: (24.0, 70.0, 2.75, 4.0)})
    exif.get_ifd(0x8825).update({0: b"\2\3\0\0", 2: (47.0, 30.0, 15.0)})
    stays, removed = apply_policy(Metadata(exif=exif.tobytes()[6:]), "keep")
    assert not removed
    with Image.open(io.BytesIO(written(stays, image_format))) as image:
        again = image.getexif()
        assert again[0x013E] == pytest.approx((0.3127, 0.3291))
        detail = again.get_ifd(0x8769)
        assert [detail[tag] for tag in (0x829A, 0x8827, 0x9204, 0xA432)] == [0.0078125, 321, -0.5, (24, 70, 2.75, 4)]
        assert again.get_ifd(0x8825)[2] == (47, 30, 15)


def test_bmp_and_gif_hold_nothing() -> None:
    metadata = Metadata(exif=files.planted_exif(), comment=b"c", text={"a": "b"}, dpi=(240, 240), icc_profile=PROFILE)
    assert save_options(metadata, "BMP") == {"dpi": (240, 240)}
    assert save_options(metadata, "GIF") == {}
    assert left_out(metadata, "BMP") == ("EXIF", "colour profile", "comments", "text fields")


def test_what_a_jpeg_has_no_room_for_is_left_out_and_said() -> None:
    metadata = Metadata(exif=bytes(70_000), xmp=bytes(70_000), iptc=bytes(70_000), comment=bytes(70_000))
    assert left_out(metadata, "JPEG") == ("EXIF", "XMP", "IPTC", "comments")
    written(metadata, "JPEG")


def test_nothing_leaks_from_the_image_that_is_saved() -> None:
    image = IMAGE.copy()
    image.info.update(exif=b"Exif\0\0" + files.planted_exif(), xmp=b"MARK-xmp", comment=b"MARK-comment")
    image.info.update(icc_profile=b"MARK-profile", thumbnails=[16])
    for image_format in FORMATS:
        buffer = io.BytesIO()
        image.save(buffer, image_format, **save_options(Metadata(), image_format))
        assert b"MARK" not in buffer.getvalue(), image_format


def test_an_unknown_policy_lists_the_known() -> None:
    with pytest.raises(CloakError, match="unknown metadata policy 'all'; choose one of default, keep, strip"):
        apply_policy(Metadata(), "all")  # type: ignore[arg-type]


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="needs exiftool, an independent reader")
@pytest.mark.parametrize("image_format", FORMATS)
def test_exiftool_reads_what_stays_and_warns_of_nothing(products: Products, tmp_path: Path, image_format: str) -> None:
    path = tmp_path / f"a.{image_format.lower()}"
    for policy in ("default", "keep"):
        path.write_bytes(products[image_format, policy][0])
        command = ["exiftool", "-a", "-G1", "-s", "-validate", "-warning", "-error", "-all", str(path)]
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        for line in ("ProcessingSoftware", "MARK-copyright", "MARK-lensmodel", "2012:03:04 05:06:07", "MARK-dcrights"):
            assert line in said
        assert ("MARK-gps" in said) == (policy == "keep")
        assert "Error" not in said
        assert "IFD1" not in said


@pytest.mark.parametrize("image_format", FORMATS)
def test_no_resolution_is_made_up(image_format: str) -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    assert read(files.encoded(image_format, exif=exif)).dpi is None


def test_reading_takes_a_multi_picture_jpeg() -> None:
    buffer = io.BytesIO()
    IMAGE.save(buffer, "MPO", save_all=True, append_images=[IMAGE], exif=b"Exif\0\0" + files.planted_exif())
    data = buffer.getvalue()
    with Image.open(io.BytesIO(data)) as image:
        metadata = read_metadata(image, data)
    assert metadata.exif
    assert "further pictures" in metadata.previews

"""What files hold beside picture and metadata: named, and never carried over."""

import io
import shutil
import subprocess
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from cloak.metadata import Metadata, apply_policy, fields, save_options
from cloak.metadata.exif import filter_exif
from cloak.metadata.fields import POLICIES, Policy
from cloak.metadata.hidden import hidden_parts
from cloak.metadata.iptc import filter_iptc
from cloak.metadata.profile import DAMAGED_PROFILE
from cloak.metadata.xmp import filter_xmp
from tests import metadata_files as files
from tests.helpers import smooth_noise
from tests.metadata_files import IMAGE, PROFILE, encoded, in_jpeg, planted_xmp, read, resource, segment, written

MARK = b"MARK-hidden"
JPEG = b"\xff\xd8\xff\xe0" + MARK


def chunk(name: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")


def box(name: bytes, body: bytes) -> bytes:
    return (8 + len(body)).to_bytes(4, "big") + name + body


def in_png(*chunks: bytes, behind: bytes = b"") -> bytes:
    data = encoded("PNG")
    return data[:33] + b"".join(chunks) + data[33:] + behind


def in_webp(body: bytes) -> bytes:
    data = encoded("WEBP", lossless=True, exif=b"Exif\0\0" + files.planted_exif()) + body
    return data[:4] + (len(data) - 8).to_bytes(4, "little") + data[8:]


EXTENSION = b"http://ns.adobe.com/xmp/extension/\0" + bytes(40)
C2PA_BOX = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")

HIDING = {
    "JFXX": (in_jpeg(segment(0xE0, b"JFXX\0\x10" + MARK)), "embedded thumbnail"),
    "JFIF": (in_jpeg(segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\1\1" + MARK)), "embedded thumbnail"),
    "FlashPix": (in_jpeg(segment(0xE2, b"FPXR\0" + MARK)), "embedded thumbnail"),
    "extended XMP": (in_jpeg(segment(0xE1, EXTENSION + MARK)), "extended XMP"),
    "gain map": (in_jpeg(segment(0xE2, b"urn:iso:std:iso:ts:21496:-1\0" + MARK)), "gain map"),
    "C2PA": (in_jpeg(segment(0xEB, b"JP\0\0" + MARK)), "content credentials"),
    "APP5": (in_jpeg(segment(0xE5, MARK)), "other fields"),
    "Photoshop": (in_jpeg(segment(0xED, b"Photoshop 3.0\0" + resource(1036, MARK))), "embedded thumbnail"),
    "paths": (in_jpeg(segment(0xED, b"Photoshop 3.0\0" + resource(2000, MARK))), "Photoshop data"),
    "motion": (in_jpeg(behind=box(b"ftyp", b"mp42") + MARK), "motion video"),
    "gain map behind": (in_jpeg(behind=JPEG + b"hdrgm:Version"), "gain map"),
    "second": (in_jpeg(behind=JPEG), "further pictures"),
    "trailer": (in_jpeg(behind=MARK), "data behind the picture"),
    "PNG C2PA": (in_png(chunk(b"caBX", MARK)), "content credentials"),
    "PNG trailer": (in_png(behind=MARK), "data behind the picture"),
    "PNG text exif": (in_png(chunk(b"tEXt", b"exif\0" + MARK)), "damaged EXIF"),
    "WebP C2PA": (in_webp(b"C2PA" + len(MARK + b"1").to_bytes(4, "little") + MARK + b"1"), "content credentials"),
    "HEIF C2PA": (encoded("HEIF") + box(b"uuid", C2PA_BOX + MARK), "content credentials"),
    "HEIF motion": (encoded("HEIF") + box(b"mpvd", MARK), "motion video"),
    "AVIF C2PA": (encoded("AVIF") + box(b"uuid", C2PA_BOX + MARK), "content credentials"),
}


@pytest.mark.parametrize("name", HIDING)
@pytest.mark.parametrize("policy", POLICIES)
def test_hidden_parts_are_named_and_never_written(name: str, policy: Policy) -> None:
    data, kind = HIDING[name]
    assert MARK in data
    with Image.open(io.BytesIO(data)) as image:
        image_format = str(image.format)
    stays, removed = apply_policy(read(data), policy, "cloak 1 mid")
    assert kind in removed
    assert removed.count(kind) == 1
    assert MARK not in written(stays, image_format)


@pytest.mark.parametrize("image_format", [*files.FORMATS, "BMP", "GIF"])
def test_a_plain_file_hides_nothing(image_format: str) -> None:
    metadata = read(encoded(image_format))
    assert metadata.previews == ()
    for policy in POLICIES:
        assert apply_policy(Metadata(), policy)[1] == ()
    assert metadata.text == {}
    assert not metadata.exif + metadata.xmp + metadata.iptc + metadata.comment


def test_a_gif_has_its_comment() -> None:
    assert read(encoded("GIF", comment=b"words")).comment == b"words"


@pytest.mark.parametrize("options", [{"thumbnails": [16]}, {"thumbnails": [16], "exif": files.planted_exif()}])
def test_thumbnails_of_a_heif_are_named(options: dict[str, Any]) -> None:
    large = IMAGE.resize((128, 128))
    buffer = io.BytesIO()
    large.save(buffer, "HEIF", **options)
    assert "embedded thumbnail" in read(buffer.getvalue()).previews
    assert hidden_parts("AVIF", {}, buffer.getvalue()) == ("embedded thumbnail",)
    large.info["thumbnails"] = [16]
    buffer = io.BytesIO()
    large.save(buffer, "HEIF", **save_options(Metadata(), "HEIF"))
    assert read(buffer.getvalue()).previews == ()


def test_pages_and_layers_of_a_tiff_are_named() -> None:
    buffer = io.BytesIO()
    small = IMAGE.resize((8, 8))
    IMAGE.save(
        buffer, "TIFF", save_all=True, append_images=[small], tiffinfo={37724: MARK, 34377: resource(1036, MARK)}
    )
    assert MARK in buffer.getvalue()
    metadata = read(buffer.getvalue())
    assert set(metadata.previews) == {"embedded thumbnail", "further pictures"}
    assert MARK not in metadata.exif


def test_text_behind_the_pixels_of_a_png_is_read() -> None:
    data = encoded("PNG")
    end = data.rindex(b"IEND") - 4
    metadata = read(data[:end] + chunk(b"tEXt", b"Title\0late") + chunk(b"eXIf", files.planted_exif()) + data[end:])
    assert metadata.text == {"Title": "late"}
    assert metadata.exif == files.planted_exif()


def test_international_text_keeps_its_language() -> None:
    chunks = PngInfo()
    chunks.add_itxt("Title", "Zoë — 写真", "de", "Titel")
    stays, _ = apply_policy(read(encoded("PNG", pnginfo=chunks)), "keep")
    with Image.open(io.BytesIO(written(stays, "PNG"))) as image:
        text = image.text["Title"]
    assert (text, text.lang, text.tkey) == ("Zoë — 写真", "de", "Titel")


def test_nothing_hides_in_the_translated_key_of_a_text() -> None:
    chunks = PngInfo()
    chunks.add_itxt("Title", "words", "de", "/9j/4AAQ" * 50 + MARK.decode())
    stays, _ = apply_policy(read(encoded("PNG", pnginfo=chunks)), "keep")
    assert b"words" in written(stays, "PNG")
    assert MARK not in written(stays, "PNG")


@pytest.mark.parametrize(
    "profile",
    [b"profile", PROFILE[:-1], PROFILE[:36] + b"none" + PROFILE[40:], bytes(200), PROFILE[:4] + bytes(20)],
)
def test_a_damaged_colour_profile_goes(profile: bytes) -> None:
    for policy in ("default", "keep", "strip"):
        stays, removed = apply_policy(Metadata(icc_profile=profile), policy)
        assert (stays.icc_profile, removed) == (b"", (DAMAGED_PROFILE,))


def test_nothing_stays_behind_the_end_of_a_colour_profile() -> None:
    assert apply_policy(Metadata(icc_profile=PROFILE + MARK), "default")[0].icc_profile == PROFILE


def with_tags(profile: bytes, **more: bytes) -> bytes:
    """A colour profile with further tags."""
    count = int.from_bytes(profile[128:132], "big")
    moved, table, body = 12 * len(more), b"", b""
    for at in range(132, 132 + 12 * count, 12):
        place = int.from_bytes(profile[at + 4 : at + 8], "big") + moved
        table += profile[at : at + 4] + place.to_bytes(4, "big") + profile[at + 8 : at + 12]
    for name, data in more.items():
        place = len(profile) + moved + len(body)
        table += name.encode() + place.to_bytes(4, "big") + len(data).to_bytes(4, "big")
        body += data
    rest = (count + len(more)).to_bytes(4, "big") + table + profile[132 + 12 * count :] + body
    return (128 + len(rest)).to_bytes(4, "big") + profile[4:128] + rest


@pytest.mark.parametrize("policy", ["default", "strip", "keep"])
def test_only_what_is_of_colours_stays_in_a_colour_profile(policy: Policy) -> None:
    told = {"mmod": b"SERIAL-C02XK1", "dmdd": b"Jane Doe MacBook", "priv": b"whatever"}
    full = with_tags(PROFILE, **told, pict=b"\xff\xd8\xff\xe0" + bytes(80))
    stays, removed = apply_policy(Metadata(icc_profile=full), policy)
    kept = stays.icc_profile
    assert b"\xff\xd8\xff" not in kept
    assert fields.THUMBNAIL in removed
    for text in told.values():
        assert (text in kept) == (policy == "keep")
    shown = [ImageCms.ImageCmsProfile(io.BytesIO(profile)) for profile in (PROFILE, kept)]
    picture = Image.fromarray(smooth_noise(40, 40))
    lab = ImageCms.createProfile("LAB")
    before, after = (np.asarray(ImageCms.profileToProfile(picture, one, lab, outputMode="LAB")) for one in shown)
    assert np.array_equal(before, after)
    assert ImageCms.getProfileDescription(shown[0]) == ImageCms.getProfileDescription(shown[1])
    assert apply_policy(Metadata(icc_profile=kept), policy) == (stays, ())


def test_a_colour_profile_whose_tags_lie_outside_goes() -> None:
    outside = PROFILE[:136] + (10**9).to_bytes(4, "big") + PROFILE[140:]
    many = PROFILE[:128] + (10**6).to_bytes(4, "big") + PROFILE[132:]
    for profile in (outside, many):
        assert apply_policy(Metadata(icc_profile=profile), "default") == (Metadata(), (DAMAGED_PROFILE,))


def test_a_tag_is_judged_by_itself_and_nothing_lies_between_tags() -> None:
    picture = b"\xff\xd8\xff\xe0" + bytes(80)
    twice = with_tags(PROFILE, desc=picture)
    stays, removed = apply_policy(Metadata(icc_profile=twice), "strip")
    assert picture not in stays.icc_profile
    assert removed == (fields.THUMBNAIL,)
    size = len(PROFILE) + 6
    behind = size.to_bytes(4, "big") + PROFILE[4:] + b"SECRET"
    reserved = PROFILE[:110] + b"SECRET" + PROFILE[116:]
    for profile in (behind, reserved):
        stays, removed = apply_policy(Metadata(icc_profile=profile), "default")
        assert b"SECRET" not in stays.icc_profile
        assert removed == (fields.OTHER,)
        ImageCms.ImageCmsProfile(io.BytesIO(stays.icc_profile))


@pytest.mark.parametrize(("count", "start"), [(16_000, 1), (16_000, 0), (99, 1), (99, 0)])
def test_a_profile_of_many_tags_that_overlap_goes(count: int, start: int) -> None:
    size = 200_000
    entries = [b"desc" + (start + n).to_bytes(4, "big") + (size - 100 - n).to_bytes(4, "big") for n in range(count)]
    body = (PROFILE[4:128] + count.to_bytes(4, "big") + b"".join(entries)).ljust(size - 4, b"\0")
    profile = size.to_bytes(4, "big") + body[: size - 4]
    assert apply_policy(Metadata(icc_profile=profile), "default") == (Metadata(), (DAMAGED_PROFILE,))


def test_nothing_hides_in_the_attributes_of_what_stays_in_xmp() -> None:
    dates = "<dc:date><rdf:Seq><rdf:li exif:GPSLatitude='MARK'>2020-01-01</rdf:li></rdf:Seq></dc:date>"
    rights = "<dc:rights><rdf:Alt><rdf:li xml:lang='en'>mine</rdf:li></rdf:Alt></dc:rights>"
    stays, _ = apply_policy(Metadata(xmp=planted_xmp(dates, rights)), "default")
    assert b"2020-01-01" in stays.xmp
    assert b"mine" in stays.xmp
    assert b'lang="en"' in stays.xmp
    assert b"GPS" not in stays.xmp


@pytest.mark.parametrize("policy", ["default", "keep"])
def test_the_translated_key_of_a_text_stays_only_where_all_does(policy: Policy) -> None:
    chunks = PngInfo()
    chunks.add_itxt("Copyright", "mine", "de", "Jane")
    stays, _ = apply_policy(read(encoded("PNG", pnginfo=chunks)), policy)
    assert b"mine" in written(stays, "PNG")
    assert (b"Jane" in written(stays, "PNG")) == (policy == "keep")


@pytest.mark.parametrize(
    "picture",
    [files.THUMBNAIL, b"\x02\xd8\xff\xdb" + MARK, b"data:image/jpeg;base64,/9j/4AAQ" + MARK, b"FFD8FFE000" + MARK],
)
def test_a_picture_goes_wherever_it_is(picture: bytes) -> None:
    exif = Image.Exif()
    exif[0x010E] = picture
    exif[0x010F] = picture
    exif.get_ifd(0x8825)[0x001B] = picture
    for found, removed in (
        filter_exif(exif.tobytes()[6:], "keep"),
        filter_iptc(files.dataset(2, 120, picture), "keep"),
    ):
        assert found == b""
        assert removed == ("embedded thumbnail",)
    stays, removed = apply_policy(Metadata(comment=picture, text={"a": picture.decode("latin-1")}), "keep")
    assert (stays.comment, stays.text, removed) == (b"", {}, ("embedded thumbnail",))


def test_a_second_exif_directory_cannot_come_back_through_the_first() -> None:
    exif = Image.Exif()
    exif[0x014A] = 8
    exif[0x0201] = 8
    exif[0x02BC] = MARK
    assert filter_exif(exif.tobytes()[6:], "keep") == (b"", ("embedded thumbnail", "Photoshop data"))


@pytest.mark.parametrize("name", files.XMP_FIELDS)
def test_each_property_is_called_by_its_name(name: str) -> None:
    element, marker, stays, kind = files.XMP_FIELDS[name]
    packet = files.planted_xmp(element)
    for policy in POLICIES:
        found, removed = filter_xmp(packet, policy)
        assert (marker.encode() in found) == (policy in stays.split())
        if policy in stays.split():
            assert removed == ()
        else:  # an emptied shell is a property of its own
            assert removed[0] == kind
            assert set(removed) <= {kind, "other fields"}


def test_the_second_directory_of_an_exif_block_is_said() -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    stream = files.with_thumbnail(exif.tobytes()[6:])
    assert filter_exif(stream, "default") == (exif.tobytes()[6:], ("embedded thumbnail",))


def test_regions_in_attributes_and_shorthand_go() -> None:
    packet = files.planted_xmp().replace(
        b'tiff:Orientation="6"', b'MP:x="MARK-1" xmp:Label="MARK-2" GImage:Data="MARK-3"'
    )
    kept, removed = filter_xmp(packet, "keep")
    assert b"MARK-2" in kept
    assert b"MARK-1" not in kept
    assert b"MARK-3" not in kept
    assert {"face regions", "further pictures"} <= set(removed)


def test_prefixes_do_not_matter_and_known_ones_are_written() -> None:
    packet = files.planted_xmp("<a:rights xmlns:a='http://purl.org/dc/elements/1.1/'>MARK</a:rights>")
    assert b"<dc:rights>MARK</dc:rights>" in filter_xmp(packet, "default")[0]
    regions = "<dc:Regions xmlns:dc='http://www.metadataworkinggroup.com/schemas/regions/'>MARK</dc:Regions>"
    assert filter_xmp(files.planted_xmp(regions), "keep") == (b"", ("face regions",))


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="needs exiftool, which writes as cameras' software does")
@pytest.mark.parametrize("image_format", files.FORMATS)
def test_what_exiftool_wrote(tmp_path: Path, image_format: str) -> None:
    path = tmp_path / f"a.{image_format.lower()}"
    path.write_bytes(encoded(image_format))
    tags = ["-EXIF:SerialNumber=MARK-1", "-GPSLatitude=47.5", "-EXIF:Copyright=MARK-2", "-EXIF:Artist=MARK-3"]
    tags += ["-XMP-dc:Rights=MARK-4", "-XMP-mwg-rs:RegionName=MARK-5", "-XMP-MP:RegionPersonDisplayName=MARK-6"]
    tags += ["-XMP-dc:Title=MARK-7"]
    subprocess.run(["exiftool", "-q", "-overwrite_original", *tags, str(path)], check=True)
    for policy, stays in (("default", "24"), ("keep", "12347"), ("strip", "")):
        kept, removed = apply_policy(read(path.read_bytes()), policy)  # type: ignore[arg-type]
        data = written(kept, image_format)
        assert [number for number in "1234567" if b"MARK-" + number.encode() in data] == list(stays)
        assert "face regions" in removed

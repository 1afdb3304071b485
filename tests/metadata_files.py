"""Photos with a marker in each field of their metadata, built by Pillow and by hand, not by cloak."""

import io
import struct
from collections.abc import Mapping
from typing import Any

import pillow_heif
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from cloak.metadata import Metadata, finish, read_metadata, save_options
from tests.helpers import smooth_noise

pillow_heif.register_heif_opener()

IMAGE = Image.fromarray(smooth_noise(32, 32))
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF")

THUMBNAIL_MARK = b"MARK-thumbnail"
THUMBNAIL = b"\xff\xd8\xff\xe0\x00\x10JFIF" + THUMBNAIL_MARK + b"\xff\xd9"

# tag, value, and which policies keep it
EXIF_FIELDS: Mapping[str, tuple[int, int, Any, str]] = {
    "copyright": (0, 0x8298, "MARK-copyright", "default keep"),
    "make": (0, 0x010F, "MARK-make", "default keep"),
    "model": (0, 0x0110, "MARK-model", "default keep"),
    "date": (0, 0x0132, "2011:02:03 04:05:06", "default keep"),
    "caption": (0, 0x010E, "MARK-caption", "keep"),
    "artist": (0, 0x013B, "MARK-artist", "keep"),
    "software": (0, 0x0131, "MARK-software", "keep"),
    "host": (0, 0x013C, "MARK-host", "keep"),
    "title": (0, 0x9C9B, b"MARK-xptitle", "keep"),
    "camera serial": (0, 0xC62F, "MARK-cameraserial", "keep"),
    "taken": (0x8769, 0x9003, "2012:03:04 05:06:07", "default keep"),
    "subsecond": (0x8769, 0x9291, "987651", "default keep"),
    "lens": (0x8769, 0xA434, "MARK-lensmodel", "default keep"),
    "user comment": (0x8769, 0x9286, b"ASCII\0\0\0MARK-usercomment", "keep"),
    "maker note": (0x8769, 0x927C, b"MARK-makernote", "keep"),
    "owner": (0x8769, 0xA430, "MARK-owner", "keep"),
    "body serial": (0x8769, 0xA431, "MARK-bodyserial", "keep"),
    "lens serial": (0x8769, 0xA435, "MARK-lensserial", "keep"),
    "unique id": (0x8769, 0xA420, "MARK-uniqueid", "keep"),
    "position": (0x8825, 0x001B, b"ASCII\0\0\0MARK-gps", "keep"),
    "position date": (0x8825, 0x001D, "2013:04:05", "keep"),
}

NAMESPACES = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    "xmpMM": "http://ns.adobe.com/xap/1.0/mm/",
    "xmpGImg": "http://ns.adobe.com/xap/1.0/g/img/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "aux": "http://ns.adobe.com/exif/1.0/aux/",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "MP": "http://ns.microsoft.com/photo/1.2/",
    "MPRI": "http://ns.microsoft.com/photo/1.2/t/RegionInfo#",
    "MPReg": "http://ns.microsoft.com/photo/1.2/t/Region#",
    "apple-fi": "http://ns.apple.com/faceinfo/1.0/",
    "acdsee-rs": "http://ns.acdsee.com/regions/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "GImage": "http://ns.google.com/photos/1.0/image/",
    "GDepth": "http://ns.google.com/photos/1.0/depthmap/",
    "GCamera": "http://ns.google.com/photos/1.0/camera/",
    "Container": "http://ns.google.com/photos/1.0/container/",
    "hdrgm": "http://ns.adobe.com/hdr-gain-map/1.0/",
    "apdi": "http://ns.apple.com/pixeldatainfo/1.0/",
    "own": "http://example.org/own/",
}
BAG = "<{0}><rdf:Bag><rdf:li>{1}</rdf:li></rdf:Bag></{0}>"
STRUCT = '<{0} rdf:parseType="Resource"><{1}>{2}</{1}></{0}>'

# the element, its marker, which policies keep it, what it is called where it goes
XMP_FIELDS: Mapping[str, tuple[str, str, str, str]] = {
    "rights": (BAG.format("dc:rights", "MARK-dcrights"), "MARK-dcrights", "default keep", "copyright"),
    "terms": (BAG.format("xmpRights:UsageTerms", "MARK-terms"), "MARK-terms", "default keep", "copyright"),
    "created": ("<xmp:CreateDate>2014-05-06T07:08:09</xmp:CreateDate>", "2014-05-06T07", "default keep", "dates"),
    "taken": ("<exif:DateTimeOriginal>2015-06-07</exif:DateTimeOriginal>", "2015-06-07", "default keep", "dates"),
    "no date": ("<xmp:ModifyDate>MARK-nodate</xmp:ModifyDate>", "MARK-nodate", "keep", "dates"),
    "title": (BAG.format("dc:title", "MARK-dctitle"), "MARK-dctitle", "keep", "names and captions"),
    "city": ("<photoshop:City>MARK-city</photoshop:City>", "MARK-city", "keep", "names and captions"),
    "position": ("<exif:GPSLatitude>MARK-xmpgps</exif:GPSLatitude>", "MARK-xmpgps", "keep", "GPS position"),
    "serial": ("<aux:SerialNumber>MARK-xmpserial</aux:SerialNumber>", "MARK-xmpserial", "keep", "serial numbers"),
    "document": ("<xmpMM:DocumentID>MARK-document</xmpMM:DocumentID>", "MARK-document", "keep", "unique ids"),
    "own": ("<own:thing>MARK-own</own:thing>", "MARK-own", "keep", "other fields"),
    "regions (MWG)": (STRUCT.format("mwg-rs:Regions", "mwg-rs:Name", "MARK-mwg"), "MARK-mwg", "", "face regions"),
    "regions (Microsoft)": (
        '<MP:RegionInfo rdf:parseType="Resource"><MPRI:Regions><rdf:Bag><rdf:li MPReg:PersonDisplayName="MARK-mp"/>'
        "</rdf:Bag></MPRI:Regions></MP:RegionInfo>",
        "MARK-mp",
        "",
        "face regions",
    ),
    "regions (Apple)": ("<apple-fi:AngleInfoRoll>MARK-fi</apple-fi:AngleInfoRoll>", "MARK-fi", "", "face regions"),
    "regions (ACDSee)": (STRUCT.format("acdsee-rs:Regions", "acdsee-rs:N", "MARK-acd"), "MARK-acd", "", "face regions"),
    "regions (IPTC)": (BAG.format("Iptc4xmpExt:ImageRegion", "MARK-iptcr"), "MARK-iptcr", "", "face regions"),
    "regions inside": (STRUCT.format("own:box", "mwg-rs:Name", "MARK-inner"), "MARK-inner", "", "face regions"),
    "thumbnails": (BAG.format("xmp:Thumbnails", "MARK-xmpthumb"), "MARK-xmpthumb", "", "embedded thumbnail"),
    "thumbnail": (STRUCT.format("own:t", "xmpGImg:image", "MARK-gimg"), "MARK-gimg", "", "embedded thumbnail"),
    "any picture": ("<own:b>/9j/4AAQSkZJRgMARKb64</own:b>", "MARKb64", "", "embedded thumbnail"),
    "whole photo": ("<GImage:Data>MARK-gimage</GImage:Data>", "MARK-gimage", "", "further pictures"),
    "depth": ("<GDepth:Data>MARK-gdepth</GDepth:Data>", "MARK-gdepth", "", "depth map"),
    "pixel data": ("<apdi:NativeFormat>MARK-apdi</apdi:NativeFormat>", "MARK-apdi", "", "depth map"),
    "motion": ("<GCamera:MotionPhoto>MARK-motion</GCamera:MotionPhoto>", "MARK-motion", "", "motion video"),
    "container": (BAG.format("Container:Directory", "MARK-container"), "MARK-container", "", "further pictures"),
    "gain map": ("<hdrgm:Version>MARK-hdrgm</hdrgm:Version>", "MARK-hdrgm", "", "gain map"),
}

# record, number, value, which policies keep it
IPTC_FIELDS: Mapping[str, tuple[int, int, bytes, str]] = {
    "copyright": (2, 116, b"MARK-iptccopyright", "default keep"),
    "date": (2, 55, b"20160708", "default keep"),
    "caption": (2, 120, b"MARK-iptccaption", "keep"),
    "byline": (2, 80, b"MARK-iptcbyline", "keep"),
    "preview": (2, 202, b"MARK-iptcpreview", ""),
    "object": (8, 10, b"MARK-iptcobject", ""),
}


def planted_exif(*, orientation: int = 6) -> bytes:
    """An EXIF block's TIFF stream with all of ``EXIF_FIELDS``, an orientation, and a thumbnail in IFD1."""
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    for directory, tag, value, _ in EXIF_FIELDS.values():
        (exif.get_ifd(directory) if directory else exif)[tag] = value
    return with_thumbnail(exif.tobytes()[6:])


def with_thumbnail(stream: bytes, picture: bytes = THUMBNAIL) -> bytes:
    """IFD1 with a JPEG behind it, as cameras write it."""
    order = "<" if stream[:2] == b"II" else ">"
    payload = bytearray(stream)
    (count,) = struct.unpack_from(order + "H", payload, 8)
    start = len(payload)
    struct.pack_into(order + "I", payload, 10 + 12 * count, start)
    payload += struct.pack(order + "H", 2)
    for tag, value in ((0x0201, start + 2 + 24 + 4), (0x0202, len(picture))):
        payload += struct.pack(order + "HHII", tag, 4, 1, value)
    return bytes(payload + bytes(4) + picture)


def planted_xmp(*elements: str) -> bytes:
    """A packet of the elements (all of ``XMP_FIELDS`` where none are given), and an orientation."""
    spaces = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items())
    inside = "".join(elements or (field[0] for field in XMP_FIELDS.values()))
    return (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" {spaces} xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6">'
        f'{inside}</rdf:Description></rdf:RDF></x:xmpmeta>   <?xpacket end="w"?>'
    ).encode()


def dataset(record: int, number: int, value: bytes) -> bytes:
    return struct.pack(">BBBH", 0x1C, record, number, len(value)) + value


def planted_iptc() -> bytes:
    return b"".join(dataset(record, number, value) for record, number, value, _ in IPTC_FIELDS.values())


def resource(number: int, value: bytes) -> bytes:
    return b"8BIM" + struct.pack(">HHI", number, 0, len(value)) + value + bytes(len(value) % 2)


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def in_jpeg(*segments: bytes, behind: bytes = b"") -> bytes:
    """A JPEG with the segments after its first, and something behind its end."""
    data = encoded("JPEG")
    return data[:20] + b"".join(segments) + data[20:] + behind


def encoded(image_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    IMAGE.save(buffer, image_format, **options)
    return buffer.getvalue()


def planted(image_format: str) -> bytes:
    """A file of the format with everything in it that it can hold, written by Pillow."""
    # told of an orientation, Pillow writes an AVIF's EXIF anew, without the thumbnail
    exif = planted_exif(orientation=0 if image_format == "AVIF" else 6)
    xmp, iptc = planted_xmp(), planted_iptc()
    options: dict[str, Any] = {"icc_profile": PROFILE}
    if image_format in ("JPEG", "WEBP", "HEIF", "AVIF"):
        options |= {"exif": b"Exif\0\0" + exif, "xmp": xmp}
    if image_format == "JPEG":
        blocks = resource(0x0404, iptc) + resource(1036, b"MARK-irbthumb" + THUMBNAIL)
        options |= {"extra": segment(0xED, b"Photoshop 3.0\0" + blocks), "comment": b"MARK-comment", "dpi": (240, 240)}
    if image_format == "PNG":
        chunks = PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", xmp.decode())
        for key, value in (("Copyright", "MARK-pngcopyright"), ("Author", "MARK-pngauthor")):
            chunks.add_text(key, value)
        chunks.add_text("Raw profile type exif", "\nexif\n 12\nMARK-rawprofile", zip=True)
        options |= {"exif": exif, "pnginfo": chunks, "dpi": (240, 240)}
    if image_format == "TIFF":  # uncompressed, as else Pillow fails at the EXIF directory
        loaded = Image.Exif()
        loaded.load(exif)
        fields = ImageFileDirectory_v2()
        for tag in loaded:
            fields[tag] = loaded.get_ifd(tag) if tag in (0x8769, 0x8825) else loaded[tag]
        for tag, block in ((700, xmp), (33723, iptc)):
            fields.tagtype[tag] = 7
            fields[tag] = block
        options |= {"tiffinfo": fields, "dpi": (240, 240)}
    return encoded(image_format, **options)


def read(data: bytes) -> Metadata:
    with Image.open(io.BytesIO(data)) as image:
        return read_metadata(image, data)


def written(metadata: Metadata, image_format: str, **options: Any) -> bytes:
    """A new picture with the metadata, saved as cloak does it."""
    if image_format == "TIFF":
        options.setdefault("compression", "tiff_lzw")
    return finish(encoded(image_format, **options, **save_options(metadata, image_format)), metadata, image_format)

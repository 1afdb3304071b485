"""Names in XMP packets: what holds face regions and hidden pictures, what stays by default.

Sources: XMP specification parts 1-3; MWG guidelines 2.0; IPTC photo metadata 2023.1; Google's XMP
for depth, motion photo and dynamic depth; the namespaces that ExifTool 12.57 knows.
"""

from cloak.metadata import fields

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
X = "{adobe:ns:meta/}"
XMP = "{http://ns.adobe.com/xap/1.0/}"
DC = "{http://purl.org/dc/elements/1.1/}"
EXIF = "{http://ns.adobe.com/exif/1.0/}"
EXIF_EX = "{http://cipa.jp/exif/1.0/}"
AUX = "{http://ns.adobe.com/exif/1.0/aux/}"
TIFF = "{http://ns.adobe.com/tiff/1.0/}"
PHOTOSHOP = "{http://ns.adobe.com/photoshop/1.0/}"
RIGHTS = "{http://ns.adobe.com/xap/1.0/rights/}"
IPTC_CORE = "{http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/}"
IPTC_EXT = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
LIGHTROOM = "{http://ns.adobe.com/lightroom/1.0/}"
MEDIA = "{http://ns.adobe.com/xap/1.0/mm/}"
GOOGLE = "{http://ns.google.com/photos/"

HIDDEN = (
    ("{http://www.metadataworkinggroup.com/schemas/regions/}", fields.FACES),
    ("{http://ns.microsoft.com/photo/1.2/", fields.FACES),
    ("{http://ns.apple.com/faceinfo/", fields.FACES),
    ("{http://ns.acdsee.com/regions/", fields.FACES),
    ("{http://ns.apple.com/HDRGainMap/", fields.GAIN_MAP),
    ("{http://ns.adobe.com/hdr-gain-map/", fields.GAIN_MAP),
    ("{http://ns.apple.com/", fields.DEPTH_MAP),  # pixeldatainfo, depthData, depthBlurEffect, portrait effects
    ("{http://ns.adobe.com/xap/1.0/g/img/}", fields.THUMBNAIL),
    (XMP + "Thumbnails", fields.THUMBNAIL),
    (GOOGLE + "1.0/depthmap/", fields.DEPTH_MAP),
    (GOOGLE + "dd/", fields.DEPTH_MAP),
    (GOOGLE + "1.0/focus/", fields.DEPTH_MAP),
    (GOOGLE + "1.0/audio/", fields.RECORDING),
    (GOOGLE + "1.0/image/", fields.PICTURES),
    (GOOGLE + "1.0/camera/}Mo", fields.MOTION),
    (GOOGLE + "1.0/camera/}Micro", fields.MOTION),
    (GOOGLE + "1.0/camera/", fields.PICTURES),
    (GOOGLE + "1.0/container/", fields.PICTURES),
    ("{http://ns.leiainc.com/photos/", fields.PICTURES),
    ("{http://ns.xiaomi.com/photos/", fields.PICTURES),
    ("{http://ns.oplus.com/photos/", fields.PICTURES),
)
"""Beginnings of names that go under every policy, the first that fits counts."""

REGIONS = frozenset(("ImageRegion", "Regions", "RegionList", "RegionInfo", "FaceRegions", "Faces"))
"""Local names of face regions, in whatever namespace."""

SILENT = frozenset(
    (
        TIFF + "Orientation",
        *(TIFF + name for name in ("ImageWidth", "ImageLength", "Compression", "PhotometricInterpretation")),
        *(EXIF + name for name in ("PixelXDimension", "PixelYDimension", "NativeDigest")),
        TIFF + "NativeDigest",
        "{http://ns.adobe.com/xmp/note/}HasExtendedXMP",
    )
)
"""What describes the old pixels or the old file: goes, and is not said."""

STAYS = {
    DC + "rights": fields.COPYRIGHT,
    **dict.fromkeys(
        (
            *(XMP + name for name in ("CreateDate", "ModifyDate", "MetadataDate")),
            *(EXIF + name for name in ("DateTimeOriginal", "DateTimeDigitized")),
            *(EXIF_EX + name for name in ("DateTimeOriginal", "DateTimeDigitized")),
            DC + "date",
            PHOTOSHOP + "DateCreated",
            TIFF + "DateTime",
        ),
        fields.DATES,
    ),
}
"""What the default policy keeps beside xmpRights, and what it is called where it goes."""

CALLED = (
    (EXIF + "GPS", fields.GPS),
    (EXIF_EX + "GPS", fields.GPS),
    (AUX + "SerialNumber", fields.SERIALS),
    (AUX + "LensSerialNumber", fields.SERIALS),
    (EXIF_EX + "BodySerialNumber", fields.SERIALS),
    (EXIF_EX + "LensSerialNumber", fields.SERIALS),
    (EXIF + "MakerNote", fields.MAKER_NOTES),
    (EXIF + "ImageUniqueID", fields.IDS),
    (EXIF_EX + "ImageUniqueID", fields.IDS),
    (DC + "identifier", fields.IDS),
    (MEDIA, fields.IDS),
    (TIFF + "Make", fields.CAMERA),
    (TIFF + "Model", fields.CAMERA),
    (EXIF + "UserComment", fields.NAMES),
    (EXIF_EX + "CameraOwnerName", fields.NAMES),
    (EXIF_EX, fields.CAMERA),
    (EXIF, fields.CAMERA),
    (AUX, fields.CAMERA),
    (DC + "format", ""),
    *((name, fields.NAMES) for name in (DC, PHOTOSHOP, IPTC_CORE, IPTC_EXT, LIGHTROOM, TIFF + "Artist")),
    *((TIFF + name, fields.NAMES) for name in ("ImageDescription", "HostComputer")),
    *((XMP + name, fields.NAMES) for name in ("Label", "Nickname", "Author", "Title")),
    ("{http://ns.microsoft.com/expressionmedia/", fields.NAMES),
    ("{http://ns.microsoft.com/photo/1.0", fields.NAMES),
    ("{http://www.digikam.org/", fields.NAMES),
    ("{http://ns.acdsee.com/iptc/", fields.NAMES),
)
"""Beginnings of other names and what they are called; else they are other fields."""

PREFIXES = {
    "adobe:ns:meta/": "x",
    **{
        name.strip("{}"): prefix
        for name, prefix in (
            (RDF, "rdf"),
            (XMP, "xmp"),
            (DC, "dc"),
            (EXIF, "exif"),
            (EXIF_EX, "exifEX"),
            (AUX, "aux"),
            (TIFF, "tiff"),
            (PHOTOSHOP, "photoshop"),
            (RIGHTS, "xmpRights"),
        )
    },
}
"""Namespace -> the prefix that everyone knows; some readers look for these."""


def hidden_kind(name: str) -> str | None:
    """What a name that goes under every policy is called, "" if that is not said; None for the others."""
    if name in SILENT:
        return ""
    for start, kind in HIDDEN:
        if name.startswith(start):
            return kind
    return fields.FACES if name.rpartition("}")[2] in REGIONS else None


def kind_of(name: str) -> str:
    """What a property is called in a report."""
    if name.startswith(RIGHTS):
        return fields.COPYRIGHT
    if name in STAYS:
        return STAYS[name]
    return next((kind for start, kind in CALLED if name.startswith(start)), fields.OTHER)

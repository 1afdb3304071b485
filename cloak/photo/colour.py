"""Any of Pillow's colour modes -> 8-bit RGB or grey."""

import io

from PIL import Image, ImageCms

from cloak.errors import PhotoError, in_a_line

PLAIN = ("RGB", "RGBA", "L", "LA", "P", "PA", "1")
"""Modes of 8 bits a channel whose colours stay as they are, whatever the profile says."""

CONVERTED = ("CMYK", "LAB", "YCbCr", "HSV", "RGBX", "RGBa", "La")
"""Modes that few formats can hold: these become RGB."""


P3, ORDINARY_PRIMARIES = 12, (1, 2, 5, 6, 7)
ORDINARY_TRANSFERS = (1, 2, 6, 13, 14, 15)
"""Code points of ITU-T H.273 for colours: Display P3's primaries; those near sRGB; its curve and those taken for it."""

NEAR = 1 << 20
"""Bytes of a file in which its boxes are looked for."""


def stated_by_number(image: Image.Image, data: bytes) -> tuple[bytes, str]:
    """A profile for a HEIF or AVIF that says by numbers what its colours mean, which are not written again.

    Returns:
        Display P3's profile, where it is that; and a note where the colours have none here.
    """
    place = data.find(b"colrnclx", 0, NEAR) if image.format in ("HEIF", "AVIF") else -1
    if place < 0:
        return b"", ""
    primaries, transfer = (int.from_bytes(data[start : start + 2], "big") for start in (place + 8, place + 10))
    if primaries == P3 and transfer in ORDINARY_TRANSFERS:
        import pyvips

        return bytes(pyvips.Image.profile_load("p3")), ""
    if primaries in ORDINARY_PRIMARIES and transfer in ORDINARY_TRANSFERS:
        return b"", ""
    return b"", "its HDR or wide-gamut colours are saved as if they were ordinary ones, and may look pale"


def to_plain(image: Image.Image, profile: bytes) -> tuple[Image.Image, bytes, str]:
    """Bring a picture to one of the ``PLAIN`` modes.

    Args:
        image: of any mode.
        profile: its colour profile; empty where there is none.

    Returns:
        The picture, the profile that holds for it, and a note where colours were converted.

    Raises:
        PhotoError: a mode without a conversion, such as floating-point values.
    """
    if image.mode in PLAIN:
        return image, profile, ""
    if image.mode not in CONVERTED:
        raise PhotoError(
            f"expected a picture of 8 or 16 bits a channel in colour or grey, got mode {image.mode}; convert it first"
        )
    note = f"{image.mode} colours became RGB"
    if image.mode == "LAB":
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    if image.mode not in ("CMYK", "LAB"):
        return image.convert("RGBA" if image.mode in ("RGBa", "La") else "RGB"), profile, note
    if profile:
        try:
            return *_through_profile(image, profile), f"{note} (sRGB)"
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
            note += f" without its colour profile, which cannot be used: {in_a_line(error)}"
    return image.convert("RGB"), b"", note


def _through_profile(image: Image.Image, profile: bytes) -> tuple[Image.Image, bytes]:
    """The picture in sRGB, relative colorimetric with black point compensation, and sRGB's profile."""
    target = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    converted = ImageCms.profileToProfile(
        image,
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        target,
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert converted is not None
    return converted, target.tobytes()

"""Any of Pillow's colour modes -> 8-bit RGB or grey."""

import io

from PIL import Image, ImageCms

from cloak.errors import PhotoError, in_a_line

PLAIN = ("RGB", "RGBA", "L", "LA", "P", "PA", "1")
"""Modes of 8 bits a channel whose colours stay as they are, whatever the profile says."""

CONVERTED = ("CMYK", "LAB", "YCbCr", "HSV", "RGBX", "RGBa", "La")
"""Modes that few formats can hold: these become RGB."""


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

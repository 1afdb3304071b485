"""Photos: file -> pixels (``reading``), pixels -> file (``writing``, ``saving``)."""

from cloak.photo.formats import FINE_JPEG, IN_MEMORY, SUFFIXES, Encoding, suffix_for
from cloak.photo.photo import Photo, to_image
from cloak.photo.reading import LIMITS, TRUSTED, Limits, decode, photo_of, read_back, read_bytes, read_note, read_photo
from cloak.photo.saving import RUN, check_writable, remove_parts, save_bytes, try_to_write
from cloak.photo.writing import encode, recode

__all__ = [
    "FINE_JPEG",
    "IN_MEMORY",
    "LIMITS",
    "RUN",
    "SUFFIXES",
    "TRUSTED",
    "Encoding",
    "Limits",
    "Photo",
    "check_writable",
    "decode",
    "encode",
    "photo_of",
    "read_back",
    "read_bytes",
    "read_note",
    "read_photo",
    "recode",
    "remove_parts",
    "save_bytes",
    "suffix_for",
    "to_image",
    "try_to_write",
]

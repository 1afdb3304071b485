"""What of a photo's metadata stays, and what is said about the rest."""

from collections.abc import Mapping

from cloak.metadata import fields
from cloak.metadata.exif import filter_exif, note_in
from cloak.metadata.fields import MAX_TEXT, MAX_TEXTS, Metadata, Policy, check_policy, holds_picture
from cloak.metadata.iptc import filter_iptc
from cloak.metadata.profile import filter_profile
from cloak.metadata.xmp import filter_xmp

TEXTS_THAT_STAY = {"copyright": fields.COPYRIGHT, "creation time": fields.DATES}
TEXT_NAMES = frozenset(("title", "author", "description", "comment", "disclaimer", "source"))
MAX_KEYWORD = 79
"""Letters of a keyword. Source: PNG 3rd edition, 11.3.3."""
HIDING_KEYS = ("raw profile type", "exif", "xmp", "xml:com.adobe.xmp", "iptc", "icc_profile", "app1")
"""How keywords begin whose texts are other metadata in disguise."""


def apply_policy(metadata: Metadata, policy: Policy, note: str = "") -> tuple[Metadata, tuple[str, ...]]:
    """What stays under a policy, and what was removed in plain words, each once.

    "default": dates, copyright, camera, lens, exposure, resolution and colour profile (as far as it is of
    colours) stay.
    "keep": all stays but thumbnails, previews and face regions.
    "strip": the colour profile stays.
    Orientation goes under each: the caller turns the pixels. Any bytes may be in the fields: what
    cannot be read goes and is called damaged.

    Args:
        note: what is written into EXIF (not under "strip"); ``note_of`` finds it if it begins with "cloak ".

    Raises:
        UsageError: an unknown policy.
    """
    check_policy(policy)
    exif, from_exif = filter_exif(metadata.exif, policy, note)
    xmp, from_xmp = filter_xmp(metadata.xmp, policy)
    iptc, from_iptc = filter_iptc(metadata.iptc, policy)
    text, from_text = _filter_text(metadata.text, policy)
    comment, from_comment = _filter_comment(metadata.comment, policy)
    profile, from_profile = filter_profile(metadata.icc_profile, policy)
    dpi = metadata.dpi if policy != "strip" else None
    from_dpi = (fields.RESOLUTION,) if dpi != metadata.dpi else ()
    stays = Metadata(
        exif=exif,
        xmp=xmp,
        iptc=iptc,
        icc_profile=profile,
        dpi=dpi,
        comment=comment,
        text=text,
        colours=metadata.colours,
    )
    removed = (*from_exif, *from_xmp, *from_iptc, *from_text, *from_comment, *from_profile, *from_dpi)
    return stays, tuple(dict.fromkeys((*removed, *metadata.previews)))


def note_of(metadata: Metadata) -> str:
    """The note of an earlier cloak, "" where there is none."""
    return note_in(metadata.exif)


def _filter_text(text: Mapping[str, str], policy: Policy) -> tuple[dict[str, str], tuple[str, ...]]:
    kept: dict[str, str] = {}
    removed: dict[str, None] = {}
    for index, (key, value) in enumerate(text.items()):
        reason = fields.TEXTS if index >= MAX_TEXTS else _text_reason(key, value, policy)
        if reason is None:
            spoken = f"{getattr(value, 'lang', '')}{getattr(value, 'tkey', '')}"  # iTXt's language and translated key
            plain = policy != "keep" or len(spoken) > MAX_KEYWORD or not _is_text(spoken)
            kept[key] = str(value) if plain else value
        else:
            removed[reason] = None
    return kept, tuple(removed)


def _text_reason(key: str, value: str, policy: Policy) -> str | None:
    """Why a text goes; None where it stays."""
    name = key.strip().lower()
    if name.startswith(HIDING_KEYS):
        return fields.RAW_PROFILES
    if holds_picture(value.encode("latin-1", "replace")):
        return fields.THUMBNAIL
    if len(value) > MAX_TEXT or not (_is_keyword(key) and _is_text(value)):
        return fields.LARGE if len(value) > MAX_TEXT else fields.TEXTS
    if policy == "keep" or (policy == "default" and name in TEXTS_THAT_STAY):
        return None
    return TEXTS_THAT_STAY.get(name) or (fields.NAMES if name in TEXT_NAMES else fields.TEXTS)


def _is_keyword(key: str) -> bool:
    """Whether a PNG can hold the keyword: 1 to 79 Latin-1 letters."""
    return 0 < len(key) <= MAX_KEYWORD and all(
        " " <= letter <= "\xff" and not "\x7f" <= letter < "\xa1" for letter in key
    )


def _is_text(value: str) -> bool:
    """Whether UTF-8 can hold it."""
    return not any("\ud800" <= letter <= "\udfff" for letter in value)


def _filter_comment(comment: bytes, policy: Policy) -> tuple[bytes, tuple[str, ...]]:
    if not comment:
        return b"", ()
    if holds_picture(comment):
        return b"", (fields.THUMBNAIL,)
    if policy == "keep" and len(comment) < MAX_TEXT - 2:
        return comment, ()
    return b"", (fields.COMMENTS,)

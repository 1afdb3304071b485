"""The stages that a photo goes through before and after the loop: prepare, fit, encode. No paths, no reports."""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from statistics import fmean

import numpy as np
from torch import Tensor

from cloak.calibrate import Composition
from cloak.detect import MIN_FACE, FaceDetector, large_enough
from cloak.errors import CloakError, NoFaceError, SaveError
from cloak.metadata import Metadata
from cloak.methods import Method
from cloak.patches import FacePatch, Residual, cut_patch, residual_in_photo
from cloak.photo import Photo, encode, read_back
from cloak.recognizers import Recognizer
from cloak.threads import each
from cloak.types import Face, Pixels
from cloak.visibility import Yardstick

GROWTH, ROOM = 1.5, 500_000
"""A file is given a finer encoding than its source's only as long as it grows by at most this factor, or by this many
bytes, whichever is more: coarse encodings of small files leave nothing of a cloak."""

LOSS = 0.01
"""The coarsest encoding is taken that lowers the faces' similarity to their originals, as the surrogates see it, as
far as the finest but for this."""

LIKELY = 0.95
"""A file is a little larger than without the cloak: what is larger than this share of what it may be is not tried."""

SAMPLE_PIXELS, TILE = 3_000_000, 256
"""Of a photo several times as large, so many pixels tell the size of its file, in square tiles."""


Own = Callable[[Recognizer, Face], Tensor]
"""A recogniser's embedding of a face of one photo, (d,) of length 1."""


@dataclass(frozen=True)
class Prepared:
    """A photo on its way.

    Attributes:
        photo: as it was read, with the encodings that come into question.
        faces: that are protected.
        patches: of these.
        small: how many faces are left alone, since they are too small.
        found: all faces, these too.
        made: embeddings of the same photo that are at hand.
    """

    photo: Photo
    faces: tuple[Face, ...]
    patches: tuple[FacePatch, ...]
    small: int = 0
    found: tuple[Face, ...] = ()
    made: Own | None = None

    @cached_property
    def own(self) -> Own:
        """Of the photo as it was read; each is made once."""
        pixels = self.photo.pixels  # and not self, which would hold itself then
        return self.made or cache(lambda recognizer, face: recognizer.embed(pixels, face))

    @cached_property
    def yardsticks(self) -> tuple[Yardstick, ...]:
        """What results are measured against, one for each face."""
        return tuple(Yardstick.of(self.photo.pixels, face.box) for face in self.faces)

    def learning(self, learn: Callable[[FacePatch, Face], FacePatch]) -> "Prepared":
        """The same photo, its patches with what is learned of their faces."""
        patches = (learn(patch, face) for patch, face in zip(self.patches, self.faces, strict=True))
        return replace(self, patches=tuple(patches), made=self.own)


def prepare(photo: Photo, name: str, detector: FaceDetector, method: Method, seed: int) -> Prepared:
    """Find the faces of a photo and cut out their patches.

    Raises:
        NoFaceError: there is none, or only faces that are too small.
    """
    return cut(photo, name, detector.detect(photo.pixels), method, seed)


def cut(photo: Photo, name: str, found: Sequence[Face], method: Method, seed: int) -> Prepared:
    """Cut out the patches of the faces that were found; those that are too small are left alone.

    Raises:
        NoFaceError: there is none, or only faces that are too small.
    """
    faces = large_enough(found)
    small = len(found) - len(faces)
    if not faces:
        what = (
            f"only faces narrower than {MIN_FACE} px were found in it ({small})" if small else "no face was found in it"
        )
        raise NoFaceError(f"{name}: {what}, so nothing was changed or written")
    photo = affordable(photo)
    grey, lossy = photo.grey, not photo.encodings[-1].lossless
    patches = tuple(
        cut_patch(photo.pixels, face, grey=grey, lossy=lossy, seed=seed, patch_face=method.patch_face) for face in faces
    )
    return Prepared(photo, faces, patches, small, tuple(found))


def affordable(photo: Photo) -> Photo:
    """With those of its encodings that come into question, the coarsest first: those that are as fine as it came, or
    finer, in files that are not too large."""
    encodings = photo.encodings[_as_fine_as_it_came(photo) :]

    def is_too_large(index: int) -> bool:
        return estimated_size(replace(photo, encodings=encodings[index:])) > LIKELY * _largest(photo.bytes)

    if photo.bytes:  # each is mostly larger than the one before
        encodings = encodings[: bisect_left(range(1, len(encodings)), True, key=is_too_large) + 1]
    return replace(photo, encodings=encodings)


def to_residuals(prepared: Prepared, deltas: Sequence[Tensor]) -> list[Residual]:
    """The perturbations of a photo's faces -> what they add to the photo."""
    size = (prepared.photo.pixels.shape[0], prepared.photo.pixels.shape[1])
    return [residual_in_photo(patch, delta, size) for patch, delta in zip(prepared.patches, deltas, strict=True)]


def encode_protected(
    prepared: Prepared, residuals: Sequence[Residual], recognizers: Sequence[Recognizer], method: Method, name: str
) -> tuple[bytes, Pixels]:
    """The file of a photo, and what it shows: in the coarsest of its encodings that keeps the protection.

    Each encoding has the cloak fitted to its own budget. What they gain is seen on the surroundings of the faces,
    encoded by themselves, by the surrogates that look oftenest. The taken one can be read again.

    Args:
        prepared: the photo and its faces; see ``affordable``.
        residuals: one for each face.
        recognizers: the surrogates, who tell what the cloak achieves.
        method: with its budget.
        name: of the file, for messages.

    Raises:
        SaveError: it cannot be written, or what was written cannot be read.
    """
    try:
        fitted = _fitted_to_encodings(prepared, residuals, _who_look_oftenest(recognizers), method)
        return _finest_that_can_be(fitted, _largest(prepared.photo.bytes))
    except CloakError as error:
        raise SaveError(f"{name}: {error}; save the photo in another format first") from None


def _largest(size: int) -> float:
    """The most bytes that a file of this size may become; 0: it is no file."""
    return max(GROWTH * size, size + ROOM) if size else math.inf


def _fitted_to_encodings(
    prepared: Prepared, residuals: Sequence[Residual], judges: Sequence[Recognizer], method: Method
) -> list[Composition]:
    """Of the encodings that were tried, the coarsest first; the last is the coarsest that protects like the finest."""
    photo = prepared.photo
    encodings = photo.encodings
    fitted: dict[int, Composition] = {}

    def reached(index: int) -> float:
        coded = replace(photo, encodings=encodings[index:])
        try:
            composition = Composition(coded, prepared.yardsticks, residuals, method).fitted()
            shown = composition.with_encoded_faces() if len(encodings) > 1 else None
        except CloakError:
            if not index:
                raise
            return math.inf
        fitted[index] = replace(composition)  # without what it encoded
        return 0.0 if shown is None else _similarity(prepared, shown, judges)

    taken = _first_as_good_as_the_last(reached, len(encodings))
    return [fitted[index] for index in sorted(fitted) if index <= taken]


def _first_as_good_as_the_last(reached: Callable[[int], float], count: int) -> int:
    """The first index whose value is that of the last but for LOSS; those between are taken to fall.

    Args:
        reached: index -> value, the less the better; infinity where there is none. Asked once for an index.
        count: of them, 1 or more.
    """
    first, last = reached(0), count - 1
    best = reached(last) if last else first
    while last and best == math.inf:
        last -= 1
        best = reached(last) if last else first
    if first <= best + LOSS:
        return 0
    before = 0
    while last - before > 1:
        middle = (before + last) // 2
        if reached(middle) <= best + LOSS:
            last = middle
        else:
            before = middle
    return last


def _who_look_oftenest(recognizers: Sequence[Recognizer]) -> list[Recognizer]:
    """Those with the largest share of the turns, since their passes cost least."""
    most = max((recognizer.spec.share for recognizer in recognizers), default=0)
    return [recognizer for recognizer in recognizers if recognizer.spec.share == most]


def _finest_that_can_be(fitted: Sequence[Composition], most: float) -> tuple[bytes, Pixels]:
    """The last file, and what it shows, that has at most so many bytes and can be read; else the first."""
    for composition in fitted[:0:-1]:
        try:
            data, seen = _encode_within_budget(composition)
        except CloakError:  # x265's finest pictures of 48 megapixels cannot be decoded
            continue
        if len(data) <= most:
            return data, seen
    return _encode_within_budget(fitted[0])


def _as_fine_as_it_came(photo: Photo) -> int:
    """Index of the first encoding that is the source's own, or whose file is no smaller; else the last lossy one."""
    last = max(sum(not encoding.lossless for encoding in photo.encodings) - 1, 0)
    for index, encoding in enumerate(photo.encodings[:last]):
        if encoding.own or estimated_size(replace(photo, encodings=(encoding,))) >= photo.bytes:
            return index
    return last


def estimated_size(photo: Photo) -> float:
    """Bytes of the photo's pixels in its first encoding; of a large photo, from some of its tiles."""
    height, width = photo.pixels.shape[:2]
    every = max(1, round(math.sqrt(height * width / SAMPLE_PIXELS)))
    if every > 1 and min(height, width) >= TILE * every:
        down, across = height // (TILE * every), width // (TILE * every)
        tiles = photo.pixels[: down * every * TILE, : across * every * TILE]
        tiles = tiles.reshape(down, every, TILE, across, every, TILE, 3)[:, 0, :, :, 0]
        sample = np.ascontiguousarray(tiles.reshape(down * TILE, across * TILE, 3))
    else:
        sample = photo.pixels
    bare = replace(photo, pixels=sample, alpha=None, deep=None, metadata=Metadata())
    return len(encode(bare)) * photo.pixels.size / sample.size


def _encode_within_budget(composition: Composition) -> tuple[bytes, Pixels]:
    """The file, and what it shows; faces that encoding put over their budget are reduced until they fit."""
    photo = composition.photo
    while True:
        data = encode(replace(photo, pixels=composition.pixels()))
        saved = read_back(data).pixels
        smaller = composition if photo.encoding.lossless else composition.shrunk(saved)
        if smaller is composition:
            return data, saved
        composition = smaller


def _similarity(prepared: Prepared, changed: Pixels, recognizers: Sequence[Recognizer]) -> float:
    """Of the faces to their originals: the mean over faces and surrogates."""

    def similarity(recognizer: Recognizer) -> float:
        return fmean(float(prepared.own(recognizer, face) @ recognizer.embed(changed, face)) for face in prepared.faces)

    return fmean(each(similarity, recognizers) or [0.0])

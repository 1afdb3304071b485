"""Which of a photo's encodings is taken."""

import gc
import math
import weakref
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from cloak.errors import PhotoError, SaveError
from cloak.methods import MODES
from cloak.patches import Residual
from cloak.photo import FINE_JPEG, IN_MEMORY, Photo, decode, encode, read_back, recode
from cloak.photo.formats import LADDERS
from cloak.pipeline import (
    GROWTH,
    ROOM,
    Prepared,
    _first_as_good_as_the_last,
    affordable,
    encode_protected,
    estimated_size,
)
from cloak.recognizers import Recognizer
from cloak.types import Pixels
from tests.helpers import made_up_face, smooth_noise, tiny_recognizer
from tests.photo_files import make

METHOD = MODES["mid"]
FACE = made_up_face(40, 30, 70)


def prepared(photo: Photo) -> Prepared:
    return Prepared(affordable(photo), (FACE,), ())


def residual() -> Residual:
    values = np.random.default_rng(0).normal(0, 0.03, (91, 70, 3))
    return Residual(values.astype(np.float32), 40, 30)


def similarities(monkeypatch: pytest.MonkeyPatch, values: Sequence[float]) -> None:
    """The surrogates see these, one a tried encoding."""
    following = iter(values)
    monkeypatch.setattr("cloak.pipeline._similarity", lambda prepared, changed, recognizers: next(following))


def jpeg() -> Photo:
    return decode(make("jpeg", smooth_noise(160, 160, seed=3), quality=40), "a")


def tables(data: bytes) -> list[list[int]]:
    return [list(table) for table in decode(data, "a").encodings[0].options["qtables"]]


@pytest.mark.parametrize(
    ("values", "taken"),
    [
        ((0.5,), 0),
        ((0.5, 0.495), 0),
        ((0.5, 0.6), 0),
        ((0.5, 0.4), 1),
        ((0.5, 0.4, 0.305, 0.3), 2),
        ((0.9, 0.95, 0.97, 0.3, 0.2, 0.2), 4),  # the second are worse than the first, and no reason to stop
        ((0.5, 0.3, math.inf), 1),
        ((0.5, math.inf, 0.3), 2),
        ((0.5, math.inf, math.inf), 0),
    ],
)
def test_the_coarsest_that_is_as_good_as_the_finest(values: Sequence[float], taken: int) -> None:
    asked: list[int] = []

    def reached(index: int) -> float:
        asked.append(index)
        return values[index]

    assert _first_as_good_as_the_last(reached, len(values)) == taken
    assert len(asked) == len(set(asked))


@pytest.mark.parametrize(
    ("values", "taken"), [((0.5, 0.495), 0), ((0.5, 0.4, 0.405, 0.5), 1), ((0.5, 0.4, 0.5, 0.5), 3)]
)
def test_a_finer_encoding_is_taken_where_it_gains(
    values: Sequence[float], taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = replace(jpeg(), encodings=jpeg().encodings[:4], bytes=0)  # no limit on the size
    similarities(monkeypatch, values)  # of the first, the last, and those between as they are asked for
    data, _ = encode_protected(prepared(photo), [residual()], (), METHOD, "a")
    assert tables(data) == photo.encodings[taken].options["qtables"]


@pytest.mark.parametrize("size", [3000, 1_200_000])
def test_the_file_grows_by_no_more_than_it_may(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By half a small file, by so many bytes a smaller one."""
    monkeypatch.setattr("cloak.pipeline.ROOM", 1000)
    photo = replace(jpeg(), bytes=size)
    most = max(GROWTH * size, size + 1000)
    similarities(monkeypatch, [0.9, 0.1, 0.5, 0.5, 0.5])  # only the finest of those that are tried is good
    data, _ = encode_protected(prepared(photo), [residual()], (), METHOD, "a")
    assert len(data) <= most
    finest = encode(replace(photo, encodings=photo.encodings[-1:]))
    assert (len(finest) > most) == (size == 3000)
    assert (tables(data) == tables(finest)) == (size != 3000)


def test_a_small_file_may_become_several_times_as_large(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = jpeg()
    similarities(monkeypatch, [0.9, 0.2, 0.8, 0.5, 0.4])
    data, _ = encode_protected(prepared(photo), [residual()], (), METHOD, "a")
    assert 2 * photo.bytes < len(data) < photo.bytes + ROOM
    assert tables(data) == [[1] * 64] * 2


def test_an_unknown_quality_is_at_least_what_makes_a_file_as_large(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = smooth_noise(160, 160, seed=3)
    photo = decode(make("webp", pixels, quality=95), "a")
    assert photo.encodings == LADDERS["WEBP"]
    similarities(monkeypatch, [0.5, 0.5])
    data, _ = encode_protected(prepared(photo), [residual()], (), METHOD, "a")
    assert photo.bytes <= len(data) <= GROWTH * photo.bytes


def test_a_large_transparency_makes_no_lossless_file() -> None:
    """No lossy encoding of its colours is as large as the file that it came in."""
    photo = replace(decode(make("webp", smooth_noise(160, 160, seed=3), quality=60), "a"), bytes=3_000_000)
    assert [one.lossless for one in affordable(photo).encodings] == [False, True]
    assert affordable(replace(photo, bytes=10)).encodings[0].options["quality"] == 75


def test_a_lossless_file_is_written_once_and_nobody_is_asked(tiny: Recognizer) -> None:
    photo = Photo(smooth_noise(160, 160, seed=3), encodings=IN_MEMORY)
    data, _ = encode_protected(prepared(photo), [residual()], (), METHOD, "a")
    assert not np.array_equal(decode(data, "a").pixels, photo.pixels)


def test_the_similarity_is_the_surrogates(tiny: Recognizer) -> None:
    """Without stand-ins: the taken encoding is no worse for the cloak than the coarsest."""
    photo = jpeg()
    original = tiny.embed(photo.pixels, FACE)

    def seen(data: bytes) -> float:
        return float(original @ tiny.embed(decode(data, "a").pixels, FACE))

    coarsest, _ = encode_protected(
        prepared(replace(photo, encodings=photo.encodings[:1])), [residual()], [tiny], METHOD, "a"
    )
    taken, _ = encode_protected(prepared(photo), [residual()], [tiny], METHOD, "a")
    assert seen(taken) <= seen(coarsest)


def test_those_who_look_oftenest_are_asked() -> None:
    asked: list[str] = []

    def one(name: str, share: int) -> Recognizer:
        recognizer = tiny_recognizer(48)
        recognizer.spec = replace(recognizer.spec, name=name, share=share)
        recognizer.register_forward_pre_hook(lambda module, inputs: asked.append(name))
        return recognizer

    surrogates = [one("quick", 4), one("slow", 1), one("quick too", 4)]
    encode_protected(prepared(jpeg()), [residual()], surrogates, METHOD, "a")
    assert set(asked) == {"quick", "quick too"}


def test_what_cannot_be_read_again_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    photo, read = replace(jpeg(), bytes=0), []
    similarities(monkeypatch, [0.9, 0.8, 0.8, 0.9, 0.9, 0.9])

    def reader(data: bytes) -> Photo:
        read.append(tables(data))
        if read[-1] != photo.encodings[0].options["qtables"]:
            raise PhotoError("what was written: the file is damaged")
        return read_back(data)

    monkeypatch.setattr("cloak.pipeline.read_back", reader)
    taken, _ = encode_protected(prepared(photo), [residual()], (), METHOD, "a")
    assert tables(taken) == photo.encodings[0].options["qtables"]
    assert len(read) == 3
    worse = replace(photo, encodings=photo.encodings[1:])
    with pytest.raises(SaveError, match="a: what was written: the file is damaged; save the photo in another format"):
        encode_protected(prepared(worse), [residual()], (), METHOD, "a")


def test_the_size_of_a_large_file_is_told_from_some_of_its_tiles() -> None:
    pixels = np.tile(smooth_noise(700, 900, seed=4), (5, 5, 1))
    photo = Photo(pixels, encodings=LADDERS["WEBP"][:1])
    whole = len(encode(photo))
    assert abs(estimated_size(photo) / whole - 1) < 0.1
    narrow = Photo(pixels[:120].repeat(13, axis=1), encodings=FINE_JPEG)
    assert abs(estimated_size(narrow) / len(encode(narrow)) - 1) < 0.1


def test_a_finer_encoding_that_is_surely_too_large_is_not_even_written(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = replace(jpeg(), bytes=1000)
    monkeypatch.setattr("cloak.pipeline.ROOM", 0)
    monkeypatch.setattr("cloak.pipeline.estimated_size", lambda photo: 1801.0)
    data, _ = encode_protected(prepared(photo), [residual()], (), METHOD, "a")
    assert tables(data) == photo.encodings[0].options["qtables"]


def test_a_finer_encoding_that_fails_on_a_face_leaves_the_coarser_one(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = replace(jpeg(), bytes=0)
    similarities(monkeypatch, [0.9, 0.8, 0.7])

    def code(coded: Photo, pixels: Pixels) -> Pixels:
        if coded.encoding is not photo.encodings[0]:
            raise SaveError("cannot be written as JPEG: its encoder fails")
        return recode(coded, pixels)

    monkeypatch.setattr("cloak.calibrate.recode", code)
    data, _ = encode_protected(prepared(photo), [residual()], (), METHOD, "a")
    assert tables(data) == photo.encodings[0].options["qtables"]
    worse = replace(photo, encodings=photo.encodings[1:])
    with pytest.raises(SaveError, match="a: cannot be written as JPEG: its encoder fails; save the photo in another"):
        encode_protected(prepared(worse), [residual()], (), METHOD, "a")


def test_an_original_is_embedded_once_and_not_kept_longer_than_its_photo() -> None:
    class Counting(Recognizer):
        calls = 0

        def embed(self, *arguments: object, **options: object) -> Tensor:
            self.calls += 1
            return torch.ones(1)

    recognizer = Counting(tiny_recognizer().spec, torch.nn.Identity())
    photo = prepared(Photo(smooth_noise(96, 96)))
    assert photo.own(recognizer, FACE) is photo.own(recognizer, FACE)
    assert recognizer.calls == 1
    gone = weakref.ref(photo)
    gc.disable()
    try:
        del photo
        assert gone() is None  # no cycle that only the collector would find: photos are large
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("sizes", "count"), [([1, 9, 9, 9], 1), ([1, 2, 9, 9], 2), ([1, 2, 3, 9], 3), ([1, 2, 3, 4], 4), ([1], 1)]
)
def test_finer_encodings_come_into_question_as_long_as_the_file_may_grow_so(
    sizes: list[int], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    encodings = tuple(replace(FINE_JPEG[0], options={"quality": 10 * size + index}) for index, size in enumerate(sizes))
    photo = Photo(smooth_noise(40, 40), encodings=encodings, bytes=1000)
    expected = {encoding: size * 100_000 for encoding, size in zip(map(str, encodings), sizes, strict=True)}
    monkeypatch.setattr("cloak.pipeline.estimated_size", lambda photo: expected[str(photo.encoding)])
    monkeypatch.setattr("cloak.pipeline._as_fine_as_it_came", lambda photo: 0)
    assert affordable(photo).encodings == encodings[:count]
    assert affordable(replace(photo, bytes=0)).encodings == encodings

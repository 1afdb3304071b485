from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from cloak.calibrate import Composition, region_around
from cloak.methods import MODES
from cloak.patches import Residual
from cloak.photo import FINE_JPEG, Photo, decode, encode
from cloak.photo.formats import LOSSLESS, Encoding
from cloak.types import Face
from cloak.visibility import Yardstick, measure_face
from tests.helpers import made_up_face, smooth_noise

METHOD = MODES["mid"]


def residual_for(face: Face, strength: float, seed: int = 0) -> Residual:
    left, top, right, bottom = (int(v) for v in face.box)
    values = np.random.default_rng(seed).normal(0, strength, (bottom - top, right - left, 3))
    return Residual(values.astype(np.float32), left, top)


ENCODINGS = {
    "PNG": LOSSLESS["PNG"],
    "JPEG 95": FINE_JPEG[0],
    "JPEG 75, half chroma": Encoding("JPEG", {"quality": 75, "subsampling": "4:2:0"}, lossless=False),
}


def on(photo: Photo, faces: Sequence[Face]) -> list[Yardstick]:
    return [Yardstick.of(photo.pixels, face.box) for face in faces]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("strength", [0.01, 0.03, 0.3])
def test_the_budget_is_filled_and_kept_on_the_saved_pixels(encoding: str, strength: float) -> None:
    photo = Photo(smooth_noise(200, 200), encodings=(ENCODINGS[encoding],))
    photo = decode(encode(photo), "a")  # coded before, as photos are
    photo = replace(photo, encodings=(ENCODINGS[encoding],))
    faces = [made_up_face(20, 20, 60), made_up_face(105, 90, 70)]
    composition = Composition(
        photo, on(photo, faces), [residual_for(face, strength) for face in faces], METHOD
    ).fitted()
    saved = decode(encode(replace(photo, pixels=composition.pixels())), "a").pixels
    while (smaller := composition.shrunk(saved)) is not composition:
        composition = smaller
        saved = decode(encode(replace(photo, pixels=composition.pixels())), "a").pixels
    for face in faces:
        seen = measure_face(photo.pixels, saved, face.box)
        assert seen.dssim <= METHOD.dssim
        assert seen.peak_dssim <= METHOD.peak_dssim
        if strength > 0.01 and encoding in ("PNG", "JPEG 95"):
            assert seen.dssim > 0.85 * METHOD.dssim


def test_no_pixel_changes_by_more_than_the_bound_even_where_faces_overlap() -> None:
    photo = Photo(smooth_noise(160, 160))
    faces = [made_up_face(30, 30, 60), made_up_face(50, 40, 60)]
    composition = Composition(photo, on(photo, faces), [residual_for(face, 0.2) for face in faces], METHOD).fitted()
    change = np.abs(composition.pixels().astype(int) - photo.pixels)
    assert change.max() <= round(255 * METHOD.linf)


def test_a_face_by_itself_is_what_the_whole_photo_shows_of_it() -> None:
    photo = Photo(smooth_noise(200, 240))
    faces = [made_up_face(0, 0, 60), made_up_face(40, 30, 70), made_up_face(150, 110, 80)]
    composition = Composition(
        photo, on(photo, faces), [residual_for(face, 0.05) for face in faces], METHOD, [0.7, 1.3, 1.0]
    )
    assert np.array_equal(composition.with_encoded_faces(), composition.pixels())  # nothing is lost as PNG
    for index, face in enumerate(faces):
        used = measure_face(photo.pixels, composition.pixels(), face.box).dssim / METHOD.dssim
        assert composition.usage_in_region(index) >= used - 1e-6


def test_pixels_outside_the_residuals_are_the_originals() -> None:
    photo = Photo(smooth_noise(160, 160))
    face = made_up_face(30, 30, 60)
    changed = Composition(photo, on(photo, [face]), [residual_for(face, 0.05)], METHOD).fitted().pixels()
    outside = np.ones(photo.pixels.shape[:2], bool)
    outside[30:109, 30:91] = False
    assert np.array_equal(changed[outside], photo.pixels[outside])
    assert not np.array_equal(changed, photo.pixels)


def test_an_encoding_that_uses_up_the_budget_by_itself_leaves_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = Photo(smooth_noise(160, 160), encodings=FINE_JPEG)
    face = made_up_face(30, 30, 60)
    monkeypatch.setattr("cloak.calibrate.recode", lambda photo, pixels: 255 - pixels)
    composition = Composition(photo, on(photo, [face]), [residual_for(face, 0.05)], METHOD).fitted()
    assert list(composition.scales) == [0.0]
    assert np.array_equal(composition.pixels(), photo.pixels)


def test_the_region_of_a_face_is_made_of_whole_blocks() -> None:
    left, top, right, bottom = region_around((33.0, 50.0, 90.0, 120.0), (203, 301))
    assert (left % 16, top % 16) == (0, 0)
    assert (right % 16, bottom % 16) == (0, 0)
    assert left < 28
    assert right > 95
    assert region_around((180.0, 280.0, 202.0, 300.0), (301, 203))[2:] == (203, 301)

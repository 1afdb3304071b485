from dataclasses import replace

import numpy as np
import pytest

from cloak.calibrate import ENCODING_SHARE, Composition, region_around, with_fitting_quality
from cloak.methods import MODES
from cloak.patches import Residual
from cloak.photo import Photo, decode, encode
from cloak.types import Face
from cloak.visibility import measure_face
from tests.helpers import made_up_face, smooth_noise

METHOD = MODES["mid"]


def residual_for(face: Face, strength: float, seed: int = 0) -> Residual:
    left, top, right, bottom = (int(v) for v in face.box)
    values = np.random.default_rng(seed).normal(0, strength, (bottom - top, right - left, 3))
    return Residual(values.astype(np.float32), left, top)


@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("strength", [0.01, 0.03, 0.3])
def test_the_budget_is_filled_and_kept_on_the_saved_pixels(format_name: str, strength: float) -> None:
    photo = Photo(smooth_noise(200, 200), format=format_name)
    faces = [made_up_face(20, 20, 60), made_up_face(105, 90, 70)]
    photo = with_fitting_quality(photo, faces, METHOD)
    composition = Composition.fit(photo, faces, [residual_for(face, strength) for face in faces], METHOD)
    saved = decode(encode(replace(photo, pixels=composition.pixels())), "a").pixels
    while composition.shrink_exceeding(saved):
        saved = decode(encode(replace(photo, pixels=composition.pixels())), "a").pixels
    for face in faces:
        seen = measure_face(photo.pixels, saved, face.box)
        assert seen.dssim <= METHOD.dssim
        assert seen.peak_dssim <= METHOD.peak_dssim
        if strength > 0.01:
            assert seen.dssim > 0.85 * METHOD.dssim


def test_no_pixel_changes_by_more_than_the_bound_even_where_faces_overlap() -> None:
    photo = Photo(smooth_noise(160, 160))
    faces = [made_up_face(30, 30, 60), made_up_face(50, 40, 60)]
    composition = Composition.fit(photo, faces, [residual_for(face, 0.2) for face in faces], METHOD)
    change = np.abs(composition.pixels().astype(int) - photo.pixels)
    assert change.max() <= round(255 * METHOD.linf)


def test_pixels_outside_the_residuals_are_the_originals() -> None:
    photo = Photo(smooth_noise(160, 160))
    face = made_up_face(30, 30, 60)
    changed = Composition.fit(photo, [face], [residual_for(face, 0.05)], METHOD).pixels()
    outside = np.ones(photo.pixels.shape[:2], bool)
    outside[30:109, 30:91] = False
    assert np.array_equal(changed[outside], photo.pixels[outside])
    assert not np.array_equal(changed, photo.pixels)


def test_an_encoding_that_uses_up_the_budget_by_itself_leaves_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = Photo(smooth_noise(160, 160), format="JPEG")
    face = made_up_face(30, 30, 60)
    monkeypatch.setattr("cloak.calibrate.recode", lambda photo, pixels: 255 - pixels)
    composition = Composition.fit(photo, [face], [residual_for(face, 0.05)], METHOD)
    assert composition.scales == [0.0]
    assert np.array_equal(composition.pixels(), photo.pixels)


def test_the_region_of_a_face_is_made_of_whole_jpeg_blocks() -> None:
    left, top, right, bottom = region_around((33.0, 50.0, 90.0, 120.0), (203, 301))
    assert (left % 8, top % 8) == (0, 0)
    assert (right % 8, bottom % 8) == (0, 0)
    assert left < 28
    assert right > 95
    assert region_around((180.0, 280.0, 202.0, 300.0), (301, 203))[2:] == (203, 301)


def test_jpeg_quality_rises_where_its_blocks_alone_would_use_the_budget() -> None:
    face = made_up_face(30, 30, 60)
    coarse = Photo(smooth_noise(160, 160), format="JPEG")
    roomy = replace(MODES["high"], dssim=0.1)
    assert with_fitting_quality(coarse, [face], roomy).jpeg_quality == 95
    grain = np.random.default_rng(0).integers(-12, 13, coarse.pixels.shape)
    grainy = replace(coarse, pixels=(coarse.pixels + grain).clip(0, 255).astype(np.uint8))
    fitted = with_fitting_quality(grainy, [face], MODES["low"])
    assert fitted.jpeg_quality > 95
    saved = decode(encode(fitted), "a").pixels
    assert measure_face(grainy.pixels, saved, face.box).dssim <= ENCODING_SHARE * MODES["low"].dssim
    assert with_fitting_quality(replace(coarse, format="PNG"), [face], METHOD).jpeg_quality == 95

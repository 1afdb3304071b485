from dataclasses import replace

import numpy as np

from cloak.bench.cloaking import ENCODING_SHARE, _finely_saved
from cloak.methods import MODES, Method
from cloak.photo import FINE_JPEG, IN_MEMORY, Photo, decode, encode
from cloak.pipeline import Prepared
from cloak.visibility import measure_face
from tests.helpers import made_up_face, smooth_noise

FACE = made_up_face(30, 30, 60)


def quality(photo: Photo, method: Method) -> int:
    saved = _finely_saved(Prepared(photo, (FACE,), ()), method).photo
    assert len(saved.encodings) == 1
    return int(saved.encoding.options["quality"])


def test_jpegs_are_saved_at_95_or_better_where_its_blocks_alone_would_use_the_budget() -> None:
    coarse = Photo(smooth_noise(160, 160), encodings=FINE_JPEG)
    assert quality(coarse, replace(MODES["high"], dssim=0.1)) == 95
    grain = np.random.default_rng(0).integers(-12, 13, coarse.pixels.shape)
    grainy = replace(coarse, pixels=(coarse.pixels + grain).clip(0, 255).astype(np.uint8))
    assert quality(grainy, MODES["low"]) > 95
    saved = decode(encode(_finely_saved(Prepared(grainy, (FACE,), ()), MODES["low"]).photo), "a").pixels
    assert measure_face(grainy.pixels, saved, FACE.box).dssim <= ENCODING_SHARE * MODES["low"].dssim


def test_lossless_photos_stay_so() -> None:
    photo = Photo(smooth_noise(160, 160), encodings=IN_MEMORY)
    assert _finely_saved(Prepared(photo, (FACE,), ()), MODES["mid"]).photo is photo

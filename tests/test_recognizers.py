import pytest
import torch

from cloak import UsageError
from cloak.photo import read_photo
from cloak.recognizers import EMBEDDED, Recognizer, load_recognizer
from tests.helpers import tiny_recognizer

NAMES = ("tiny", *EMBEDDED)


@pytest.fixture(scope="module", params=NAMES)
def recognizer(request: pytest.FixtureRequest) -> Recognizer:
    return tiny_recognizer() if request.param == "tiny" else load_recognizer(request.param)


def crops_for(recognizer: Recognizer, count: int = 4) -> torch.Tensor:
    height, width = recognizer.spec.size
    coarse = torch.rand(count, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")


def test_embeddings_have_their_shape_and_length_one(recognizer: Recognizer) -> None:
    embeddings = recognizer(crops_for(recognizer))
    assert embeddings.shape == (4, recognizer.spec.dimension)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(4))


def test_an_embedding_depends_on_its_own_crop_alone(recognizer: Recognizer) -> None:
    crops = crops_for(recognizer)
    together = recognizer(crops)
    torch.testing.assert_close(recognizer(crops.flip(0)).flip(0), together, atol=1e-5, rtol=0)
    torch.testing.assert_close(recognizer(crops[1:2])[0], together[1], atol=1e-5, rtol=0)


def test_the_same_crop_gives_the_same_embedding(recognizer: Recognizer) -> None:
    crops = crops_for(recognizer)
    assert torch.equal(recognizer(crops), recognizer(crops))


def test_gradients_reach_the_pixels_and_not_the_weights(recognizer: Recognizer) -> None:
    crops = crops_for(recognizer).requires_grad_(True)
    (gradient,) = torch.autograd.grad(recognizer(crops)[:, 0].sum(), crops)
    assert (gradient.abs().amax(dim=(1, 2, 3)) > 0).all()
    assert not any(parameter.requires_grad for parameter in recognizer.parameters())
    assert not recognizer.training


def test_channel_order_is_the_recognisers_own() -> None:
    rgb = tiny_recognizer()
    bgr = tiny_recognizer()
    object.__setattr__(bgr.spec, "channels", "BGR")
    crops = crops_for(rgb)
    torch.testing.assert_close(bgr(crops.flip(1)), rgb(crops))


def test_templates_lie_in_the_crop(recognizer: Recognizer) -> None:
    height, width = recognizer.spec.size
    assert all(0 < x < width and 0 < y < height for x, y in recognizer.spec.template)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="expected a recogniser, one of dlib; got 'facenet'"):
        load_recognizer("facenet")


def test_a_mirrored_face_is_still_the_same_person() -> None:
    from cloak.detect import FaceDetector
    from tests.helpers import SAMPLES

    dlib, detector = load_recognizer("dlib"), FaceDetector()
    embeddings = []
    for name in ("astronaut.png", "grace_hopper.jpg"):
        pixels = read_photo(SAMPLES / name).pixels
        (face,) = detector.detect(pixels)
        plain, mirrored = dlib.embed(pixels, face), dlib.embed(pixels, face, mirror=True)
        assert float(plain @ mirrored) > 0.9
        embeddings.append(plain)
    assert float(embeddings[0] @ embeddings[1]) < dlib.spec.threshold

"""What holds for every recogniser that cloaks can be made against: each architecture of the table."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from cloak import UsageError
from cloak.align import crop_face
from cloak.detect import FaceDetector
from cloak.photo import read_photo
from cloak.recognizers import ARCHITECTURES, EMBEDDED, Recognizer, RecognizerSpec, load_recognizer
from cloak.recognizers.onnx_file import smooth_crops
from cloak.recognizers.source import find_source
from cloak.weights import read_manifest
from tests.helpers import SAMPLES, tiny_recognizer


def random_weights(name: str) -> Recognizer:
    """A recogniser of the manifest with the real architecture, and random weights that keep crops apart."""
    source = find_source(name)
    if source.needs:
        pytest.importorskip("timm", reason="needs timm (pip install -e .[dev])")
    torch.manual_seed(0)
    network = ARCHITECTURES[source.architecture].build()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = None  # statistics are the mean of what was seen
    network.train()
    network(source.spec.preprocess(smooth_crops(8, source.spec.size)))
    return Recognizer(source.spec, network)


BUILDERS: dict[str, Callable[[], Recognizer]] = {
    "tiny": tiny_recognizer,
    **{name: partial(load_recognizer, name) for name in EMBEDDED},
    **{
        name: partial(random_weights, name)
        for name, entry in read_manifest().items()
        if "architecture" in entry and name not in EMBEDDED
    },
}


@pytest.fixture(scope="module", params=BUILDERS)
def recognizer(request: pytest.FixtureRequest, one_thread: None) -> Recognizer:
    return BUILDERS[request.param]()


def crops_for(recognizer: Recognizer, count: int = 4) -> torch.Tensor:
    return smooth_crops(count, recognizer.spec.size)


def test_every_architecture_of_the_table_is_tried() -> None:
    tried = {find_source(name).architecture for name in BUILDERS if name != "tiny"}
    assert tried == set(ARCHITECTURES)


def test_embeddings_have_their_shape_range_and_length_one(recognizer: Recognizer) -> None:
    embeddings = recognizer(crops_for(recognizer))
    name = recognizer.spec.name
    dimension = 16 if name == "tiny" else read_manifest()[name]["embedding"]["dimension"]
    assert embeddings.shape == (4, dimension)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(4))
    assert embeddings.abs().max() <= 1.0


def test_different_crops_have_different_embeddings(recognizer: Recognizer) -> None:
    embeddings = recognizer(crops_for(recognizer))
    assert (embeddings @ embeddings.T)[0, 1:].max() < 0.9999


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
    assert gradient.isfinite().all()
    assert (gradient.abs().amax(dim=(1, 2, 3)) > 0).all()
    assert not any(parameter.requires_grad for parameter in recognizer.parameters())
    assert not recognizer.training


def test_channel_order_is_the_recognisers_own() -> None:
    rgb = tiny_recognizer()
    bgr = Recognizer(replace(rgb.spec, channels="BGR"), rgb.network)
    crops = crops_for(rgb)
    torch.testing.assert_close(bgr(crops.flip(1)), rgb(crops))


def test_each_channel_can_have_its_own_scale() -> None:
    spec = RecognizerSpec(name="own", mean=(0.0, 255.0, 0.0), scale=(255.0, 1.0, 51.0))
    torch.testing.assert_close(spec.preprocess(torch.ones(1, 3, 1, 1)).flatten(), torch.tensor([1.0, 0.0, 5.0]))


def test_templates_lie_in_the_crop(recognizer: Recognizer) -> None:
    height, width = recognizer.spec.size
    assert all(0 < x < width and 0 < y < height for x, y in recognizer.spec.template)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(
        UsageError,
        match=r"expected a recogniser, one of dlib, dlib-robust, sface, mobilefacenet, lightcnn, .*; "
        r"got 'facenet'",
    ):
        load_recognizer("facenet")


def test_a_mirrored_face_is_still_the_same_person() -> None:
    dlib, detector = load_recognizer("dlib"), FaceDetector()
    embeddings = []
    for name in ("astronaut.png", "grace_hopper.jpg"):
        pixels = read_photo(SAMPLES / name).pixels
        (face,) = detector.detect(pixels)
        crop = dlib.crop(pixels, face)
        plain, mirrored = dlib.embed_crops([crop, crop.flip(3)])
        torch.testing.assert_close(plain, dlib.embed(pixels, face), rtol=0.0, atol=1e-5)
        assert float(plain @ mirrored) > 0.9
        embeddings.append(plain)
    assert float(embeddings[0] @ embeddings[1]) < (dlib.spec.threshold or 0.0)


def test_the_robust_twin_sees_faces_as_its_original_does() -> None:
    crops = faces_of_the_samples()
    ours, theirs = (load_recognizer(name)(crops) for name in ("dlib", "dlib-robust"))
    assert (ours * theirs).sum(dim=1).min() > 0.9


def faces_of_the_samples() -> torch.Tensor:
    """Aligned for dlib."""
    spec, detector, crops = find_source("dlib").spec, FaceDetector(), []
    for name in ("astronaut.png", "grace_hopper.jpg"):
        pixels = read_photo(SAMPLES / name).pixels
        (face,) = detector.detect(pixels)
        crops.append(crop_face(pixels, face.landmarks, spec.template, spec.size))
    return torch.cat(crops)


def test_a_small_adversarial_change_moves_the_robust_twin_less_than_its_original() -> None:
    crops, moved = faces_of_the_samples(), {}
    for name in ("dlib", "dlib-robust"):
        recognizer = load_recognizer(name)
        own = recognizer(crops)
        shown = (crops + 1e-3 * torch.randn(crops.shape, generator=torch.Generator().manual_seed(0))).requires_grad_()
        (gradient,) = torch.autograd.grad((recognizer(shown) * own).sum(), shown)
        moved[name] = float((recognizer((shown - 2 / 255 * gradient.sign()).detach()) * own).sum(dim=1).mean())
    assert moved["dlib-robust"] > moved["dlib"] + 0.05

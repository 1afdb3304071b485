"""FaceNet and its crop, against facenet-pytorch's own, with random weights."""

import copy
import io
import runpy

import numpy as np
import pytest
import torch
from facenet_pytorch import InceptionResnetV1, extract_face
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from cloak import Face
from cloak.align import apply, crop_face, fit_similarity
from cloak.detect import FaceDetector
from cloak.photo import read_photo
from cloak.recognizers import ARCFACE, Recognizer, RecognizerSpec
from cloak.recognizers.facenet import (
    FACENET_SIDE,
    FACENET_SIZE,
    FACENET_TEMPLATE,
    UNUSED,
    FaceNet,
    Whitening,
    facenet_ms1m,
    squeeze,
)
from cloak.types import Pixels
from tests.helpers import ROOT, SAMPLES, embedding_of_grace_hopper, smooth_noise

HEIGHT, WIDTH = FACENET_SIZE
MARGIN = 14

PUBLISHED = (-0.0552, -0.0999, 0.0591, -0.0911, 0.0271, -0.0936, -0.0180, 0.0098)
"""First numbers of Grace Hopper's embedding by facenet_keras.h5, unrounded."""

LAYERS_IN_KERAS = 245
"""Layers of facenet_keras.h5 that have weights."""


pytestmark = pytest.mark.usefixtures("one_thread")


def crops(count: int = 4) -> Tensor:
    """Preprocessed crops: (count, 3, 214, 160) in -1..1."""
    coarse = torch.rand(count, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    return 2.0 * nn.functional.interpolate(coarse, FACENET_SIZE, mode="bilinear") - 1.0


@pytest.fixture(scope="module")
def theirs() -> InceptionResnetV1:
    """facenet-pytorch's module, random, with the classifier that the published files hold.

    With fresh batch-norm statistics all its embeddings are the same to three digits; so they are
    taken from a few crops first.
    """
    torch.manual_seed(0)
    network = InceptionResnetV1(classify=True, num_classes=8631, dropout_prob=0.0)
    for layer in network.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            layer.momentum = None  # the plain mean of what it sees
    network.classify = False
    with torch.no_grad():
        network.train()(squeeze(crops(12)))
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def published(theirs: InceptionResnetV1) -> dict[str, Tensor]:
    """A file as it is published, written and read."""
    file = io.BytesIO()
    torch.save(theirs.state_dict(), file)
    file.seek(0)
    state: dict[str, Tensor] = torch.load(file, weights_only=True)
    return state


@pytest.fixture(scope="module")
def used(published: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in published.items() if name not in UNUSED}


@pytest.fixture(scope="module")
def facenet(used: dict[str, Tensor]) -> FaceNet:
    network = FaceNet()
    network.load_state_dict(used, strict=True)
    return network.eval().requires_grad_(False)


def test_a_published_file_gives_facenet_pytorchs_embeddings(facenet: FaceNet, theirs: InceptionResnetV1) -> None:
    torch.testing.assert_close(facenet(crops()), theirs(squeeze(crops())), atol=1e-6, rtol=0)


def test_a_published_file_holds_our_keys_and_the_classifier(facenet: FaceNet, published: dict[str, Tensor]) -> None:
    assert published.keys() - facenet.state_dict().keys() == set(UNUSED)
    assert facenet.state_dict().keys() < published.keys()


def test_a_file_with_a_key_missing_or_too_many_is_refused(
    facenet: FaceNet, published: dict[str, Tensor], used: dict[str, Tensor]
) -> None:
    with pytest.raises(RuntimeError, match=r"Unexpected key.*logits\.weight"):
        facenet.load_state_dict(published, strict=True)
    missing = {name: value for name, value in used.items() if name != "last_linear.weight"}
    with pytest.raises(RuntimeError, match=r"Missing key.*last_linear\.weight"):
        facenet.load_state_dict(missing, strict=True)


def test_embeddings_have_their_shape_and_length_and_differ(facenet: FaceNet) -> None:
    embeddings = facenet(crops())
    assert embeddings.shape == (4, 512)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(4))
    similarities = embeddings @ embeddings.T
    assert float((similarities - torch.eye(4)).max()) < 0.9


def test_an_embedding_depends_on_its_own_crop_alone(facenet: FaceNet) -> None:
    together = facenet(crops())
    torch.testing.assert_close(facenet(crops().flip(0)).flip(0), together, atol=1e-5, rtol=0)
    torch.testing.assert_close(facenet(crops()[1:2])[0], together[1], atol=1e-5, rtol=0)


def test_the_same_crop_gives_the_same_embedding(facenet: FaceNet) -> None:
    assert torch.equal(facenet(crops()), facenet(crops()))


def test_gradients_reach_every_crop(facenet: FaceNet) -> None:
    inputs = crops().requires_grad_(True)
    (gradient,) = torch.autograd.grad(facenet(inputs)[:, 0].sum(), inputs)
    assert gradient.isfinite().all()
    assert (gradient.abs().amax(dim=(1, 2, 3)) > 0).all()


def test_it_serves_as_a_recogniser(facenet: FaceNet) -> None:
    spec = RecognizerSpec(name="facenet", size=FACENET_SIZE, template=FACENET_TEMPLATE, scale=128.0)
    recognizer = Recognizer(spec, copy.deepcopy(facenet)).to(memory_format=torch.channels_last)
    shown = (crops() + 1.0) / 2.0
    torch.testing.assert_close(recognizer(shown), facenet(crops() * 127.5 / 128.0), atol=1e-5, rtol=0)


def test_the_squeeze_looks_at_every_pixel() -> None:
    inputs = crops(1).requires_grad_(True)
    (gradient,) = torch.autograd.grad(squeeze(inputs).sum(), inputs)
    assert gradient.min() > 0.5
    torch.testing.assert_close(gradient.sum(), torch.tensor(3.0 * FACENET_SIDE**2))


def squeezed(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(5, 2) points of an aligned crop -> where they come to lie among 160 x 160 pixels."""
    return (points + 0.5) * (1.0, FACENET_SIDE / HEIGHT) - 0.5


@pytest.mark.parametrize("point", FACENET_TEMPLATE)
def test_the_squeeze_moves_points_as_it_says(point: tuple[float, float]) -> None:
    rows, columns = torch.arange(HEIGHT)[:, None], torch.arange(WIDTH)
    blob = torch.exp(-((columns - point[0]) ** 2 + (rows - point[1]) ** 2) / 50.0)
    picture = squeeze(blob[None, None])[0, 0]
    side = torch.arange(FACENET_SIDE)
    x = (picture.sum(0) * side).sum() / picture.sum()
    y = (picture.sum(1) * side).sum() / picture.sum()
    np.testing.assert_allclose((x, y), squeezed(np.array([point]))[0], atol=0.02)


def test_a_face_of_mean_shape_is_cut_out_as_facenet_pytorch_does() -> None:
    pixels = smooth_noise(500, 400, seed=5)
    left, top, scale = 37, 51, 2
    box = np.array([left, top, left + scale * WIDTH, top + scale * HEIGHT])
    landmarks = scale * (np.array(FACENET_TEMPLATE) + 0.5) - 0.5 + (left, top)
    own = extract_face(Image.fromarray(pixels), box, FACENET_SIDE)[None] / 255.0
    ours = squeeze(crop_face(pixels, landmarks, FACENET_TEMPLATE, FACENET_SIZE))
    difference = 255.0 * (ours - own).abs()
    turned = 255.0 * (ours.flip(3) - own).abs()
    assert float(difference.mean()) < 1.5
    assert float(difference.mean()) < 0.1 * float(turned.mean())


def own_landmarks(pixels: Pixels, face: Face) -> NDArray[np.float64]:
    """(5, 2) landmarks in facenet-pytorch's crop, found again as marks that were painted on the photo."""
    found = []
    for x, y in face.landmarks:
        rows, columns = np.ogrid[: pixels.shape[0], : pixels.shape[1]]
        reach = 0.04 * face.width
        mark = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / reach**2)
        picture = Image.fromarray(np.repeat(mark.astype(np.uint8)[..., None], 3, axis=2))
        crop = extract_face(picture, face.box, FACENET_SIDE, MARGIN)[0].numpy()
        side = np.arange(FACENET_SIDE)
        found.append(((crop.sum(0) * side).sum() / crop.sum(), (crop.sum(1) * side).sum() / crop.sum()))
    return np.array(found)


@pytest.mark.parametrize("name", ["astronaut.png", "grace_hopper.jpg"])
def test_landmarks_lie_where_facenet_pytorchs_crop_has_them(name: str) -> None:
    pixels = read_photo(SAMPLES / name).pixels
    (face,) = FaceDetector().detect(pixels)
    matrix = fit_similarity(face.landmarks, FACENET_TEMPLATE)
    ours = squeezed(apply(matrix, face.landmarks))
    distance = np.linalg.norm(ours - own_landmarks(pixels, face), axis=1)
    assert distance.max() < 8.0, distance  # of 160; over LFW the mean is 12 (benchmarks/facenet_crop.py)


def test_the_template_has_the_proportions_of_a_face() -> None:
    """No squeeze is left in it: ArcFace's template, in true proportions, fits it closely."""
    matrix = fit_similarity(ARCFACE, FACENET_TEMPLATE)
    distance = np.linalg.norm(apply(matrix, ARCFACE) - FACENET_TEMPLATE, axis=1)
    assert distance.max() < 4.0, distance


def ms1m() -> FaceNet:
    """Random, with running statistics that tell its layers apart."""
    torch.manual_seed(0)
    network = facenet_ms1m()
    for layer in network.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            layer.running_mean, layer.bias = (
                torch.rand(layer.num_features),
                nn.Parameter(torch.rand(layer.num_features)),
            )
    return network.eval().requires_grad_(False)


def test_the_keras_file_is_taken_by_its_layers_names() -> None:
    converter = runpy.run_path(str(ROOT / "weights/convert_facenet.py"))
    places = {layer: name for name, layer in converter["_convolutions"]()}
    ups = {f"{block}_Conv2d_1x1": name for name, block in converter["BLOCKS"].items() if block.startswith("Block")}
    state, asked = ms1m().state_dict(), set()

    def tensor(layer: str, name: str) -> NDArray[np.float32]:
        asked.add(layer)
        if layer.startswith("Bottleneck"):
            place = "last_bn" if layer.endswith("Norm") else "last_linear"
        elif layer in ups:
            place = f"{ups[layer]}.conv2d"
        else:
            place = places[layer.removesuffix("_BatchNorm")] + (".bn" if layer.endswith("Norm") else ".conv")
        ours = {"kernel": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
        values: NDArray[np.float32] = state[f"{place}.{ours.get(name, name)}"].numpy()
        return values if name != "kernel" else values.T if values.ndim == 2 else values.transpose(2, 3, 1, 0)

    found = converter["convert"](tensor)
    assert len(asked) == LAYERS_IN_KERAS
    assert asked >= {"Conv2d_4b_3x3", "Block17_10_Branch_1_Conv2d_0b_1x7_BatchNorm", "Mixed_7a_Branch_2_Conv2d_1a_3x3"}
    assert found.keys() == {name for name in state if not name.endswith("num_batches_tracked")}
    assert all(torch.equal(values, state[name]) for name, values in found.items())


def test_ms1m_takes_brightness_and_contrast_out() -> None:
    white = Whitening()(crops())
    torch.testing.assert_close(white.mean(dim=(1, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(white.std(dim=(1, 2, 3)), torch.ones(4))
    torch.testing.assert_close(Whitening()(0.5 * crops() + 0.2), white)
    assert ms1m()(crops()).shape == (4, 128)
    assert bool(Whitening()(torch.ones(1, 3, 8, 8)).isfinite().all())


def test_the_shipped_ms1m_gives_the_published_embedding_of_a_face() -> None:
    embedding = embedding_of_grace_hopper("facenet-ms1m")
    torch.testing.assert_close(embedding[: len(PUBLISHED)], torch.tensor(PUBLISHED), atol=0.01, rtol=0)

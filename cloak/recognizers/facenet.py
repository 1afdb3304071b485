"""FaceNet: facenet-pytorch's Inception-ResNet v1, and the crop that it takes.

F. Schroff, D. Kalenichenko, J. Philbin: FaceNet: A Unified Embedding for Face Recognition and
Clustering, CVPR 2015. Weights by D. Sandberg, converted by T. Esler, trained on VGGFace2
(``20180402-114759-vggface2.pt``) or CASIA-WebFace (``20180408-102900-casia-webface.pt``); and an
earlier network of his, trained on MS-Celeb-1M, converted to Keras by H. Taniai
(``facenet_keras.h5``): 128 numbers, each crop brought to mean 0 and variance 1.

The network was trained on MTCNN's upright box, squeezed to a square. cloak aligns by five
landmarks, and a similarity does not squeeze: so the aligned crop is as high as that box is on
average, with the landmarks where they lie in it on average, and the squeeze is the network's
first layer. ``benchmarks/facenet_crop.py`` measures both.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloak.facenet_package import facenet_pytorch

FACENET_SIDE = 160
"""Height and width of what the convolutions see, pixels."""

FACENET_SIZE = (214, 160)
"""(height, width) of the aligned crop: the mean shape of MTCNN's box, 1.339 times as high as wide."""

FACENET_TEMPLATE = ((51.03, 86.22), (116.47, 86.09), (83.75, 124.89), (54.74, 158.17), (112.34, 158.11))
"""The five landmarks in the aligned crop: their mean in facenet-pytorch's own crops with margin 14.
To the right of the middle, because MTCNN's box lies to the left of the face."""

UNUSED = ("logits.weight", "logits.bias")
"""What the published files hold beyond the embedding: the classifier of the training's people."""


def squeeze(crops: Tensor) -> Tensor:
    """(n, c, h, w) -> (n, c, 160, 160), differentiable, antialiased; the corners of the picture stay corners.

    A point at row y, pixel centres at whole numbers, goes to row (y + 0.5) * 160 / h - 0.5.
    """
    side = (FACENET_SIDE, FACENET_SIDE)
    return F.interpolate(crops, side, mode="bilinear", align_corners=False, antialias=True)


class Whitening(nn.Module):
    """Each crop with mean 0 and variance 1, over all its numbers."""

    def forward(self, crops: Tensor) -> Tensor:
        spread, mean = torch.std_mean(crops, dim=(1, 2, 3), keepdim=True)
        return (crops - mean) / spread.clamp_min(1e-3)


class FaceNet(nn.Sequential):
    """(n, 3, 214, 160) preprocessed crops -> (n, width) embeddings as facenet-pytorch gives them, of length 1.

    Preprocessing: RGB 0..255, minus 127.5, divided by 128. The layers are those of
    ``facenet_pytorch.InceptionResnetV1``, in their order and by their names, so the keys are
    those of the published files less ``UNUSED``.

    Args:
        width: numbers of an embedding.
        whitened: whether brightness and contrast are taken out of each crop first.
    """

    def __init__(self, width: int = 512, *, whitened: bool = False) -> None:
        super().__init__()
        network = facenet_pytorch().InceptionResnetV1()
        network.last_linear = nn.Linear(network.last_linear.in_features, width, bias=False)
        network.last_bn = nn.BatchNorm1d(width, eps=network.last_bn.eps)
        if whitened:
            self.add_module("whitening", Whitening())
        for name, layer in network.named_children():
            if name == "last_linear":
                self.add_module("flatten", nn.Flatten())
            self.add_module(name, layer)

    def forward(self, crops: Tensor) -> Tensor:
        x = squeeze(crops)
        for layer in self:
            x = layer(x)
        return F.normalize(x, dim=1)


def facenet_ms1m() -> FaceNet:
    """The earlier one: 128 numbers; RGB 0..255 with any mean and scale."""
    return FaceNet(128, whitened=True)

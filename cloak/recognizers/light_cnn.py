"""LightCNN V4, in PyTorch.

Wu, He, Sun, Tan, "A Light CNN for Deep Face Representation with Noisy Labels" (IEEE TIFS, 2018); the
fourth version of its network, with weights by X. Wu (2022, MIT). It has no normalisation and no
slopes: each layer computes every channel twice and keeps the larger value. That it is the
published network, layer by layer, is tested in ``tests/test_light_cnn.py``.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 8
"""Of the last feature map: 128 px, halved four times."""

WIDTH = 256
"""Numbers of an embedding."""


class LargerHalf(torch.autograd.Function):
    """(n, 2 c, h, w) -> (n, c, h, w), the larger of the two halves.

    The gradient goes to the larger one; PyTorch's own divides it among equals, in three times the time.
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> Tensor:
        one, other = maps.chunk(2, dim=1)
        ctx.save_for_backward(one >= other)
        return torch.maximum(one, other)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient,), (first,) = gradients, ctx.saved_tensors
        return torch.cat([gradient * first, gradient * ~first], dim=1)


class MaxFeatureMap(nn.Module):
    """A 3x3 convolution to twice the channels, and the larger of its two halves."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.filter = nn.Conv2d(inputs, 2 * outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = LargerHalf.apply(self.filter(x))
        return maps


class ResidualBlock(nn.Module):
    """Two layers, added to what went in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = MaxFeatureMap(channels, channels)
        self.conv2 = MaxFeatureMap(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv2(self.conv1(x))
        return out


def _stage(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(count)))


class LightCNN(nn.Module):
    """(n, 3, 128, 128) preprocessed crops -> (n, 256) embeddings, not normalised.

    Preprocessing: BGR, 0..1. Layers have the names of the published file.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = MaxFeatureMap(3, 48)
        self.block1 = _stage(48, 1)
        self.conv2 = MaxFeatureMap(48, 96)
        self.block2 = _stage(96, 2)
        self.conv3 = MaxFeatureMap(96, 192)
        self.block3 = _stage(192, 3)
        self.conv4 = MaxFeatureMap(192, 128)
        self.block4 = _stage(128, 4)
        self.conv5 = MaxFeatureMap(128, 128)
        self.fc = nn.Linear(128 * SIDE * SIDE, WIDTH)

    def forward(self, crops: Tensor) -> Tensor:
        x = self.block1(_halved(self.conv1(crops)))
        x = self.block2(_halved(self.conv2(x)))
        x = self.block3(_halved(self.conv3(x)))
        x = _halved(self.conv5(self.block4(self.conv4(x))))
        embeddings: Tensor = self.fc(x.flatten(1))
        return embeddings


def _halved(x: Tensor) -> Tensor:
    """At half the resolution: the largest and the mean of each 2 x 2, added."""
    return F.max_pool2d(x, 2) + F.avg_pool2d(x, 2)

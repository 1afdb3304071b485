"""SFace's network, in PyTorch.

Network and weights: Zhong, Deng, Hu, Zhao, Li, Wen, "SFace: Sigmoid-Constrained Hypersphere Loss for
Robust Face Recognition" (IEEE TIP, 2021), ``face_recognition_sface_2021dec.onnx`` of OpenCV Zoo
(Apache-2.0): a MobileNet of version 1 (Howard et al., 2017) for 112-px crops. Each batch
normalisation is folded into its neighbour by ``weights/convert_sface.py``. Equality with the
published file run by onnxruntime is tested in ``tests/test_sface.py``.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from cloak.recognizers.prelu import FrozenPReLU

STEM = 32

BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
)
"""(channels, stride), from the input up."""

SIDE = 7
"""Of the last feature map: 112 px, halved four times."""


class SeparableBlock(nn.Module):
    """A 3x3 convolution of each channel by itself, then one across the channels."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 3, stride=stride, padding=1, groups=inputs)
        self.depthwise_slope = FrozenPReLU(inputs)
        self.pointwise = nn.Conv2d(inputs, outputs, 1)
        self.pointwise_slope = FrozenPReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.depthwise_slope(self.depthwise(x))
        out: Tensor = self.pointwise_slope(self._across(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        return out

    def _across(self, x: Tensor) -> Tensor:
        """``pointwise``, with the channels last: as a product of matrices it is a little faster."""
        return F.linear(x, self.pointwise.weight[:, :, 0, 0], self.pointwise.bias)


class SFaceNet(nn.Module):
    """(n, 3, 112, 112) preprocessed crops -> (n, 128) embeddings, not normalised.

    Preprocessing: RGB 0..255, minus 127.5, divided by 128.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, STEM, 3, padding=1)
        self.stem_slope = FrozenPReLU(STEM)
        channels = [STEM, *(outputs for outputs, _ in BLOCKS)]
        self.blocks = nn.Sequential(
            *(
                SeparableBlock(inputs, outputs, stride)
                for inputs, (outputs, stride) in zip(channels[:-1], BLOCKS, strict=True)
            )
        )
        self.head = nn.Linear(channels[-1] * SIDE * SIDE, 128)

    def forward(self, crops: Tensor) -> Tensor:
        features: Tensor = self.blocks(self.stem_slope(self.stem(crops)))
        embeddings: Tensor = self.head(features.flatten(1))
        return embeddings

"""dlib's face recognition ResNet-29, in PyTorch.

Network and weights: Davis King, ``dlib_face_recognition_resnet_model_v1.dat`` (2017, CC0),
a ResNet-34 (He et al., 2016) with a few layers removed and half the filters. The affine layer
that follows each convolution is folded into it by ``weights/convert_dlib.py``, so a layer here
is a convolution with a bias. Equality with dlib's C++ code is tested in
``tests/test_dlib_resnet.py``.
"""

import torch.nn.functional as F
from torch import Tensor, nn

STAGES = ((32, 3, False), (64, 4, True), (128, 3, True), (256, 3, True), (256, 1, True))
"""(channels, blocks, whether the first block halves the resolution), from the input up."""


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; a down block halves the resolution."""

    def __init__(self, inputs: int, outputs: int, *, down: bool) -> None:
        super().__init__()
        self.down = down
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=1 + down, padding=int(not down))
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.conv1(x)))
        if not self.down:
            return F.relu(x + y)
        shortcut = F.avg_pool2d(x, 2)
        height = max(y.shape[2], shortcut.shape[2])
        width = max(y.shape[3], shortcut.shape[3])
        channels = y.shape[1]
        return F.relu(_zero_pad(y, channels, height, width) + _zero_pad(shortcut, channels, height, width))


def _zero_pad(x: Tensor, channels: int, height: int, width: int) -> Tensor:
    """Append zero channels, rows and columns until ``x`` is (n, channels, height, width)."""
    padding = (0, width - x.shape[3], 0, height - x.shape[2], 0, channels - x.shape[1])
    return F.pad(x, padding) if any(padding) else x


class DlibResNet29(nn.Module):
    """(n, 3, 150, 150) preprocessed chips -> (n, 128) embeddings as dlib itself gives them.

    Preprocessing: RGB 0..255, minus (122.782, 117.001, 104.298), divided by 256. The embeddings
    are not normalised: dlib compares them by Euclidean distance, 0.6 being its threshold.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 7, stride=2)
        blocks = []
        inputs = 32
        for outputs, count, down in STAGES:
            for index in range(count):
                blocks.append(ResidualBlock(inputs, outputs, down=down and index == 0))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(256, 128, bias=False)

    def forward(self, chips: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.stem(chips)), 3, stride=2)
        x = self.blocks(x).mean(dim=(2, 3))
        embeddings: Tensor = self.head(x)
        return embeddings

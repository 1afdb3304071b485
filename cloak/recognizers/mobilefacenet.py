"""MobileFaceNet, in PyTorch.

Chen, Liu, Gao, Han, "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on
Mobile Devices" (CCBR 2018), with 512 numbers: the network of ``fr_feature.onnx`` in Faceplugin's npm
package ``faceplugin-face-recognition-js`` (MIT), whose batch normalisations are folded into its
convolutions. Equality with that file run by onnxruntime is tested in ``tests/test_mobilefacenet.py``.
"""

from torch import Tensor, nn

from cloak.recognizers.prelu import FrozenPReLU

STEM = 64

BLOCKS = (
    (128, 64, 2),
    *[(128, 64, 1)] * 4,
    (256, 128, 2),
    *[(256, 128, 1)] * 6,
    (512, 128, 2),
    *[(256, 128, 1)] * 2,
)
"""(channels within, channels out, stride), from the input up."""

WIDTH = 512
"""Channels of the last feature map, and numbers of an embedding."""

SIDE = 7
"""Of the last feature map: 112 px, halved four times."""


class Layer(nn.Sequential):
    """A convolution and its PReLU."""

    def __init__(self, inputs: int, outputs: int, side: int, *, stride: int = 1, groups: int = 1) -> None:
        convolution = nn.Conv2d(inputs, outputs, side, stride=stride, padding=side // 2, groups=groups)
        super().__init__(convolution, FrozenPReLU(outputs))


class Bottleneck(nn.Module):
    """Wider, each channel by itself, narrower; with a shortcut where the resolution stays."""

    def __init__(self, inputs: int, within: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.shortcut = stride == 1
        self.expand = Layer(inputs, within, 1)
        self.depthwise = Layer(within, within, 3, stride=stride, groups=within)
        self.project = nn.Conv2d(within, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.shortcut else y


class MobileFaceNet(nn.Module):
    """(n, 3, 112, 112) preprocessed crops -> (n, 512) embeddings, not normalised.

    Preprocessing: BGR 0..255, minus 127.5, divided by 128.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(Layer(3, STEM, 3, stride=2), Layer(STEM, STEM, 3, groups=STEM))
        blocks = []
        inputs = STEM
        for within, outputs, stride in BLOCKS:
            blocks.append(Bottleneck(inputs, within, outputs, stride))
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.separate = Layer(inputs, WIDTH, 1)
        self.pool = nn.Conv2d(WIDTH, WIDTH, SIDE, groups=WIDTH)
        self.head = nn.Conv2d(WIDTH, WIDTH, 1)

    def forward(self, crops: Tensor) -> Tensor:
        features = self.separate(self.blocks(self.stem(crops)))
        embeddings: Tensor = self.head(self.pool(features)).flatten(1)
        return embeddings

"""A network whose residual branches are scaled: other gradients, and nothing left behind."""

import pytest
import torch

from cloak.ghosts import as_ghost, branches, draw_gains
from cloak.recognizers import load_recognizer
from cloak.recognizers.dlib_resnet import STAGES, ResidualBlock
from cloak.recognizers.onnx_file import smooth_crops
from tests.helpers import tiny_recognizer


def test_gains_are_drawn_within_their_range_and_always_alike() -> None:
    gains = draw_gains(0.4, 50, 14)
    assert gains.shape == (50, 14)
    assert gains.min() >= 0.6
    assert gains.max() <= 1.4
    assert gains.std(dim=0).min() > 0.1
    torch.testing.assert_close(draw_gains(0.4, 50, 14), gains)
    assert (draw_gains(0.0, 3, 2) == 1.0).all()


def test_the_branch_is_scaled_and_not_the_shortcut() -> None:
    torch.manual_seed(0)
    block, x = ResidualBlock(4, 4, down=False), torch.rand(2, 4, 6, 6)
    with as_ghost(block, [0.0]):
        torch.testing.assert_close(block(x), x)
    whole, half = block(x), x + 0.5 * block.conv2(torch.relu(block.conv1(x)))
    with as_ghost(block, [0.5]):
        torch.testing.assert_close(block(x), torch.relu(half))
    torch.testing.assert_close(block(x), whole)


def test_dlibs_network_is_itself_again_after_a_ghost_even_if_it_fails() -> None:
    recognizer, crops = load_recognizer("dlib-robust"), smooth_crops(2, (150, 150))
    blocks = branches(recognizer.network)
    assert len(blocks) == sum(count for _, count, _ in STAGES)
    before = recognizer(crops)
    gains = draw_gains(0.4, 2, len(blocks)).tolist()
    with as_ghost(recognizer.network, gains[0]):
        similarity = (recognizer(crops) * before).sum(dim=1)
    assert ((similarity > 0.5) & (similarity < 0.9999)).all()
    with pytest.raises(RuntimeError), as_ghost(recognizer.network, gains[0]):
        recognizer(crops[:, :, :1, :1])
    torch.testing.assert_close(recognizer(crops), before)


def test_a_network_without_branches_stays_as_it_is() -> None:
    recognizer, crops = tiny_recognizer(), smooth_crops(2, (48, 48))
    assert branches(recognizer.network) == []
    with as_ghost(recognizer.network, []):
        torch.testing.assert_close(recognizer(crops), recognizer(crops))

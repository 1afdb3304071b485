import subprocess
import sys

import pytest


def run(code: str) -> None:
    """Python code in a process of its own, where nothing was imported."""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


START = "import sys; import cloak.facenet_package as package; facenet = package.facenet_pytorch(); "


def test_the_compiler_is_not_imported_and_can_be_later() -> None:
    run(
        START + "assert 'torchvision' in sys.modules and 'torch._dynamo' not in sys.modules;"
        "import torch; from torchvision.ops.roi_align import is_compile_supported;"
        "answer = is_compile_supported('cpu');"
        "assert 'torch._dynamo.eval_frame' in sys.modules;"
        "from torch._dynamo.utils import is_compile_supported as real; assert answer == real('cpu')"
    )


def test_torchvisions_operations_work() -> None:
    run(
        START + "import torch; from torchvision.ops import nms, roi_align;"
        "boxes = torch.tensor([[0., 0., 4., 4.], [0., 0., 4., 4.]]);"
        "assert nms(boxes, torch.tensor([1., .5]), .5).tolist() == [0];"
        "assert roi_align(torch.ones(1, 1, 8, 8), [boxes], 2).shape == (2, 1, 2, 2)"
    )


def test_a_torchvision_that_wants_more_of_the_compiler_gets_it() -> None:
    """As if torchvision imported something else: the import fails, and is done again with the compiler."""
    run(
        "import sys; import cloak.facenet_package as package; package.ASKED = 'something_else';"
        "facenet = package.facenet_pytorch(); assert facenet.MTCNN;"
        "assert 'torch._dynamo.eval_frame' in sys.modules;"
        "import torch; from torchvision.ops import nms;"
        "assert nms(torch.ones(1, 4), torch.ones(1), .5).tolist() == [0]"
    )


@pytest.mark.parametrize("first", ["torchvision", "torch._dynamo", "facenet_pytorch"])
def test_what_is_imported_already_stays(first: str) -> None:
    run(
        f"import sys; import {first}; before = dict(sys.modules); import cloak.facenet_package as package;"
        "package.facenet_pytorch();"
        "assert all(sys.modules[name] is module for name, module in before.items())"
    )

"""Make a torchvision without its compiled operators importable, for tests only.

The torchvision of PyPI is built for the CUDA build of torch; beside a CPU build it fails while it registers shapes for
operators that its library would have defined. The classification networks use none of them, so defining their
signatures is enough to test with them. The product itself does not do this: it reports the broken installation.
"""

from __future__ import annotations

import importlib
import importlib.util

_SIGNATURES = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def torchvision_works() -> bool:
    """Import torchvision, with the missing operators declared if that is what it takes."""
    if importlib.util.find_spec("torchvision") is None:
        return False
    import torch

    # a torchvision that matches its torch brings them along
    try:
        importlib.import_module("torchvision")
        return True
    except (ImportError, RuntimeError):
        pass
    for name, signature in _SIGNATURES.items():
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", signature)
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError):
        return False
    return True

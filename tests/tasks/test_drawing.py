"""Pictures of examples side by side."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image

from netsmith.tasks.drawing import mosaic, painted, pixels_of


def test_columns_lie_side_by_side_in_one_size() -> None:
    grey = pixels_of(torch.arange(2 * 8 * 8).reshape(2, 1, 8, 8).float())
    large = pixels_of(torch.full((2, 3, 16, 16), 300.0))
    assert grey.shape == (2, 8, 8, 3) and large.max() == 255
    content = mosaic([grey, large])
    page = np.asarray(Image.open(io.BytesIO(content)))
    assert page.shape == (2 * 112 + 4, 2 * 112 + 4, 3) and content == mosaic([grey, large])
    assert (page[:112, :112][7::14, 7::14] == grey[0]).all() and (page[:, 112] == 255).all()


def test_classes_have_colours_of_their_own_and_what_is_ignored_has_none() -> None:
    masks = torch.tensor([[[0, 1, 2, 3], [4, 5, 6, 255]]])
    seen = painted(masks, 7).reshape(-1, 3)
    assert len({tuple(colour) for colour in seen.tolist()}) == 8 and (seen[-1] == 255).all()

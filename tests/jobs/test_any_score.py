"""A task whose score is no share, from its network to a certified front, its page and its claims."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn

import netsmith
from netsmith.jobs.compare import compare
from netsmith.jobs.verify import verify
from netsmith.tasks.segmentation import load


def squares(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise with a bright square in it, whose pixels are of class 1."""
    rng = torch.Generator().manual_seed(seed)
    images = (torch.rand(count, 3, 12, 12, generator=rng) * 150).to(torch.uint8)
    masks = torch.zeros(count, 12, 12, dtype=torch.uint8)
    for i, (row, column) in enumerate(torch.randint(0, 7, (count, 2), generator=rng).tolist()):
        images[i, :, row : row + 5, column : column + 5] += 60
        masks[i, row : row + 5, column : column + 5] = 1
    return images, masks


class Brightness(nn.Module):
    """Says where it is brighter than usual, with weights of its own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.sees, self.says = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 2, 1)
        with torch.no_grad():
            self.sees.weight.fill_(1 / 9)
            self.sees.bias.fill_(0.0)
            self.says.weight.copy_(torch.tensor([-1.0, 1.0])[:, None, None, None].expand(2, 8, 1, 1))
            self.says.bias.copy_(torch.tensor([4.0, -4.0]))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.says(torch.relu(self.sees(images)))


def test_a_front_of_segmenters_is_certified_drawn_and_verified(tmp_path: Path) -> None:
    task = load({name: squares(60, seed) for seed, name in enumerate(("train", "search", "test"))})
    made = netsmith.front(
        Brightness(), task, target="roofline-edge", methods="quantize", epochs=0, front=2, max_drop=20,
        minimize="size", out=tmp_path / "run",
    )  # fmt: skip
    summary = made.summary
    assert summary["task"]["kind"] == "segmentation" and 0 < summary["result"]["miou"] <= 1
    assert made.is_met and summary["certificate"]["method"] == "bootstrap" and summary["certificate"]["differ"] > 0
    assert "pixel_accuracy" in summary["result"] and "mIoU" in repr(made.chosen)
    html = made.report().read_text()
    assert "mIoU on test images, %" in html and "data:image/png;base64," in html and "accuracy on" not in html
    listed = json.loads((tmp_path / "run/points/1/pictures/pictures.json").read_text())
    assert [p["file"] for p in listed] == ["masks.png"]
    assert compare([tmp_path / "run"])["rows"][0]["miou_after"] == made[0].summary["result"]["miou"]
    checked = verify(tmp_path / "run", task, factory=Brightness)
    said = {claim["what"]: claim["verdict"] for claim in checked["claims"]}
    assert checked["ok"] and said["points/1: mIoU on the test split"] == "holds"
    assert said["points/1: largest certified loss, from the stored answers"] == "holds"

"""Segmentation and images to images: what is read, and scores against plain reckoning."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from netsmith import InputError
from netsmith.data.augment import Augment
from netsmith.tasks import image_to_image, segmentation
from netsmith.tasks.task import Objective

RNG = np.random.default_rng(0)
IMAGES = torch.from_numpy(RNG.integers(0, 256, (40, 3, 8, 8), dtype=np.uint8))
MASKS = torch.from_numpy(RNG.integers(0, 3, (40, 8, 8)))
MASKS[:, 0, 0] = 255


def rows_of(task, model, size, examples):
    with torch.no_grad():
        return np.concatenate([task.partial(batch(model), batch) for batch in examples.batches(size)])


def test_miou_and_pixel_accuracy_are_those_of_all_pixels_that_count():
    task = segmentation.load({"train": (IMAGES, MASKS), "val": (IMAGES, MASKS), "test": (IMAGES, MASKS)})
    assert task.classes == 3 and [m.key for m in task.metrics] == ["miou", "pixel_accuracy"]
    model = nn.Conv2d(3, 3, 3, padding=1)
    rows = rows_of(task, model, 7, task.test)
    pixels = (IMAGES.float() / 255 - torch.tensor(task.normalisation.mean).view(3, 1, 1)) / torch.tensor(
        task.normalisation.std
    ).view(3, 1, 1)
    said, wanted = model(pixels).argmax(1).numpy(), MASKS.numpy()
    kept = wanted != 255
    ious = []
    for k in range(3):
        ious.append(((said == k) & (wanted == k)).sum() / (((said == k) | (wanted == k)) & kept).sum())
    assert task.score(rows) == pytest.approx({"miou": np.mean(ious), "pixel_accuracy": (said == wanted)[kept].mean()})
    batch = next(task.test.batches(40))
    loss = task.training_loss(batch(model), None, batch, Objective())
    assert float(loss) == pytest.approx(float(F.cross_entropy(batch(model), MASKS, ignore_index=255)), rel=1e-4)
    values, weights = task.loss(batch(model), batch)
    assert float((values * weights).sum() / weights.sum()) == pytest.approx(float(loss), rel=1e-4)
    far, _ = task.divergence(batch(model), batch(model) + 1.0, batch)
    assert far.shape == (40,) and float(far.abs().max()) < 1e-4
    small = task.read(F.avg_pool2d(batch(model), 2), batch)
    assert small.shape == (40, 3, 8, 8)


def test_curvature_of_segmentation_is_that_of_its_divergence():
    task = segmentation.load({"train": (IMAGES, MASKS), "val": (IMAGES[:2], MASKS[:2]), "test": (IMAGES, MASKS)})
    batch = next(task.search.batches(2))
    z = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    far = lambda x: task.divergence(x, z.detach(), batch)[0].float().sum()  # noqa: E731
    hessian = torch.autograd.functional.hessian(far, z.detach()).reshape(z.numel(), z.numel()).diagonal()
    found = torch.zeros(z.numel())
    generator = torch.Generator().manual_seed(1)
    for _ in range(600):
        signs = torch.randint(0, 2, z.shape, generator=generator) * 2.0 - 1
        (gradient,) = torch.autograd.grad(task.rooted(z, [signs], batch, None).sum(), z)
        found += gradient.square().flatten() / 600
    assert float((found - hessian).abs().mean() / hessian.abs().mean()) < 0.15


def test_a_crop_and_a_flip_move_an_image_and_its_mask_alike():
    images = MASKS[:, None].repeat(1, 3, 1, 1).to(torch.uint8)
    task = segmentation.load({"train": (images, MASKS), "val": (images, MASKS), "test": (images, MASKS)})
    moved, masks = task.augmentation(Augment(2, flip=True))((images, MASKS.to(torch.int16)), np.random.default_rng(0))
    there = masks != 255
    assert (moved[:, 0][there] == masks[there]).all() and not torch.equal(masks, MASKS.to(torch.int16))
    assert task.augmentation(None) is None


def write(folder, masks=True, count=24):
    for i in range(count):
        part = folder / ("train" if i < 16 else "test")
        for name, array in (
            ("images", IMAGES[i].permute(1, 2, 0).numpy()),
            ("masks", MASKS[i].numpy().astype("uint8")),
        ):
            (part / name).mkdir(parents=True, exist_ok=True)
            if name == "images" or masks:
                Image.fromarray(array).save(part / name / f"{i:02}.png")


def test_folders_of_images_and_masks_are_paired_by_name(tmp_path):
    write(tmp_path)
    task = segmentation.load(str(tmp_path))
    assert (len(task.train), len(task.search), len(task.test)) == (14, 2, 8)
    batch = next(task.test.batches(8))
    assert torch.equal(batch.target, MASKS[16:24]) and batch.args[0].shape == (8, 3, 8, 8)
    (tmp_path / "test" / "masks" / "20.png").unlink()
    with pytest.raises(InputError, match=r"20.png has no counterpart of the name 20 among masks"):
        segmentation.load(str(tmp_path))
    write(tmp_path / "other", masks=False)
    with pytest.raises(InputError, match="has no folder mask or masks"):
        segmentation.load(str(tmp_path / "other"))


def encoded(array):
    import io

    out = io.BytesIO()
    Image.fromarray(array).save(out, format="PNG")
    return {"bytes": out.getvalue(), "path": None}


def test_tables_have_a_column_of_images_and_one_of_masks(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "image": [encoded(image.permute(1, 2, 0).numpy()) for image in IMAGES],
        "mask": [encoded(mask.numpy().astype("uint8")) for mask in MASKS],
    }
    pq.write_table(pa.table(columns), tmp_path / "train.parquet")
    task = segmentation.load(str(tmp_path), image_size=4, classes=["sky", "sea", "land", "ice"])
    assert task.classes == 4 and next(task.train.batches(2)).target.shape == (2, 4, 4)
    assert set(np.unique(task.test.groups[0][1])) <= {0, 1, 2, 255}
    columns["mask"][3] = columns["image"][3]
    pq.write_table(pa.table(columns), tmp_path / "train.parquet")
    with pytest.raises(InputError, match=r"the mask of row 3 of train.parquet has colours \(RGB\)"):
        segmentation.load(str(tmp_path))
    pq.write_table(pa.table({"image": columns["image"]}), tmp_path / "train.parquet")
    alone = image_to_image.load(str(tmp_path))
    assert torch.equal(alone.test.groups[0][0], alone.test.groups[0][1])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ((IMAGES, MASKS.float()), "give whole numbers of height x width"),
        ((IMAGES, MASKS[:, :4]), "give whole numbers of height x width"),
        ((IMAGES, MASKS - 1), "the number -1; number the classes from 0"),
        ((IMAGES, torch.full_like(MASKS, 255)), "no pixel that counts"),
        (IMAGES, "give pairs of tensors"),
    ],
)
def test_masks_that_cannot_be_used_are_refused(data, said):
    with pytest.raises(InputError, match=said):
        segmentation.load(data)


def test_psnr_is_the_mean_of_the_images_and_images_alone_are_made_smaller():
    task = image_to_image.load(IMAGES, downscale=2)
    assert len(task.train) + len(task.search) + len(task.test) == 40
    batch = next(task.test.batches(8))
    assert batch.args[0].shape == (8, 3, 4, 4) and batch.target.shape == (8, 3, 8, 8)
    model = nn.Upsample(scale_factor=2)
    rows = rows_of(task, model, 3, task.test)
    batch = next(task.test.batches(len(task.test)))
    error = (model(batch.args[0]) - batch.target).square().mean(dim=(1, 2, 3)).double()
    expected = {"psnr": float((-10 * error.log10()).mean()), "mse": float(error.mean())}
    assert task.score(rows) == pytest.approx(expected, rel=1e-5)
    assert task.metric.shown(expected["psnr"]).endswith(" dB") and not task.metrics[1].higher_is_better
    same = image_to_image.load(IMAGES)
    assert rows_of(same, nn.Identity(), 40, same.test)[:, 0] == pytest.approx(100.0)
    turned = same.augmentation("auto")((IMAGES, IMAGES), np.random.default_rng(0))
    assert torch.equal(*turned) and not torch.equal(turned[0], IMAGES)
    with pytest.raises(InputError, match="cannot be made 3 times smaller"):
        image_to_image.load(IMAGES, downscale=3)
    with pytest.raises(InputError, match="an image of 3x8x8 is wanted"):
        task.read(batch.args[0], batch)


def test_a_normalisation_of_weights_goes_before_that_of_the_data_unless_the_user_says_one():
    header = {"mean": "[0.5, 0.5, 0.5]", "std": "[0.25, 0.25, 0.25]"}
    for module, data in ((segmentation, (IMAGES, MASKS)), (image_to_image, IMAGES)):
        task = module.load(data)
        assert task.for_weights(header).normalisation.mean == (0.5, 0.5, 0.5)
        assert task.for_weights(header, given=True) is task
        assert task.for_weights(header).describe()["std"] == [0.25, 0.25, 0.25]
        floats = module.load((IMAGES.float(), MASKS) if module is segmentation else IMAGES.float() / 255)
        assert floats.for_weights(header) is floats and floats.normalisation.std == ()

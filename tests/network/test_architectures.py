"""Counts of many published architectures against torch's own counter, at two batch sizes."""

from __future__ import annotations

import pytest
import torch
from counted import counted_macs
from torch import nn

from netsmith.network.graph import trace
from torchvision_shim import torchvision_works

NAMES = (
    "resnet18 resnext50_32x4d seresnet33ts res2net50_26w_4s resnest14d skresnet18 densenet121 dla34 dpn48b "
    "mobilenetv2_050 mobilenetv3_small_050 efficientnet_b0 tf_efficientnetv2_b0 ghostnet_050 mnasnet_050 "
    "fbnetc_100 hardcorenas_a lcnet_035 tinynet_e regnetx_002 regnety_002 rexnet_100 repvgg_a0 vgg11 vgg11_bn "
    "xception41 nf_regnet_b0 convnext_atto convnextv2_atto mixer_s32_224 resmlp_12_224 gmlp_s16_224 "
    "vit_tiny_patch16_224 deit_tiny_patch16_224 cait_xxs24_224 swin_tiny_patch4_window7_224 pit_ti_224 levit_128s "
    "pvt_v2_b0 coat_lite_tiny convit_tiny xcit_nano_12_p16_224 poolformer_s12 mobilevit_xxs mobilevitv2_050 "
    "edgenext_xx_small efficientformer_l1 fastvit_t8 focalnet_tiny_srf davit_tiny nest_tiny visformer_tiny "
    "tnt_s_patch16_224 hrnet_w18_small selecsls42 vovnet39a halonet26t lambda_resnet26t inception_next_atto "
    "repghostnet_050 starnet_s1 mambaout_femto tiny_vit_5m_224 efficientvit_b0 efficientvit_m0 repvit_m0_9 "
    "mobilenetv4_conv_small convformer_s18 vit_relpos_small_patch16_224 "
)

timm = pytest.importorskip("timm") if torchvision_works() else None
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(timm is None, reason="timm needs a torchvision that can be imported"),
]


def build(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """An architecture with fresh weights, for images that are small if it takes such."""
    assert timm is not None
    network = timm.create_model(name, num_classes=7).eval()
    if not network.default_cfg.get("fixed_input_size"):
        try:
            with torch.no_grad():
                network(torch.zeros(1, 3, 64, 64))
            return network, (3, 64, 64)
        except Exception:  # some insist on a size without saying so
            pass
    return network, tuple(network.default_cfg["input_size"])


@pytest.mark.parametrize("name", NAMES.split())
def test_counts_are_those_of_torch(name: str) -> None:
    network, shape = build(name)
    table = trace(network.requires_grad_(False), shape).layers
    assert not table.unknown
    one, three = (counted_macs(network, shape, batch) for batch in (1, 3))
    fixed = (3 * one - three) // 2  # what parameters alone make, which runtimes compute once when they load a network
    assert int(table.macs.sum()) == one - fixed

"""Primitive operators that are known to cost about as much as the memory that they touch.

They touch each element a few times and multiply no matrices. Beside them all views are cheap, and what torch itself
calls pointwise; whatever else is neither counted nor listed is of unknown cost.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

aten = torch.ops.aten

#: Creation, copies and layout.
_LAYOUT = (
    "empty empty_strided new_empty new_empty_strided empty_like zeros ones full eye arange linspace scalar_tensor "
    "zeros_like ones_like full_like new_zeros new_ones new_full rand randn randint rand_like randn_like bernoulli "
    "normal clone copy _to_copy _unsafe_view _reshape_alias contiguous detach alias lift lift_fresh_copy set resize "
    "fill zero cat stack repeat repeat_interleave tile flip roll rot90 constant_pad_nd reflection_pad1d "
    "reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d pixel_shuffle "
    "pixel_unshuffle channel_shuffle im2col col2im unfold_copy tril triu tril_indices triu_indices diag_embed "
    "block_diag slice_scatter select_scatter diagonal_scatter as_strided_scatter _pack_padded_sequence "
    "_pad_packed_sequence _local_scalar_dense split_with_sizes_copy unsafe_split unsafe_split_with_sizes "
    "unsafe_chunk "
)
#: Look-ups.
_LOOK_UPS = (
    "index _unsafe_index index_select index_put _unsafe_index_put gather scatter scatter_add scatter_reduce "
    "index_add index_copy index_fill masked_fill masked_scatter masked_select take embedding _embedding_bag "
    "_embedding_bag_forward_only one_hot nonzero where searchsorted bucketize "
)
#: Reductions, orders and running sums.
_REDUCTIONS = (
    "sum mean amax amin max min argmax argmin any all prod var std var_mean std_mean norm linalg_vector_norm "
    "logsumexp nansum median mode aminmax sort topk kthvalue cumsum cumprod cummax cummin logcumsumexp unique "
    "_unique2 count_nonzero trace equal allclose "
)
#: Pools, norms, softmax, resampling.
_MAPS = (
    "max_pool2d_with_indices max_pool3d_with_indices max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d "
    "avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d "
    "_adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d fractional_max_pool2d max_unpool2d "
    "native_batch_norm native_layer_norm native_group_norm _native_batch_norm_legit "
    "_native_batch_norm_legit_no_training _batch_norm_no_update _fused_rms_norm native_dropout hardswish "
    "hardsigmoid hardtanh gelu silu mish elu celu selu leaky_relu softplus threshold log_sigmoid_forward "
    "rrelu_with_noise _softmax _log_softmax _safe_softmax softmax log_softmax _prelu_kernel glu renorm "
    "upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d "
    "_upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d "
    "_upsample_bilinear2d_aa _upsample_bicubic2d_aa grid_sampler_2d grid_sampler_3d affine_grid_generator "
)
#: Losses, windows, quantizers, copies of views, checks.
_OTHERS = (
    "_add_relu _aminmax _batch_norm_with_update _batch_norm_with_update_functional _chunk_cat _stack "
    "_weight_norm_interface _masked_scale _masked_softmax _unsafe_masked_index _unique unique_consecutive "
    "unique_dim addr bincount dist histc index_reduce segment_reduce isin put narrow_copy nanmedian "
    "embedding_renorm randperm uniform exponential poisson multinomial logspace frexp rsub pow slice split size "
    "stride quantize_per_tensor quantize_per_channel dequantize quantize_per_tensor_dynamic "
    "fake_quantize_per_tensor_affine_cachemask int_repr _to_dense is_same_size range "
    "fake_quantize_per_channel_affine_cachemask _fake_quantize_per_tensor_affine_cachemask_tensor_qparams "
    "bartlett_window blackman_window hamming_window hann_window kaiser_window max_unpool3d fractional_max_pool3d "
    "binary_cross_entropy huber_loss mse_loss smooth_l1_loss nll_loss_forward view_copy permute_copy select_copy "
    "slice_copy expand_copy unsqueeze_copy squeeze_copy transpose_copy alias_copy detach_copy diagonal_copy "
    "as_strided_copy t_copy unbind_copy split_copy _reshape_copy _conj_copy _neg_view_copy view_as_real_copy "
    "view_as_complex_copy complex polar _assert_async _assert_scalar _assert_tensor_metadata sym_constrain_range "
    "sym_constrain_range_for_size "
)
_CHEAP = frozenset("".join((_LAYOUT, _LOOK_UPS, _REDUCTIONS, _MAPS, _OTHERS)).split())


@cache
def is_cheap(func: Any) -> bool:
    """Whether an operator is known to cost about as much as the memory that it touches."""
    if func.namespace == "prim" or func.is_view or torch.Tag.inplace_view in func.tags:
        return True
    name = str(func.overloadpacket.__name__).removesuffix("_")  # in place or not
    if func.namespace not in ("aten", "prims"):
        return False
    twin = getattr(aten, name, None)
    overloads = [func, *(getattr(twin, n) for n in (twin.overloads() if twin is not None else ()))]
    return name in _CHEAP or any(torch.Tag.pointwise in f.tags for f in overloads)

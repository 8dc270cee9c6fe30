"""The operations of torch that a .pt2 file may name: those that reckon with tensors.

torch has others that read and write files, such as ``aten::from_file`` and ``aten::save``, or take addresses; a list of
what is allowed leaves them all out.
"""

from __future__ import annotations

import operator
import re
from typing import Any

import torch

from ...errors import UnsupportedLayerError

_TENSORS = """
abs adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d add addbmm
addcdiv addcmul addmm alias all alpha_dropout amax amin any arange argmax argmin as_strided atan atan2 avg_pool1d
avg_pool2d avg_pool3d baddbmm batch_norm bitwise_and bitwise_not bitwise_or bmm broadcast_to cat ceil celu
channel_shuffle chunk clamp clamp_max clamp_min clone col2im concat constant_pad_nd contiguous conv1d conv2d conv3d
conv_transpose1d conv_transpose2d conv_transpose3d convolution copy cos cumsum detach diagonal div dropout einsum elu
embedding empty_like eq erf exp expand expand_as expm1 feature_dropout flatten flip floor floor_divide full full_like
gather ge gelu glu grid_sampler_2d group_norm gt hardsigmoid hardswish hardtanh im2col index index_select
instance_norm isinf isnan layer_norm le leaky_relu lerp lift_fresh lift_fresh_copy linalg_vector_norm linear log log1p
log2 log_sigmoid log_softmax logical_and logical_not logical_or logsumexp lt masked_fill matmul max max_pool1d
max_pool2d max_pool2d_with_indices max_pool3d maximum mean min minimum mish mm movedim mul mv narrow native_batch_norm
native_group_norm native_layer_norm ne neg new_empty new_full new_ones new_zeros norm ones ones_like pad permute
pixel_shuffle pixel_unshuffle pow prelu prod reciprocal reflection_pad1d reflection_pad2d reflection_pad3d relu relu6
remainder repeat repeat_interleave replication_pad1d replication_pad2d replication_pad3d reshape rms_norm roll rsqrt
rsub scalar_tensor scaled_dot_product_attention select selu sigmoid sign silu sin slice softmax softplus split
split_with_sizes sqrt square squeeze stack std sub sum swapaxes
sym_numel sym_size sym_stride t tan tanh tensor_split threshold tile to topk transpose tril triu true_divide type_as
unbind unflatten unfold unsqueeze upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d
upsample_nearest2d upsample_nearest3d upsample_trilinear3d var var_mean view view_as where zeros zeros_like
_adaptive_avg_pool2d _adaptive_avg_pool3d _log_softmax
_native_batch_norm_legit_no_training _safe_softmax _scaled_dot_product_attention_math
_scaled_dot_product_flash_attention_for_cpu _softmax _to_copy _unsafe_index _unsafe_view _upsample_bicubic2d_aa
_upsample_bilinear2d_aa _upsample_nearest_exact1d _upsample_nearest_exact2d
"""

ALLOWED = frozenset(_TENSORS.split())
"""By torch's names, without the underscore of those that work in place."""

_SIZES = "add sub mul floordiv truediv mod neg pow eq ne lt le gt ge getitem"

ARITHMETIC = frozenset(_SIZES.split())
"""Of Python's ``operator``, on sizes and on the parts of a result."""

_TORCH = re.compile(r"torch\.ops\.aten\.(\w+)\.(\w+)")


def operation(target: Any) -> Any:
    """The operation of that name.

    Args:
        target: as a .pt2 file spells it, such as ``torch.ops.aten.conv2d.default``.

    Returns:
        An operation of torch, or one of ``operator``.

    Raises:
        UnsupportedLayerError: it is not among those allowed.
    """
    module, _, name = str(target).rpartition(".")
    if module == "_operator" and name in ARITHMETIC:
        return getattr(operator, name)
    match = _TORCH.fullmatch(str(target))
    if match is not None and (match[1] in ALLOWED or match[1].removesuffix("_") in ALLOWED):
        packet = getattr(torch.ops.aten, match[1], None)
        found = getattr(packet, match[2], None)
        if isinstance(found, torch._ops.OpOverload):
            return found
    raise UnsupportedLayerError(f"the operation {target} is not among those that a .pt2 file may use here")

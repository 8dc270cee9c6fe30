"""Which of torch's operations (ATen) are affine in the tensors they read, by what the operations mean.

An operation may pass if it is listed here, if its other arguments leave it affine, and if it keeps the network's
precision. Its map is compared with the operation itself besides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...maps.modules import Rules
from .aten_call import Call

VIEWS = (
    "view", "_unsafe_view", "reshape", "squeeze", "unsqueeze", "clone", "detach", "alias", "contiguous", "lift_fresh",
    "flatten", "unflatten", "positive",
)  # fmt: skip
"""Operations that keep all values in their order."""

PASSED_ON = (*VIEWS, "permute", "transpose", "t", "_to_copy", "_conj", "movedim")
"""Operations that keep all values."""


def _by_operation(table: dict[str, str]) -> dict[str, list[list[str]]]:
    """From sums of products of arguments, each with the operations that compute one, to the terms by operation."""
    found = [(name, terms) for terms, names in table.items() for name in names.split()]
    return {name: [term.split("*") for term in terms.split(" + ")] for name, terms in found}


MOVES = _by_operation({
    "self": (
        "slice select expand flip roll unfold unbind split split_with_sizes index_select index gather pixel_shuffle "
        "pixel_unshuffle channel_shuffle reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d "
        "replication_pad2d replication_pad3d constant_pad_nd im2col repeat diagonal take rot90 tril triu permute "
        "transpose t diag_embed as_strided _reshape_alias unsafe_split unsafe_split_with_sizes max_unpool2d "
        "max_unpool3d masked_select _unsafe_index _unsafe_masked_index view_as_real view_as_complex _conj "
        "_conj_physical _neg_view _to_copy " + " ".join(VIEWS)
    ),
    "tensors": "cat stack block_diag _chunk_cat",
    "self + value": "masked_fill index_fill",
    "self + other": "where",
    "self + src": "slice_scatter select_scatter diagonal_scatter as_strided_scatter scatter",
    "self + values": "index_put _index_put_impl _unsafe_index_put",
    "self + source": "index_copy put masked_scatter",
    "src": "copy",
    "value": "fill",
    "real + imag": "complex",
    "weight": "embedding",
    "LU_data": "lu_unpack",
    "grad_output": "slice_backward select_backward",
})  # fmt: skip
"""Operations whose every output is one of the values they read, its negative, or a constant."""

LINEAR = _by_operation({
    "self": (
        "neg sum mean nansum cumsum trace col2im div deg2rad rad2deg xlogy avg_pool2d avg_pool3d "
        "_adaptive_avg_pool2d _adaptive_avg_pool3d upsample_nearest1d upsample_nearest2d upsample_nearest3d "
        "_upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d upsample_linear1d "
        "upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d _upsample_bilinear2d_aa _upsample_bicubic2d_aa "
        "_upsample_lanczos2d_aa _fft_r2c _fft_c2c _fft_c2r cholesky_solve triangular_solve ldexp special_xlog1py "
        "nll_loss_forward nll_loss2d_forward"
    ),
    "self*other": "mul vdot linalg_cross",
    "self + other": "add sub rsub",
    "self*tensor": "dot",
    "self*vec": "mv",
    "self*mat2": "mm bmm",
    "self + mat1*mat2": "addmm _sparse_addmm",
    "self + batch1*batch2": "baddbmm addbmm",
    "self + mat*vec": "addmv",
    "self + vec1*vec2": "addr",
    "self + tensor1*tensor2": "addcmul",
    "self + tensor1": "addcdiv",
    "self*weight + end*weight": "lerp",
    "i1*i2*i3": "_trilinear",
    "input*weight + bias": (
        "linear convolution _convolution native_batch_norm _native_batch_norm_legit_no_training "
        "cudnn_batch_norm"
    ),
    "self*weight + bias": "conv_tbc",
    "self + src": "scatter scatter_add scatter_reduce",
    "self + source": "index_add index_reduce put",
    "self + values": "index_put _index_put_impl _unsafe_index_put _unsafe_masked_index_put_accumulate",
    "weight*per_sample_weights": "_embedding_bag",
    "data": "segment_reduce",
    "input": "grid_sampler_2d grid_sampler_3d",
    "weight": "_prelu_kernel _embedding_bag_forward_only",
    "weight + bias": "native_layer_norm native_group_norm",
    "abs": "polar",
    "B": "_linalg_solve_ex linalg_lu_solve linalg_solve_triangular",
    "grad_in": "unfold_backward",
    "grad_output": "native_dropout_backward _softmax_backward_data _log_softmax_backward_data embedding_dense_backward",
})  # fmt: skip
"""Operations that are sums of products, linear in each factor of a product."""

OVERWRITTEN = {"copy": "self", "fill": "self"}
"""Arguments of operations that do not read them, only write."""

Condition = Callable[[Call], bool]

CONDITIONS: Rules[str, Condition] = Rules()
"""What other arguments must be for an operation to be affine, by its name."""

only_if = CONDITIONS.rule


def is_affine(call: Call) -> bool:
    """Whether an operation is affine in all values that it reads, by its name and its arguments."""
    name = name_of(call)
    terms = MOVES.get(name) if is_move(call) else LINEAR.get(name)
    if terms is None or call.functional is None or call.func._schema.name.split("::")[0] != "aten":
        return False
    dependent = {
        argument
        for argument, given in call.given.items()
        if argument != OVERWRITTEN.get(name) and any(id(tensor) in call.values for tensor in leaves_of(given))
    }
    if not dependent <= {argument for term in terms for argument in term}:
        return False
    if any(len(dependent.intersection(term)) > 1 for term in terms):
        return False
    return _keeps_precision(call) and (name not in CONDITIONS or CONDITIONS[name](call))


def name_of(call: Call) -> str:
    """Name of an operation; a copy in the place of a view, such as ``slice_copy``, has the name of the view."""
    return call.name if call.name in MOVES else call.name.removesuffix("_copy")


def added_to(call: Call, argument: str) -> set[str]:
    """Arguments of an operation in ``LINEAR`` that it does not multiply with another one, but may add."""
    terms = LINEAR[name_of(call)]
    beside = {name for term in terms if argument in term for name in term}
    return {name for term in terms for name in term} - beside


def is_move(call: Call) -> bool:
    """Whether every output of an operation is one of the values it reads, its negative, or a constant."""
    return name_of(call) in MOVES and not call.given.get("accumulate") and not call.given.get("reduce")


def leaves_of(given: Any) -> list[Any]:
    """An argument as a list: itself, or what it lists."""
    return list(given) if isinstance(given, list | tuple) else [given]


def _keeps_precision(call: Call) -> bool:
    """Whether all that depends on the input stays as precise as the network itself."""

    def fine(dtype: torch.dtype) -> bool:
        if not (dtype.is_floating_point or dtype.is_complex):
            return False
        ours, own = torch.finfo(dtype), torch.finfo(call.precision)
        return ours.eps <= own.eps and ours.max >= own.max

    read = [tensor for tensor in call.tensors if tensor.is_floating_point() and id(tensor) not in call.values]
    # A number without axes takes the precision of what has some.
    number_becomes_coarse = any(not tensor.ndim for tensor in call.dependent) and any(
        tensor.ndim and not fine(tensor.dtype) for tensor in read
    )
    asked_for = [leaf for given in call.given.values() for leaf in leaves_of(given) if isinstance(leaf, torch.dtype)]
    kept = [tensor.dtype for tensor in (*call.dependent, *call.written())]
    return not number_becomes_coarse and all(fine(dtype) for dtype in (*asked_for, *kept))


# --- conditions ----------------------------------------------------------------------------------------------


@only_if("div")
def _is_exact(call: Call) -> bool:
    return call.given.get("rounding_mode") is None


@only_if("native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm")
def _has_fixed_statistics(call: Call) -> bool:
    given = call.given
    return not given.get("training") and None not in (given.get("running_mean"), given.get("running_var"))


@only_if("scatter", "scatter_reduce", "index_reduce", "segment_reduce")
def _reduces_linearly(call: Call) -> bool:
    return call.given.get("reduce") in (None, "sum", "mean", "add")


@only_if("_embedding_bag", "_embedding_bag_forward_only")
def _sums_or_averages(call: Call) -> bool:
    return call.given["mode"] in (0, 1)


@only_if("view")
def _keeps_numbers(call: Call) -> bool:
    return "dtype" not in call.given  # else the bits are read as numbers of another type


@only_if("as_strided", "as_strided_scatter", "_reshape_alias")
def _is_all_there_is(call: Call) -> bool:
    """Whether a tensor is all of its memory, in order: positions in memory are then positions in the tensor."""
    tensor: Tensor = call.given["self"]
    whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    plain = tensor.is_contiguous() and not tensor.is_conj() and not tensor.is_neg()
    # A given offset counts from the start of the memory, in which a user's image may lie anywhere.
    return whole and plain and call.given.get("storage_offset") is None

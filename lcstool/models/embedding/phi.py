"""The map Phi: from a convolution's weights to the matrix of a dense layer that computes the same, and back.

Ref: d'Ascoli et al. 2019 (arXiv 1906.06766), section 3.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from lcstool.checkpoint import CsrTensor, StreamedTensor
from lcstool.models.embedding.support import Support
from lcstool.models.layers.local import LocallyConnected2d

# Shape suffixes: O output channels, L = P * Q output positions, D = C * H * W columns, K = C / groups * I * J
# weights of a filter, N entries of one output channel's rows, M taps.


def filters_of(layer: nn.Module, scale_OL: Tensor | None = None) -> Tensor:
    """The filters of a convolution (O, 1, K) or a local layer (O, L, K), each times its scale (O, 1) or (O, L)."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    if isinstance(layer, LocallyConnected2d):
        filters_OLK = weight.detach().flatten(0, 1).flatten(2).transpose(0, 1)
    else:
        filters_OLK = weight.detach().flatten(1)[:, None, :]
    return filters_OLK if scale_OL is None else filters_OLK * scale_OL[:, :, None]


def dense_matrix(support: Support, filters_OLK: Tensor) -> StreamedTensor:
    """The matrix (O * L, D), made one output channel at a time, in one block of L rows that is used again and again.

    All output channels of a group fill the same entries of the block, so that only those are written again.
    """
    num_columns = support.num_columns
    shape = (len(filters_OLK) * support.num_positions, num_columns)

    def blocks() -> Iterator[Tensor]:
        block_LD = torch.zeros(support.num_positions, num_columns, dtype=filters_OLK.dtype)
        flat, entry_N = block_LD.view(-1), support.row_N * num_columns + support.column_N
        offset = 0
        for channel, filter_LK in enumerate(filters_OLK):
            if support.column_offset(channel) != offset:  # the next group sees other columns
                offset = support.column_offset(channel)
                flat.zero_()
            # scatter_ with index_select: a sixth of the time of assignment and indexing by tensors.
            flat.scatter_(0, entry_N + offset if offset else entry_N, support.entry_values(filter_LK))
            yield block_LD

    return StreamedTensor(filters_OLK.dtype, shape, blocks)


def csr_matrix(support: Support, filters_OLK: Tensor) -> CsrTensor:
    """The same matrix in compressed rows; it keeps every entry that the convolution can reach, zero or not."""
    channels, positions = len(filters_OLK), support.num_positions
    counts_L = torch.bincount(support.row_N, minlength=positions)
    crow = torch.cat([torch.zeros(1, dtype=torch.int64), counts_L.repeat(channels).cumsum(0)])
    return CsrTensor(
        dtype=filters_OLK.dtype,
        shape=(channels * positions, support.num_columns),
        crow=crow,
        columns=lambda: (support.column_N + support.column_offset(channel) for channel in range(channels)),
        values=lambda: (support.entry_values(filter_LK) for filter_LK in filters_OLK),
    )


def pull_back(support: Support, matrix: Tensor) -> Tensor:
    """The transpose of Phi: for every weight of the convolution, the sum of the entries in which it stands, (O, K).

    From the gradient of the embedded layer it makes the gradient of the convolution.

    Args:
        support: Of the convolution.
        matrix: (O * L, D), any floating dtype and device.
    """
    entries_ON = gather_entries(support, matrix)
    taps_OM = entries_ON[:, support.entry_M.to(matrix.device)]
    sums_OK = torch.zeros(
        len(entries_ON), support.geometry.patch_size, dtype=matrix.dtype, device=matrix.device
    )
    return sums_OK.index_add_(1, support.tap_M.to(matrix.device), taps_OM)


def gather_entries(support: Support, matrix: Tensor) -> Tensor:
    """The entries of the matrix that the convolution reaches, (O, N)."""
    positions, columns = support.num_positions, support.num_columns
    rows_OP = matrix.view(support.geometry.out_channels, positions * columns)
    entry_N = support.row_N * columns + support.column_N
    per_group = support.geometry.out_channels // support.geometry.groups
    blocks = [
        rows_OP[group * per_group : (group + 1) * per_group][
            :, (entry_N + support.column_offset(group * per_group)).to(matrix.device)
        ]
        for group in range(support.geometry.groups)
    ]
    return torch.cat(blocks)


def put_entries(support: Support, matrix: Tensor, entries_ON: Tensor) -> None:
    """Write the entries that the convolution reaches into the matrix, in place."""
    positions, columns = support.num_positions, support.num_columns
    rows_OP = matrix.view(support.geometry.out_channels, positions * columns)
    entry_N = support.row_N * columns + support.column_N
    per_group = support.geometry.out_channels // support.geometry.groups
    for group in range(support.geometry.groups):
        rows = slice(group * per_group, (group + 1) * per_group)
        rows_OP[rows, (entry_N + support.column_offset(group * per_group)).to(matrix.device)] = entries_ON[
            rows
        ]


def push_forward(support: Support, weights_OK: Tensor) -> Tensor:
    """Phi itself: from the weights of a convolution (O, K) to the entries (O, N) of the embedded layer's matrix."""
    taps_OM = weights_OK[:, support.tap_M.to(weights_OK.device)]
    if support.is_tying:
        return taps_OM
    entries_ON = torch.zeros(
        len(weights_OK), len(support.row_N), dtype=weights_OK.dtype, device=weights_OK.device
    )
    return entries_ON.index_add_(1, support.entry_M.to(weights_OK.device), taps_OM)

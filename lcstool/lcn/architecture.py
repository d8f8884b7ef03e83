"""One-dimensional linear convolutional networks: kernel sizes, strides, and the filter that the layers amount to.

Ref: Kohn, Merkh, Montufar & Trager 2022 (arXiv 2108.01538), sections 2-4 (K21); Kohn, Montufar, Shahverdi & Trager
2023 (arXiv 2304.05752), sections 2 and 3 (K23).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lcstool.errors import BadInputError
from lcstool.lcn.polynomial import multiply

# Symbols: L layers; k_l kernel sizes; k entries of the end-to-end filter.


@dataclass(frozen=True)
class LinearConvArchitecture:
    """Layers without biases, channels or activations, the first one applied first.

    Attributes:
        kernels: Kernel size of each layer, at least 1.
        strides: Stride of each layer, at least 1. The last one changes the stride of the whole, never its filter.

    Raises:
        BadInputError: no layers, not as many strides as kernels, or a number below 1.
    """

    kernels: tuple[int, ...]
    strides: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "kernels", tuple(self.kernels))
        object.__setattr__(self, "strides", tuple(self.strides))
        if not self.kernels or len(self.kernels) != len(self.strides):
            raise BadInputError(
                f"{len(self.kernels)} kernel sizes, {len(self.strides)} strides; expected as many of both, at least one"
            )
        for name, sizes in (("kernel sizes", self.kernels), ("strides", self.strides)):
            if any(type(size) is not int or size < 1 for size in sizes):
                raise BadInputError(f"{name} {list(sizes)}; expected whole numbers of at least 1")

    @property
    def num_layers(self) -> int:
        return len(self.kernels)

    @cached_property
    def spread(self) -> tuple[int, ...]:
        """S_l, the product of the strides before layer l: one of its steps, in entries of the input."""
        return tuple(math.prod(self.strides[:layer]) for layer in range(self.num_layers))

    @property
    def end_size(self) -> int:
        """Entries k of the end-to-end filter: the dimension of the space around the function space."""
        return 1 + sum((kernel - 1) * step for kernel, step in zip(self.kernels, self.spread, strict=True))

    @property
    def end_stride(self) -> int:
        return math.prod(self.strides)

    @property
    def dimension(self) -> int:
        """Of the function space: all entries, less one scale for each pair of neighbouring layers.

        Ref: K23 section 2.
        """
        return sum(self.kernels) - (self.num_layers - 1)

    @property
    def is_full_dimensional(self) -> bool:
        """Whether the function space has interior points among all filters of `end_size` entries.

        So it is where every layer with more than one entry sits at spread 1: strides count only before such a layer.
        """
        return self.dimension == self.end_size

    @property
    def num_even_kernels(self) -> int:
        return sum(kernel % 2 == 0 for kernel in self.kernels)

    @property
    def num_real_roots_required(self) -> int | None:
        """Real roots that make a filter a member, counted with multiplicity and at infinity too.

        One for each layer of odd degree, that is of even size. None where strides leave the space lower-dimensional,
        and membership is no matter of counting.

        Ref: K21 section 4.
        """
        return self.num_even_kernels if self.is_full_dimensional else None

    @property
    def is_filling(self) -> bool:
        """Whether every filter of `end_size` entries is a member.

        A form of odd degree has a real root at least, one of even degree may have none.
        """
        return self.is_full_dimensional and self.num_even_kernels <= 1

    def compose(self, filters: Sequence[Tensor]) -> Tensor:
        """The end-to-end filter of the layers.

        Args:
            filters: Of each layer, (..., k_l); leading dimensions broadcast.

        Returns:
            (..., end_size), float64, part of the autograd graph.

        Raises:
            BadInputError: not one filter a layer, or one of another size.
        """
        return self._product(self._checked(filters))

    def jacobian(self, filters: Sequence[Tensor]) -> Tensor:
        """Derivatives of `compose`: a column for every entry of every layer, layers in order.

        Args:
            filters: Of each layer, (..., k_l).

        Returns:
            (..., end_size, sum k_l), float64.

        Raises:
            BadInputError: as `compose`.
        """
        checked = self._checked(filters)
        columns: list[Tensor] = []
        for layer, kernel in enumerate(self.kernels):
            for unit in torch.eye(kernel, dtype=torch.float64, device=checked[layer].device):
                # compose is linear in each layer: its derivative puts a unit vector in the layer's place.
                there = unit.expand_as(checked[layer])
                columns.append(self._product([*checked[:layer], there, *checked[layer + 1 :]]))
        return torch.stack(columns, dim=-1)

    def split(self, flat: Tensor) -> list[Tensor]:
        """Filters of the layers from one vector of all entries, (..., sum k_l), in the order of `jacobian`."""
        return list(flat.split(list(self.kernels), dim=-1))

    def _product(self, filters: Sequence[Tensor]) -> Tensor:
        product = filters[0]
        for own, step in zip(filters[1:], self.spread[1:], strict=True):
            product = multiply(product, own, step)
        return product

    def _checked(self, filters: Sequence[Tensor]) -> list[Tensor]:
        sizes = [own.shape[-1] if own.dim() else 0 for own in filters]
        if sizes != list(self.kernels):
            raise BadInputError(
                f"filters of {sizes} entries; expected {list(self.kernels)}, one filter a layer"
            )
        return [own.double() for own in filters]

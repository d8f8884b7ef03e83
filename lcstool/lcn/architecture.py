"""One-dimensional linear convolutional networks: kernel sizes, strides, and the one filter that all layers make.

Without activations, layers one after another are a single convolution. Its filter is called the end-to-end filter.

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
    """Layers without biases or activations and with one channel each; the first one is applied first.

    Attributes:
        kernels: Kernel size of each layer, at least 1.
        strides: Stride of each layer, at least 1. The last one changes the stride of the end-to-end convolution, but
            not its filter.

    Raises:
        BadInputError: there are no layers, a stride or a kernel is missing, or a number is below 1.
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

    def to_json(self) -> dict[str, list[int]]:
        return {"kernels": list(self.kernels), "strides": list(self.strides)}

    @property
    def num_layers(self) -> int:
        return len(self.kernels)

    @cached_property
    def spread(self) -> tuple[int, ...]:
        """The spread S_l of each layer: the product of the strides of all layers before it.

        Neighbouring entries of a layer's filter look at places that are this many entries of the input apart.
        """
        return tuple(math.prod(self.strides[:layer]) for layer in range(self.num_layers))

    @property
    def end_size(self) -> int:
        """How many entries the end-to-end filter has."""
        return 1 + sum((kernel - 1) * step for kernel, step in zip(self.kernels, self.spread, strict=True))

    @property
    def end_stride(self) -> int:
        return math.prod(self.strides)

    @property
    def dimension(self) -> int:
        """The dimension of the function space.

        Scaling one layer up and the next one down leaves the end-to-end filter as it is. So of all entries of the
        layers, one for each pair of neighbours does not count.

        Ref: K23 section 2.
        """
        return sum(self.kernels) - (self.num_layers - 1)

    @property
    def is_full_dimensional(self) -> bool:
        """Whether the function space has the dimension `end_size`, and so has interior points.

        This is the case if every layer with more than one entry has spread 1.
        """
        return self.dimension == self.end_size

    @property
    def num_even_kernels(self) -> int:
        return sum(kernel % 2 == 0 for kernel in self.kernels)

    @property
    def num_real_roots_required(self) -> int | None:
        """How many real roots a filter must have to be in the function space.

        A layer of even size is a polynomial of odd degree, which has a real root: one is needed for each such layer.
        Roots count with their multiplicity, and roots at infinity count too. None for a lower-dimensional space, where
        the number of real roots does not decide.

        Ref: K21 section 4.
        """
        return self.num_even_kernels if self.is_full_dimensional else None

    @property
    def is_filling(self) -> bool:
        """Whether every filter of `end_size` entries is in the function space.

        One layer of even size asks for one real root; the end-to-end filter then has odd degree, so it has one.
        """
        return self.is_full_dimensional and self.num_even_kernels <= 1

    def compose(self, filters: Sequence[Tensor]) -> Tensor:
        """The end-to-end filter of the layers.

        Args:
            filters: One filter a layer, (..., k_l); their leading dimensions broadcast.

        Returns:
            (..., end_size), float64; autograd can differentiate it.

        Raises:
            BadInputError: there is not one filter for each layer, or one has another size.
        """
        return self._product(self._checked(filters))

    def jacobian(self, filters: Sequence[Tensor]) -> Tensor:
        """The derivatives of `compose`: one column for each entry of each layer, in the order of the layers.

        Args:
            filters: One filter a layer, (..., k_l).

        Returns:
            (..., end_size, sum k_l), float64.

        Raises:
            BadInputError: as `compose`.
        """
        checked = self._checked(filters)
        columns: list[Tensor] = []
        for layer, kernel in enumerate(self.kernels):
            for unit in torch.eye(kernel, dtype=torch.float64, device=checked[layer].device):
                # compose is linear in each layer: its derivative is compose with a unit vector in that layer's place.
                there = unit.expand_as(checked[layer])
                columns.append(self._product([*checked[:layer], there, *checked[layer + 1 :]]))
        return torch.stack(columns, dim=-1)

    def split(self, flat: Tensor) -> list[Tensor]:
        """Cut one vector of all entries, (..., sum k_l), into the filters of the layers."""
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

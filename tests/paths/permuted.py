"""A network and the same function with all its hidden channels in a random order, made by hand for each family."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lcstool.models import ModelSpec
from lcstool.models.narrowing.widths import narrow_modules
from lcstool.models.wiring.units import find_wiring


def shuffled(model: nn.Module, spec: ModelSpec, seed: int) -> tuple[nn.Module, dict[str, Tensor]]:
    """The permuted network, and the order of every layer's channels: new channel i is the old channel order[i]."""
    generator, twin = torch.Generator().manual_seed(seed), copy.deepcopy(model)
    if spec.arch == "resnet18":
        return twin, _residual(twin, generator)
    if spec.arch == "linear-cnn":
        order = torch.randperm(spec.alpha or 0, generator=generator)
        _permute(twin, {"layer1.weight": (order, None)})
        return twin, {"layer1": order}
    wiring = find_wiring(twin, spec.in_shape)
    orders = {
        name: torch.randperm(shape[0], generator=generator)
        for name, shape in wiring.out_shapes.items() if name not in wiring.fixed
    }  # fmt: skip
    narrow_modules(twin, wiring, orders)
    return twin, orders


def _residual(model: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
    """One order for all layers that are added up, others within the blocks."""
    state, orders = model.state_dict(), dict[str, Tensor]()

    def draw(layer: str) -> Tensor:
        return torch.randperm(len(state[f"{layer}.weight"]), generator=generator)

    def place(layer: str, norm: str, outs: Tensor, ins: Tensor | None) -> None:
        orders[layer] = outs
        norms = {f"{norm}.{part}": (outs, None) for part in ("weight", "bias", "running_mean", "running_var")}
        _permute(model, {f"{layer}.weight": (outs, ins)} | norms)

    stream = draw("conv1")
    place("conv1", "bn1", stream, None)
    for name in (f"block{stage}_{block}" for stage in (1, 2, 3, 4) for block in (1, 2)):
        before, inner, shortcut = stream, draw(f"{name}.conv1"), f"{name}.shortcut.conv"
        if f"{shortcut}.weight" in state:
            stream = draw(shortcut)
            place(shortcut, f"{name}.shortcut.bn", stream, before)
        place(f"{name}.conv1", f"{name}.bn1", inner, before)
        place(f"{name}.conv2", f"{name}.bn2", stream, inner)
    _permute(model, {"fc.weight": (None, stream)})
    return orders


def _permute(model: nn.Module, orders: Mapping[str, tuple[Tensor | None, Tensor | None]]) -> None:
    """Reorder the first and the second axis of tensors, in place."""
    state = model.state_dict()
    for name, both in orders.items():
        for axis, order in enumerate(both):
            if order is not None:
                state[name].copy_(state[name].index_select(axis, order))

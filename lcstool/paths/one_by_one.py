"""The string without batching over points: one network after another, as plain modules. The reference for `string`."""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from lcstool.data.augment import Augmentation
from lcstool.data.dataset import Split
from lcstool.evaluation import compute_loss
from lcstool.models.layers.parameters import NORM_LAYERS
from lcstool.paths.points import Points
from lcstool.paths.string import StringOptions

# Shape suffixes: N points, M = N - 2 inner points, D entries of a tensor.


def train_string_epoch_plainly(
    model: nn.Module,
    points: Points,
    split: Split,
    prepare: Callable[[Tensor], Tensor],
    augment: Augmentation,
    loss: str,
    options: StringOptions,
    batch_size: int,
    generator: torch.Generator,
) -> Tensor:
    """What `train_string_epoch` does, without `nudge`: same arguments, same numbers but for rounding."""
    if options.nudge:
        raise ValueError("the plain loop does not nudge")
    networks = [copy.deepcopy(model).eval() for _ in range(points.num_points)]
    for index, network in enumerate(networks):
        points.load_into(network, index)
        for module in network.modules():
            if isinstance(module, NORM_LAYERS):
                module.train()
    inner = networks[1:-1]
    batch_size = min(batch_size, len(split))
    num_steps = len(split) // batch_size
    order = torch.randperm(len(split), generator=generator)
    sums_M = torch.zeros(len(inner), dtype=torch.float64)
    for step in range(num_steps):
        batch = split.take(order[step * batch_size : (step + 1) * batch_size].to(split.images.device))
        x_BCHW = prepare(augment(batch.images, generator))
        for index, network in enumerate(inner):
            network.zero_grad(set_to_none=True)
            value = compute_loss(loss, network(x_BCHW), batch.labels)
            value.backward()
            sums_M[index] += value.detach().double().cpu()
        move_networks(networks, options)
    for name, tensor in points.parameters.items():
        for index, network in enumerate(networks):
            tensor[index] = network.get_parameter(name).detach()
    return sums_M / num_steps


@torch.no_grad()
def move_networks(networks: Sequence[nn.Module], options: StringOptions) -> None:
    """One step of the inner networks by their gradients and their springs, a parameter at a time."""
    num_inner = len(networks) - 2
    strength = options.lr * options.stiffness * (len(networks) - 1)
    system_MM = torch.zeros(num_inner, num_inner, dtype=torch.float64)
    for row in range(num_inner):
        system_MM[row, row] = 1 + 2 * strength
        for neighbour in (row - 1, row + 1):
            if 0 <= neighbour < num_inner:
                system_MM[row, neighbour] = -strength
    inverse_MM = torch.linalg.inv(system_MM)
    for own in zip(*(network.parameters() for network in networks), strict=True):
        gradients = [parameter.grad for parameter in own[1:-1]]
        if options.spring == "explicit":
            new = [
                own[i] - options.lr * gradients[i - 1] - strength * (2 * own[i] - own[i - 1] - own[i + 1])
                for i in range(1, num_inner + 1)
            ]
        else:
            old = [own[i] - options.lr * gradients[i - 1] for i in range(1, num_inner + 1)]
            old[0] = old[0] + strength * own[0]
            old[-1] = old[-1] + strength * own[-1]
            stacked_MD = torch.stack(old).flatten(1)
            new = list((inverse_MM.to(stacked_MD) @ stacked_MD).view(num_inner, *own[0].shape))
        for parameter, value in zip(own[1:-1], new, strict=True):
            parameter.copy_(value)

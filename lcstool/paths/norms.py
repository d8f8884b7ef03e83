"""Estimate the batch-norm statistics of every point of a path; interpolated statistics would fit no network."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lcstool.errors import UsageError
from lcstool.models.layers.local import UnitBatchNorm2d
from lcstool.models.layers.parameters import NORM_LAYERS
from lcstool.paths.forward import BatchedNetwork
from lcstool.paths.points import Points

# Shape suffixes: B batch, C channels, N points.


class _NormWatcher(BatchedNetwork):
    """Returns, instead of the outputs, the mean and unbiased variance of the input of every batch norm."""

    def __init__(self, model: nn.Module, batched: bool) -> None:
        super().__init__(model, batch_statistics=True, batched=batched)
        self._seen: dict[str, Tensor] = {}
        for name, module in self.skeleton.named_modules():
            if isinstance(module, NORM_LAYERS):
                module.register_forward_pre_hook(self._watch(name))

    def _watch(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            x_BC = inputs[0].flatten(1) if isinstance(module, UnitBatchNorm2d) else inputs[0]
            dims = [dim for dim in range(x_BC.ndim) if dim != 1]
            variance, mean = torch.var_mean(x_BC, dim=dims, correction=1)
            self._seen |= {f"{name}.running_mean": mean, f"{name}.running_var": variance}

        return hook

    def run_one(self, part: nn.Module, tensors: dict[str, Tensor], x_BCHW: Tensor) -> dict[str, Tensor]:
        self._seen = {}
        functional_call(part, tensors, (x_BCHW,))
        return self._seen


@torch.no_grad()
def reestimate_norms(
    model: nn.Module,
    points: Points,
    images: Tensor,
    prepare: Callable[[Tensor], Tensor],
    batch_size: int,
    chunk: int | None = None,
    batched: bool = True,
) -> Points:
    """The points with batch-norm statistics estimated on the images: the mean, over all full batches, of each batch's.

    That is what a pass in training mode with `momentum=None` and without dropout gives, for all points at once.
    Networks without batch norm are returned as they are.

    Args:
        model: What the points are points of.
        points: On any device; the result is there too.
        images: Training images as stored; where they are, the networks run.
        prepare: From stored images to the network's input.
        batch_size: Images a step, at most all; an incomplete last batch is left out, as in training.
        chunk: Points held on the images' device at once; None for all.
        batched: False runs one point after another.

    Raises:
        UsageError: for batches of one image.
    """
    tracked = [
        name for name, module in model.named_modules()
        if isinstance(module, NORM_LAYERS) and module.track_running_stats
    ]  # fmt: skip
    if not tracked:
        return points
    batch_size = min(batch_size, len(images))
    if batch_size < 2:
        raise UsageError(
            "batch normalisation needs batches of at least 2 images", hint="raise the batch size"
        )
    watcher = _NormWatcher(model, batched)
    names = [f"{name}.{own}" for name in tracked for own in ("running_mean", "running_var")]
    buffers = {name: tensor.clone() for name, tensor in points.buffers.items()}
    num_batches = len(images) // batch_size
    chunk = chunk or points.num_points
    for start in range(0, points.num_points, chunk):
        part = points.slice(start, start + chunk).to(images.device)
        sums = {name: torch.zeros_like(part.buffers[name]) for name in names}
        for block in images.split(batch_size)[:num_batches]:
            seen = watcher.run_whole(part, prepare(block))
            for name, total in sums.items():
                total += seen[name]
        for name, total in sums.items():
            buffers[name][start : start + chunk] = (total / num_batches).to(buffers[name])
    for name in tracked:
        if f"{name}.num_batches_tracked" in buffers:
            buffers[f"{name}.num_batches_tracked"].fill_(num_batches)
    return Points(points.parameters, buffers)

"""Run the networks of a path together: every layer takes the tensors of all points at once."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F

from lcstool.interception import Interception
from lcstool.models.layers.parameters import NORM_LAYERS, WEIGHT_LAYERS
from lcstool.paths.blend import Blend
from lcstool.paths.points import Points

# Shape suffixes: N points, E ends of a blend, B batch, C H W channels, height and width, K classes, O I outputs and
# inputs of a dense layer.


class BatchedNetwork:
    """Runs the points of a path together, in evaluation mode (no dropout).

    Layers are batched over points by `torch.func.vmap`. Networks in which that fails (control flow that depends on
    values, say) run one point after another; the numbers are the same up to rounding.

    Args:
        model: What the points are points of; it is only read.
        batch_statistics: Whether batch norms normalise by the statistics of the batch, as in training, instead of
            the points' own.
        batched: False runs one point after another from the start.

    Attributes:
        skeleton: The network without storage.
        is_batched: Whether points run together; settled by the first call.
        first_names: The tensors of the first layer, where points given as a blend need them at its ends only.
    """

    def __init__(self, model: nn.Module, batch_statistics: bool = False, batched: bool = True) -> None:
        # What the points replace loses its storage before the copy is made, not after it.
        memo: dict[int, Any] = {
            id(tensor): nn.Parameter(tensor.detach().to("meta"))
            if isinstance(tensor, nn.Parameter)
            else tensor.to("meta")
            for tensor in model.state_dict(keep_vars=True).values()
        }
        self.skeleton = copy.deepcopy(model, memo).eval()
        self.is_batched = batched
        self._is_settled = not batched
        if batch_statistics:
            for module in self.skeleton.modules():
                if isinstance(module, NORM_LAYERS):
                    # Without statistics of its own a batch norm takes the batch's, in evaluation mode too.
                    module.running_mean = module.running_var = module.num_batches_tracked = None
                    module.track_running_stats = False
        self._names = set(self.skeleton.state_dict())
        self._head, self._tail = _split(self.skeleton)
        self.first_names = frozenset(() if self._head is None else self._head.state_dict())

    def __call__(self, points: Points, x_BCHW: Tensor, blend: Blend | None = None) -> Tensor:
        """The logits (N, B, K) of every point on the same images.

        Args:
            points: On the images' device.
            x_BCHW: Input of the network.
            blend: Weighted sums that the points are, if they are. The first layer is linear in its weights, so it
                then runs on the ends only, and its outputs are mixed; the points may lack `first_names`.
        """
        if blend is None or self._head is None:
            return self.run_whole(points, x_BCHW)["y"]
        self._settle(self._tensors(blend.ends), x_BCHW)
        # W x is linear in W: weighted sums of weights give weighted sums of outputs.
        ends = {name: t for name, t in self._tensors(blend.ends).items() if name in self.first_names}
        y_EB = self._run(self._head, ends, x_BCHW, shared=True)["y"]
        y_NB: Tensor = torch.tensordot(blend.weight_NE.to(y_EB), y_EB, dims=1)
        rest = {
            name: tensor for name, tensor in self._tensors(points).items() if name not in self.first_names
        }
        return self._run(self._tail, rest, y_NB, shared=False)["y"]

    def run_whole(self, points: Points, x_BCHW: Tensor) -> dict[str, Tensor]:
        """What `run_one` makes of every point, stacked along a first axis."""
        tensors = self._tensors(points)
        self._settle(tensors, x_BCHW)
        return self._run(self.skeleton, tensors, x_BCHW, shared=True)

    def _tensors(self, points: Points) -> dict[str, Tensor]:
        return {name: t for name, t in (points.parameters | points.buffers).items() if name in self._names}

    @torch.no_grad()
    def _settle(self, tensors: dict[str, Tensor], x_BCHW: Tensor) -> None:
        """Find out, on two images, whether the network can be batched over points."""
        if self._is_settled:
            return
        try:
            self._run(self.skeleton, {name: t[:2] for name, t in tensors.items()}, x_BCHW[:2], shared=True)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            self.is_batched = False
        self._is_settled = True

    def _run(self, part: nn.Module, tensors: dict[str, Tensor], x: Tensor, shared: bool) -> dict[str, Tensor]:
        """Run a part of the network at every point, its input the same for all (`shared`) or one a point."""

        def one(own: dict[str, Tensor], x_one: Tensor) -> dict[str, Tensor]:
            return self.run_one(part, own, x_one)

        if self.is_batched:
            with Interception({F.linear: _weight_first}):
                found: dict[str, Tensor] = vmap(one, in_dims=(0, None if shared else 0))(tensors, x)
            return found
        outputs = [
            one({name: tensor[index] for name, tensor in tensors.items()}, x if shared else x[index])
            for index in range(len(next(iter(tensors.values()))))
        ]
        return {name: torch.stack([output[name] for output in outputs]) for name in outputs[0]}

    def run_one(self, part: nn.Module, tensors: dict[str, Tensor], x_BCHW: Tensor) -> dict[str, Tensor]:
        """What is made of one point; a subclass may return more than the output `y`."""
        return {"y": functional_call(part, tensors, (x_BCHW,))}


def _weight_first(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear` as weight times input, not input times transposed weight.

    Batched over points, the gradients of weights then lie in memory as the weights do, and need not be transposed,
    which would take as long as to compute them. Besides, many points on one input become a single product.
    """
    x_BI, weight_OI, bias_O = input, weight, bias
    y_BO = torch.matmul(weight_OI, x_BI.mT).mT
    return y_BO if bias_O is None else y_BO + bias_O


def _split(skeleton: nn.Module) -> tuple[nn.Module | None, nn.Module]:
    """A chain up to its first layer, which is linear in its weights, and the rest; None where either has no weights."""
    if isinstance(skeleton, nn.Sequential):
        for index, module in enumerate(skeleton):
            if isinstance(module, WEIGHT_LAYERS) and skeleton[index + 1 :].state_dict():
                return skeleton[: index + 1], skeleton[index + 1 :]
            if not isinstance(module, nn.Flatten):
                break
    return None, skeleton

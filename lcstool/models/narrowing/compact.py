"""Drop the units that pruning left without a use; the network then is smaller and computes the same function.

A dead unit has only zero incoming weights: after batch norm, activation and pooling its output is the same for every
image, and that constant can be added to the biases (or running means) of the layers that it feeds. A silent unit has
only zero outgoing weights. Dropping one kind makes more of the other, so this repeats until nothing changes. Layers on
images lose whole channels; where only dense layers follow, `flatten` makes them output vectors that lose single units.
"""

import copy
from collections import Counter
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from lcstool.errors import BadInputError
from lcstool.models.layers.parameters import count_parameters
from lcstool.models.narrowing.flatten import flatten_layers, worth_flattening
from lcstool.models.narrowing.widths import in_channels, narrow_modules, narrowed, weight_by_channel
from lcstool.models.spec import ModelSpec
from lcstool.models.wiring.probe import Layer, Norm, Stub, stubbed
from lcstool.models.wiring.units import find_wiring
from lcstool.models.wiring.zeros import dead_units, used_inputs

# Shape suffixes: O output channels of a layer, P Q its output positions (none for linear layers), L = P * Q or 1.

_SAME = 1e-12  # values whose relative spread over positions is below this count as equal


@dataclass(frozen=True, kw_only=True)
class CompactLayer:
    """What became of one layer's channels; the channels of a linear layer are its units.

    Attributes:
        num_before: Channels of the network given.
        num_kept: Channels left.
        num_dead: Channels dropped all of whose units were dead.
        num_silent: Other channels dropped: each of their units was silent or dead.
        kept: How many channels without a use had to stay, for each reason.
        fixed: Why the layer could not lose any channel, if it could not.
    """

    num_before: int
    num_kept: int
    num_dead: int
    num_silent: int
    kept: dict[str, int]
    fixed: str | None


@dataclass(frozen=True, kw_only=True)
class CompactResult:
    """The smaller network.

    Attributes:
        spec: Describes the model.
        model: On the CPU, in the dtypes and mode (training or evaluation) of the one given.
        layers: What became of each layer, in forward order.
        num_parameters_before, num_parameters_after: As the papers count them.
    """

    spec: ModelSpec
    model: nn.Module
    layers: dict[str, CompactLayer]
    num_parameters_before: int
    num_parameters_after: int


@torch.no_grad()
def compact(model: nn.Module, spec: ModelSpec) -> CompactResult:
    """Drop dead and silent units. The network computes the same in evaluation mode, but not in training mode.

    Args:
        model: The pruned network; it is left as it is.
        spec: Describes the model, which may have been made narrower already.

    Raises:
        BadInputError: no layer's width can change (naming one), or a batch norm has no running statistics.
    """
    small = copy.deepcopy(model).cpu().eval()
    flat = worth_flattening(small, spec.in_shape)
    flatten_layers(small, spec.in_shape, flat)
    work = _Compaction(small, spec.in_shape)
    while sum(work.drop_from(name) for name in work.free):
        work.find_silent()
    widths = dict(spec.widths) | {name: len(kept) for name, kept in work.kept().items()}
    flattened = tuple(sorted({*spec.flattened, *flat}))
    work.cut()
    return CompactResult(
        spec=replace(spec, flattened=flattened, widths=tuple(sorted(widths.items()))),
        model=small.train(model.training),
        layers=work.report(),
        num_parameters_before=count_parameters(model),
        num_parameters_after=count_parameters(small),
    )


class _Compaction:
    """Works on a network in place: a dropped channel gets zero weights on both sides, and all are cut out at the end.

    Until then biases and running means are float64, since constants are added to them again and again.
    """

    def __init__(self, model: nn.Module, in_shape: tuple[int, int, int]) -> None:
        self.model, self.in_shape = model, in_shape
        self.dtypes = {name: tensor.dtype for name, tensor in model.state_dict().items()}
        self.wiring = find_wiring(model, in_shape)
        self.layers: dict[str, Layer] = {}
        self.norms: dict[str, Norm] = {}
        for name, module in self.model.named_modules():
            if isinstance(module, Layer) and name in self.wiring.in_shapes:
                self.layers[name] = module
                module.weight.data = module.weight.data.contiguous()
                if module.bias is not None:
                    module.bias.data = module.bias.data.double()
            elif isinstance(module, Norm):
                if module.running_mean is None:
                    raise BadInputError(f"batch norm {name!r} has no running statistics")
                self.norms[name] = module.double()
        fixed = self.wiring.fixed
        self.free = [name for name in self.layers if name not in fixed]
        blocked = [name for name in fixed if name not in self.wiring.outputs]
        if not self.free and blocked:
            raise BadInputError(f"no layer can be made smaller; not {blocked[0]!r}, as {fixed[blocked[0]]}")
        channels = {name: self.wiring.out_shapes[name][0] for name in self.layers}
        self.alive = {name: torch.ones(count, dtype=torch.bool) for name, count in channels.items()}
        self.dropped = {name: Counter[str]() for name in self.layers}
        self.reasons: dict[str, dict[int, str]] = {name: {} for name in self.layers}
        self.find_silent()

    def find_silent(self) -> None:
        """Find the units that feed only zero weights now."""
        used = {name: used_inputs(layer) for name, layer in self.layers.items()}
        silent = self.wiring.silent_units(used)
        self.silent_OL = {name: units.view(len(units), -1) for name, units in silent.items()}

    def drop_from(self, name: str) -> int:
        """Drop the channels of one layer that can go; returns how many went."""
        dead_OL, silent_OL = dead_units(self.layers[name]), self.silent_OL[name]
        idle = (dead_OL | silent_OL).all(dim=1) & self.alive[name]
        self.reasons[name] = {}
        if not idle.any():
            return 0
        constants, num_before = self._constants(), int(self.alive[name].sum())
        for channel in reversed(idle.nonzero().flatten().tolist()):
            if self.alive[name].sum() == 1:
                self.reasons[name][channel] = "a layer keeps one unit"
                break
            reason = None if silent_OL[channel].all() else self._move_constant(name, channel, constants)
            if reason is not None:
                self.reasons[name][channel] = reason
                continue
            self._drop(name, channel)
            self.dropped[name]["dead" if dead_OL[channel].all() else "silent"] += 1
        return num_before - int(self.alive[name].sum())

    def _constants(self) -> dict[str, Tensor]:
        """Each layer's input if all weights were zero. The inputs that come from dead units have these values now."""
        inputs: dict[str, Tensor] = {}

        def stub(name: str) -> Stub:
            layer, shape = self.layers[name], self.wiring.out_shapes[name]

            def biases(x: Tensor) -> Tensor:
                inputs[name] = x.clone()
                y = torch.zeros(shape, dtype=torch.float64)
                if layer.bias is not None:
                    y += layer.bias.view((-1, 1, 1) if isinstance(layer, nn.Conv2d) else shape)
                return y[None]

            return biases

        with stubbed(self.model, {name: stub(name) for name in self.layers}):
            self.model(torch.zeros(1, *self.in_shape, dtype=torch.float64))
        return inputs

    def _move_constant(self, name: str, channel: int, constants: dict[str, Tensor]) -> str | None:
        """Move what a dead channel adds to its consumers into their biases or batch norms; says why if it cannot."""
        moves: list[tuple[Tensor, Tensor]] = []
        for consumer in self.wiring.consumers[name]:
            layer, channels = self.layers[consumer], in_channels(self.wiring, consumer)
            one = narrowed(layer, channels, ins=torch.tensor([channel]))
            one.bias = None
            constant = constants[consumer].unflatten(1, (channels, -1))[:, channel]
            added = one.double()(constant)[0]
            if not added.any():
                continue
            move = self._place_for(consumer, added)
            if isinstance(move, str):
                return move
            moves.append(move)
        for target, added in moves:
            target += added
        return None

    def _place_for(self, name: str, added: Tensor) -> tuple[Tensor, Tensor] | str:
        """The tensor to change, and by what, so that a layer's output grows by `added`; else why there is none.

        `added` is (O,), or (O, P, Q) on images; if positions share the tensor, it must be equal at all of them.
        """
        places: list[tuple[Tensor, int]] = []
        bias, norm = self.layers[name].bias, self.wiring.norms[name]
        if bias is not None:
            places.append((bias.data, 1))
        if norm is not None and name in self.wiring.norm_only:
            mean = self.norms[norm].running_mean
            assert mean is not None
            places.append((mean, -1))
        for tensor, sign in places:
            if tensor.numel() == added.numel():
                return tensor, sign * added.reshape(tensor.shape)
            added_OL = added.flatten(1)
            spread = added_OL.amax(dim=1) - added_OL.amin(dim=1)
            if bool((spread <= _SAME * added_OL.abs().amax(dim=1)).all()):
                return tensor, sign * added_OL.mean(dim=1)
        if not places:
            return f"{name} has nothing to add its constant to"
        return f"its constant differs between the positions of {name}, which share what is added"

    def _drop(self, name: str, channel: int) -> None:
        """Take a channel out: set all weights to it and from it to zero."""
        view, out_axis, _ = weight_by_channel(self.layers[name], in_channels(self.wiring, name))
        view.select(out_axis, channel).zero_()
        for consumer in self.wiring.consumers[name]:
            view, _, in_axis = weight_by_channel(self.layers[consumer], in_channels(self.wiring, consumer))
            view.select(in_axis, channel).zero_()
        self.alive[name][channel] = False

    def kept(self) -> dict[str, Tensor]:
        """The channels left of each layer that lost some."""
        return {name: alive.nonzero().flatten() for name, alive in self.alive.items() if not alive.all()}

    def cut(self) -> None:
        """Cut the dropped channels out of the network, and give its tensors the dtypes that they came with."""
        narrow_modules(self.model, self.wiring, self.kept())
        state = {name: tensor.to(self.dtypes[name]) for name, tensor in self.model.state_dict().items()}
        self.model.load_state_dict(state, assign=True)

    def report(self) -> dict[str, CompactLayer]:
        return {
            name: CompactLayer(
                num_before=len(self.alive[name]),
                num_kept=int(self.alive[name].sum()),
                num_dead=self.dropped[name]["dead"],
                num_silent=self.dropped[name]["silent"],
                kept=dict(Counter(self.reasons[name].values())),
                fixed=self.wiring.fixed.get(name),
            )
            for name in self.wiring.in_shapes
        }

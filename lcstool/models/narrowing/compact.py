"""A smaller network that computes the same function: without the units that pruning left with nothing to do.

A dead unit has only zero incoming weights, so that what it gives after norm, activation and pooling is the same
for every image; that constant can move into whatever its consumers add anyhow. A silent unit has only zero
outgoing weights. Dropping the one kind makes more of the other, so it goes on until nothing changes. Units on
images go by whole channels, since the image stays an image; where only dense layers listen, the image is given up
and units go one by one.
"""

import copy
from collections import Counter
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from lcstool.errors import BadInputError
from lcstool.models.build import count_parameters, empty_model
from lcstool.models.narrowing.flatten import worth_flattening
from lcstool.models.narrowing.widths import in_channels, narrow_modules, narrowed, weight_by_channel
from lcstool.models.spec import ModelSpec
from lcstool.models.wiring.probe import Answer, Layer, Norm, answered
from lcstool.models.wiring.units import find_wiring
from lcstool.models.wiring.zeros import dead_units, used_inputs

# Shape suffixes: O output channels of a layer, P Q its output positions (absent for linear layers), L = P * Q or 1.

_SAME = 1e-12  # relative spread below which what a layer adds is the same at all positions
_LAST = "a layer keeps one unit"


@dataclass(frozen=True)
class CompactLayer:
    """What became of one layer's channels (units, of a linear layer).

    Attributes:
        num_before: Channels of the network given.
        num_kept: Channels left.
        num_dead: Dropped: all units dead (or silent too).
        num_silent: Dropped: all units silent, or some dead and all others silent.
        kept: Why channels that could have gone did not, and how many for each reason.
        fixed: Why none of its channels could go, if so.
    """

    num_before: int
    num_kept: int
    num_dead: int
    num_silent: int
    kept: dict[str, int]
    fixed: str | None


@dataclass(frozen=True)
class CompactResult:
    """The smaller network.

    Attributes:
        spec: It rebuilds the model.
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
    """Drop dead and silent units; the function in evaluation mode stays, the one in training mode does not.

    Args:
        model: The pruned network, left as it is.
        spec: It rebuilds the model; may be narrowed already.

    Raises:
        BadInputError: if the wiring lets no layer's width change, naming one; or a batch norm has no statistics.
    """
    flat = worth_flattening(model, spec.in_shape)
    spec = replace(spec, flattened=tuple(sorted({*spec.flattened, *flat})))
    if flat:
        given, model = model, empty_model(spec)
        model.load_state_dict(given.state_dict(), assign=True)
        model.train(given.training)
    work = _Compaction(model, spec)
    while sum(work.drop_from(name) for name in work.free):
        work.find_silent()
    widths = dict(spec.widths) | {name: len(kept) for name, kept in work.kept().items()}
    small_spec = replace(spec, widths=tuple(sorted(widths.items())))
    small = empty_model(small_spec)
    small.load_state_dict(work.state_dict(), assign=True)
    return CompactResult(
        small_spec,
        small.train(model.training),
        work.report(),
        count_parameters(model),
        count_parameters(small),
    )


class _Compaction:
    """A copy of the network in which dropped channels have zero weights on both sides; it is cut at the end.

    Biases and running means are in float64 meanwhile, since constants gather in them.
    """

    def __init__(self, model: nn.Module, spec: ModelSpec) -> None:
        self.in_shape = spec.in_shape
        self.dtypes = {name: tensor.dtype for name, tensor in model.state_dict().items()}
        self.model = copy.deepcopy(model).cpu().eval()
        self.wiring = find_wiring(self.model, spec.in_shape)
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
                    raise BadInputError(
                        f"batch norm {name!r} has no running statistics, so no fixed function"
                    )
                self.norms[name] = module.double()
        fixed, outputs = self.wiring.fixed, self.wiring.outputs
        self.free = [name for name in self.layers if name not in fixed]
        blocked = [name for name in fixed if name not in outputs]
        if not self.free and blocked:
            raise BadInputError(f"no layer can be made smaller; {blocked[0]!r} not, as {fixed[blocked[0]]}")
        shapes = self.wiring.out_shapes
        self.alive = {name: torch.ones(shapes[name][0], dtype=torch.bool) for name in self.layers}
        self.dropped = {name: Counter[str]() for name in self.layers}
        self.reasons: dict[str, dict[int, str]] = {name: {} for name in self.layers}
        self.find_silent()

    def find_silent(self) -> None:
        """Which units feed only zero weights now."""
        used = {name: used_inputs(layer) for name, layer in self.layers.items()}
        silent = self.wiring.silent_units(used)
        self.silent_OL = {name: units.view(len(units), -1) for name, units in silent.items()}

    def drop_from(self, name: str) -> int:
        """Drop what can go from one layer; how many channels went."""
        dead_OL, silent_OL = dead_units(self.layers[name]), self.silent_OL[name]
        idle = (dead_OL | silent_OL).all(dim=1) & self.alive[name]
        self.reasons[name] = {}
        if not idle.any():
            return 0
        constants, num_before = self._constants(), int(self.alive[name].sum())
        for channel in reversed(idle.nonzero().flatten().tolist()):
            if self.alive[name].sum() == 1:
                self.reasons[name][channel] = _LAST
                break
            reason = None if silent_OL[channel].all() else self._move_constant(name, channel, constants)
            if reason is not None:
                self.reasons[name][channel] = reason
                continue
            self._drop(name, channel)
            self.dropped[name]["dead" if dead_OL[channel].all() else "silent"] += 1
        return num_before - int(self.alive[name].sum())

    def _constants(self) -> dict[str, Tensor]:
        """What each layer's input would be if all weights were zero: where units are dead, what it is."""
        met: dict[str, Tensor] = {}

        def answer(name: str) -> Answer:
            layer, shape = self.layers[name], self.wiring.out_shapes[name]

            def biases(x: Tensor) -> Tensor:
                met[name] = x.clone()
                y = torch.zeros(shape, dtype=torch.float64)
                if layer.bias is not None:
                    y += layer.bias.view((-1, 1, 1) if isinstance(layer, nn.Conv2d) else shape)
                return y[None]

            return biases

        with answered(self.model, {name: answer(name) for name in self.layers}):
            self.model(torch.zeros(1, *self.in_shape, dtype=torch.float64))
        return met

    def _move_constant(self, name: str, channel: int, constants: dict[str, Tensor]) -> str | None:
        """Give what a channel always adds in its consumers to their biases or norms; why not, if that fails."""
        moves: list[tuple[Tensor, Tensor]] = []
        for consumer in self.wiring.consumers[name]:
            layer, channels = self.layers[consumer], in_channels(self.wiring, consumer)
            one = narrowed(layer, channels, ins=torch.tensor([channel]))
            one.bias = None
            met = constants[consumer].unflatten(1, (channels, -1))[:, channel]
            added = one.double()(met)[0]
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
        """What to add to which tensor so that a layer gives `added` more, (O,) or (O, P, Q); else why there is none."""
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
        """Take a channel out: no weight to it, none from it."""
        view, out_axis, _ = weight_by_channel(self.layers[name], in_channels(self.wiring, name))
        view.select(out_axis, channel).zero_()
        for consumer in self.wiring.consumers[name]:
            view, _, in_axis = weight_by_channel(self.layers[consumer], in_channels(self.wiring, consumer))
            view.select(in_axis, channel).zero_()
        self.alive[name][channel] = False

    def kept(self) -> dict[str, Tensor]:
        """The channels left of each layer that lost some."""
        return {name: alive.nonzero().flatten() for name, alive in self.alive.items() if not alive.all()}

    def state_dict(self) -> dict[str, Tensor]:
        """The tensors of the small network, in the dtypes of the one given."""
        narrow_modules(self.model, self.wiring, self.kept())
        return {name: tensor.to(self.dtypes[name]) for name, tensor in self.model.state_dict().items()}

    def report(self) -> dict[str, CompactLayer]:
        return {
            name: CompactLayer(
                len(self.alive[name]),
                int(self.alive[name].sum()),
                self.dropped[name]["dead"],
                self.dropped[name]["silent"],
                dict(Counter(self.reasons[name].values())),
                self.wiring.fixed.get(name),
            )
            for name in self.wiring.in_shapes
        }

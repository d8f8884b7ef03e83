"""Which units of a network feed which inputs of which layers, whatever its weights are.

The gradient of one layer's input with respect to another layer's output shows which of its units arrive there, through
pooling, shortcuts and flattening. No architecture is described by hand.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lcstool.models.layers.geometry import ConvGeometry
from lcstool.models.wiring.probe import IMAGE, Layer, Probe, depends

# Shape suffixes: D inputs of a layer, flat.


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """What feeds what. Layers that the network never runs are left out.

    Attributes:
        in_shapes, out_shapes: Shapes of each layer's input and output for one image: (C, H, W) and (O, P, Q), or (D,)
            and (O,).
        producers: The layers that feed each layer; none feed the first.
        consumers: The layers that each layer feeds.
        outputs: The layers that feed the network's output.
        norms: The batch norm that directly follows each layer, None where none does.
        norm_only: The layers whose output goes nowhere but into that batch norm.
        not_plain: Why a layer is not plain. The inputs of a plain layer are the outputs of exactly one other layer,
            channel by channel.
        fixed: Why a layer's number of channels cannot change, for the layers where it cannot.
    """

    in_shapes: dict[str, tuple[int, ...]]
    out_shapes: dict[str, tuple[int, ...]]
    producers: dict[str, tuple[str, ...]]
    consumers: dict[str, tuple[str, ...]]
    outputs: tuple[str, ...]
    norms: dict[str, str | None]
    norm_only: frozenset[str]
    not_plain: dict[str, str]
    fixed: dict[str, str]
    _probe: Probe = field(repr=False, compare=False)

    def is_plain(self, consumer: str) -> bool:
        """Whether exactly one layer feeds this one, and its channels are equal blocks of the inputs, in order."""
        return bool(self.producers[consumer]) and consumer not in self.not_plain

    @torch.enable_grad()
    def silent_units(self, used_inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The units that feed neither a used input of some layer nor the network's output.

        Args:
            used_inputs: For every layer, which of its inputs it has a non-zero weight on: bool, one element for each
                input, or one for each channel.

        Returns:
            For every layer a bool tensor of its output's shape, (O,) or (O, P, Q).

        Raises:
            ValueError: for a layer with another number of inputs.
        """
        # Weighted, since the plain sum can be constant: linear-cnn outputs 1 - f and f.
        output = self._probe.output
        total = (
            output * torch.arange(1, output.shape[1] + 1, dtype=output.dtype, device=output.device)
        ).sum()
        for name, x in self._probe.inputs.items():
            used = used_inputs[name]
            if used.numel() not in (x.numel(), x.shape[1]):
                raise ValueError(f"{name}: {used.numel()} marks for inputs of {tuple(x.shape[1:])}")
            total = total + (x.reshape(used.numel(), -1) * used.reshape(-1, 1).to(x.device)).sum()
        arriving = self._probe.arriving(total)
        return {
            name: arriving[name][0] == 0 if name in arriving else torch.ones(shape, dtype=torch.bool)
            for name, shape in self.out_shapes.items()
        }


@torch.enable_grad()
def find_wiring(
    model: nn.Module, in_shape: tuple[int, int, int], device: torch.device | str = "cpu"
) -> Wiring:
    """Run the model once with stubs in place of its layers (`probe`), and read the wiring off the gradients.

    Args:
        model: On any device, the meta device included; it is left as it was.
        in_shape: Channels, height, width of the input.
        device: Where to run. "meta" takes no memory, but cannot follow single channels: some layers may be missing
            in `not_plain`, and `silent_units` does not work.

    Raises:
        BadInputError: if the network does not run on such images, runs a layer twice, or has parameters outside
            linear, convolutional, locally-connected and batch-norm layers; the message names the layer.
    """
    probe = Probe(model, in_shape, device)
    inputs = probe.inputs
    out_shapes = {name: tuple(ones[0].shape[1:]) for name, ones in probe.ones.items()}
    producers = {name: tuple(probe.arriving(x.sum())) for name, x in inputs.items()}
    consumers = {name: tuple(other for other in inputs if name in producers[other]) for name in inputs}
    outputs = tuple(probe.arriving(probe.output.sum()))
    not_plain = {}
    for name, feeding in producers.items():
        others = (IMAGE,) if depends(inputs[name].sum(), probe.image) else ()
        if feeding and len(feeding) + len(others) > 1:
            not_plain[name] = f"{name} is fed by {', '.join(feeding + others)} together"
        elif feeding and not _is_by_channel(probe, name, feeding[0]):
            not_plain[name] = f"{name} does not take the channels of {feeding[0]} one by one"
    loose = {layer: norm for norm, x in probe.loose.items() for layer in probe.arriving(x.sum())}
    fixed = {}
    for name in inputs:
        reasons = ["its outputs are the network's"] if name in outputs else []
        reasons += [not_plain[other] for other in consumers[name] if other in not_plain]
        grouped = [other for other in (name, *consumers[name]) if num_groups(probe.layers[other]) > 1]
        reasons += [f"{other} is a grouped convolution" for other in grouped]
        if name in loose:
            reasons.append(f"batch norm {loose[name]} does not directly follow it")
        if reasons:
            fixed[name] = reasons[0]
    total = sum((x.sum() for x in inputs.values()), probe.output.sum())
    return Wiring(
        in_shapes={name: tuple(x.shape[1:]) for name, x in inputs.items()},
        out_shapes=out_shapes,
        producers=producers,
        consumers=consumers,
        outputs=outputs,
        norms={name: probe.following.get(name) for name in inputs},
        norm_only=frozenset(name for name in probe.following if not depends(total, probe.ones[name][0])),
        not_plain=not_plain,
        fixed=fixed,
        _probe=probe,
    )


def _is_by_channel(probe: Probe, consumer: str, producer: str) -> bool:
    """Whether a consumer's inputs are equal blocks, one for each channel of the producer, each fed by that channel.

    A unit of channel c feeds only block c if and only if the numbers of the blocks that it feeds have mean c and no
    spread: three gradients tell, for all units at once.
    """
    x = probe.inputs[consumer]
    channels = probe.ones[producer][0].shape[1]
    if x.numel() % channels or (x.ndim > 2 and x.shape[1] != channels):
        return False
    if x.is_meta:
        return True
    own = torch.arange(channels, dtype=x.dtype)
    block_D = own.repeat_interleave(x.numel() // channels)
    zeroth, first, second = (
        probe.arriving((x.flatten() * block_D**power).sum())[producer].reshape(channels, -1)
        for power in (0, 1, 2)
    )
    spread = second - 2 * own[:, None] * first + own[:, None].square() * zeroth
    return bool((spread <= 1e-6 * zeroth).all())


def num_groups(layer: Layer) -> int:
    """Groups of a convolution, embedded or not; 1 for any other layer."""
    geometry = getattr(layer, "geometry", None)
    groups = geometry.groups if isinstance(geometry, ConvGeometry) else getattr(layer, "groups", 1)
    return int(groups)

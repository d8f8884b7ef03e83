"""Which units feed which layer's inputs, for any network of the registry and without its weights.

The gradient of a layer's input with respect to what another layer gave says which of its units arrive where,
through pooling, shortcuts and flattening alike. No architecture is written down by hand.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lcstool.models.layers.geometry import ConvGeometry
from lcstool.models.wiring.probe import Layer, Probe, depends

# Shape suffixes: D inputs of a layer, flat.


@dataclass(frozen=True)
class Wiring:
    """What feeds what. Layers that the network never runs do not occur.

    Attributes:
        in_shapes, out_shapes: Of one image at each layer: (C, H, W) and (O, P, Q), or (D,) and (O,).
        producers: The layers that feed each layer; none feed the first.
        consumers: The layers that each layer feeds.
        outputs: The layers that feed the network's output.
        norms: The batch norm that directly follows each layer, None where none does.
        norm_only: The layers whose output goes nowhere but into that batch norm.
        not_plain: The layers whose inputs are not those of exactly one layer, channel by channel, and why.
        fixed: The layers whose number of channels cannot change, and why.
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
        """Whether exactly one layer feeds this one, each of its channels one block of the inputs, in order."""
        return bool(self.producers[consumer]) and consumer not in self.not_plain

    @torch.enable_grad()
    def silent_units(self, used_inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The units that reach no used input of any layer and not the network's output.

        Args:
            used_inputs: For every layer, which of its inputs it has a non-zero weight on: bool, with as many
                elements as one image has there, or one a channel.

        Returns:
            For every layer a bool tensor of its output's shape, (O,) or (O, P, Q).

        Raises:
            ValueError: for a layer with another number of inputs.
        """
        # Weighted, since outputs may have one constant sum (1 - f and f).
        output = self._probe.output
        total = (
            output * torch.arange(1, output.shape[1] + 1, dtype=output.dtype, device=output.device)
        ).sum()
        for name, met in self._probe.inputs.items():
            used = used_inputs[name]
            if used.numel() not in (met.numel(), met.shape[1]):
                raise ValueError(f"{name}: {used.numel()} marks for inputs of {tuple(met.shape[1:])}")
            total = total + (met.reshape(used.numel(), -1) * used.reshape(-1, 1).to(met.device)).sum()
        arriving = self._probe.arriving(total)
        return {
            name: arriving[name][0] == 0 if name in arriving else torch.ones(shape, dtype=torch.bool)
            for name, shape in self.out_shapes.items()
        }


@torch.enable_grad()
def find_wiring(
    model: nn.Module, in_shape: tuple[int, int, int], device: torch.device | str = "cpu"
) -> Wiring:
    """Run the model once on ones, with all weight layers and batch norms answered for.

    Args:
        model: On any device, the meta device included; it is left as it was.
        in_shape: Channels, height, width of the input.
        device: Where to run. On "meta" nothing is stored, but then channels are not traced one by one
            (`not_plain` may lack some layers) and there are no `silent_units`.

    Raises:
        BadInputError: if the network does not run on such images, runs a layer twice, or has parameters outside
            linear, convolutional, locally-connected and batch-norm layers; the message names the layer.
    """
    probe = Probe(model, in_shape, device)
    met = probe.inputs
    out_shapes = {name: tuple(given[0].shape[1:]) for name, given in probe.ones.items()}
    producers = {name: tuple(probe.arriving(x.sum())) for name, x in met.items()}
    consumers = {name: tuple(other for other in met if name in producers[other]) for name in met}
    outputs = tuple(probe.arriving(probe.output.sum()))
    not_plain = {}
    for name, feeding in producers.items():
        others = ("the image",) if depends(met[name].sum(), probe.image) else ()
        if feeding and len(feeding) + len(others) > 1:
            not_plain[name] = f"{name} is fed by {', '.join(feeding + others)} together"
        elif feeding and not _is_by_channel(probe, name, feeding[0]):
            not_plain[name] = f"{name} does not take the channels of {feeding[0]} one by one"
    loose = {layer: norm for norm, x in probe.loose.items() for layer in probe.arriving(x.sum())}
    fixed = {}
    for name in met:
        reasons = ["its outputs are the network's"] if name in outputs else []
        reasons += [not_plain[other] for other in consumers[name] if other in not_plain]
        grouped = [other for other in (name, *consumers[name]) if _is_grouped(probe.layers[other])]
        reasons += [f"{other} is a grouped convolution" for other in grouped]
        if name in loose:
            reasons.append(f"batch norm {loose[name]} does not directly follow it")
        if reasons:
            fixed[name] = reasons[0]
    total = sum((x.sum() for x in met.values()), probe.output.sum())
    return Wiring(
        {name: tuple(x.shape[1:]) for name, x in met.items()},
        out_shapes,
        producers,
        consumers,
        outputs,
        {name: probe.following.get(name) for name in met},
        frozenset(name for name in probe.following if not depends(total, probe.ones[name][0])),
        not_plain,
        fixed,
        probe,
    )


def _is_by_channel(probe: Probe, consumer: str, producer: str) -> bool:
    """Whether a consumer's inputs are as many equal blocks as the producer has channels, each fed by its own.

    A unit of channel c feeds only block c if and only if the blocks that it feeds have mean c and spread 0.
    """
    met = probe.inputs[consumer]
    channels = probe.ones[producer][0].shape[1]
    if met.numel() % channels or (met.ndim > 2 and met.shape[1] != channels):
        return False
    if met.is_meta:
        return True
    own = torch.arange(channels, dtype=met.dtype)
    block_D = own.repeat_interleave(met.numel() // channels)
    zeroth, first, second = (
        probe.arriving((met.flatten() * block_D**power).sum())[producer].reshape(channels, -1)
        for power in (0, 1, 2)
    )
    spread = second - 2 * own[:, None] * first + own[:, None].square() * zeroth
    return bool((spread <= 1e-6 * zeroth).all())


def _is_grouped(layer: Layer) -> bool:
    geometry = getattr(layer, "geometry", None)
    groups = geometry.groups if isinstance(geometry, ConvGeometry) else getattr(layer, "groups", 1)
    return bool(groups > 1)

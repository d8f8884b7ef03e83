"""The tensors of an embedded network, made from those of the network that it equals.

Ref: d'Ascoli et al. 2019 (arXiv 1906.06766), section 3.
"""

from torch import Tensor, nn

from lcstool.checkpoint import CsrTensor, StreamedTensor
from lcstool.errors import BadInputError
from lcstool.models.embedding.modules import folding_layer, takes_part
from lcstool.models.embedding.phi import csr_matrix, dense_matrix, filters_of
from lcstool.models.embedding.support import convolution_support
from lcstool.models.layers.geometry import ConvGeometry
from lcstool.models.layers.local import LocallyConnected2d, UnitBatchNorm2d
from lcstool.models.spec import Embedding
from lcstool.models.wiring.trace import Trace

AnyTensor = Tensor | StreamedTensor | CsrTensor

# Shape suffixes: O output channels, L output positions (or 1 where they share), K weights of a filter.


def embedded_tensors(
    model: nn.Module,
    found: Trace,
    embedding: Embedding,
    storage: str = "dense",
    merged: Embedding | None = None,
) -> dict[str, AnyTensor]:
    """The state of the embedded network; large matrices are made only while they are written.

    Args:
        model: The network with its weights, on the CPU.
        found: Its trace.
        embedding: Which layers to embed, and how.
        storage: `dense`, `csr` or `auto` (the smaller), for the fully-connected layers' matrices.
        merged: Where some layers are embedded already: the embedding of all of them, which decides the batch norms.

    Raises:
        BadInputError: naming a layer that cannot be embedded so.
    """
    tensors: dict[str, AnyTensor] = dict(model.state_dict())
    norms = {name: found.norms[name] for name in found.norms if takes_part(name, found, merged or embedding)}
    scales: dict[str, Tensor] = {}
    for name, norm in norms.items():
        module = model.get_submodule(name)
        assert isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
        own = [key for key in tensors if key.rpartition(".")[0] == name]
        if embedding.norm == "folded":
            for key in own:
                del tensors[key]
            target = folding_layer(name, norm)
            layer = model.get_submodule(target)
            scales[target], tensors[f"{target}.bias"] = _fold(module, layer, norm.in_shape)
        elif embedding.norm == "units" and not isinstance(module, UnitBatchNorm2d):
            _, height, width = norm.in_shape
            for key in own:
                value = tensors[key]
                assert isinstance(value, Tensor)
                if value.ndim == 1:
                    tensors[key] = value.repeat_interleave(height * width)
    for name, connectivity in embedding.layers:
        layer, geometry = model.get_submodule(name), found.layers[name]
        filters_OLK = filters_of(layer, scales.get(name))
        bias = tensors.get(f"{name}.bias")
        if isinstance(bias, Tensor) and bias.ndim == 1 and name not in scales:
            bias = bias[:, None, None].expand(geometry.out_shape).contiguous()
        if connectivity == "local":
            tensors[f"{name}.weight"] = _local_weight(filters_OLK, geometry)
        else:
            support = convolution_support(geometry, embedding.pad_inputs, found.padding_modes[name])
            matrix: StreamedTensor | CsrTensor = dense_matrix(support, filters_OLK)
            if storage != "dense":
                compressed = csr_matrix(support, filters_OLK)
                if storage == "csr" or compressed.num_bytes < matrix.num_bytes:
                    matrix = compressed
            tensors[f"{name}.weight"] = matrix
        if isinstance(bias, Tensor):
            tensors[f"{name}.bias"] = (
                bias.flatten() if connectivity == "fc" else bias.view(geometry.out_shape)
            )
    return tensors


def _local_weight(filters_OLK: Tensor, geometry: ConvGeometry) -> Tensor:
    """The filters as a local layer's weight, (P, Q, O, C / groups, I, J), copied to every position."""
    channels, height, width = geometry.out_shape
    weight_LOK = filters_OLK.transpose(0, 1).expand(height * width, -1, -1)
    in_channels = geometry.in_shape[0] // geometry.groups
    return weight_LOK.reshape(height, width, channels, in_channels, *geometry.kernel_size).contiguous()


def _fold(
    norm: nn.BatchNorm1d | nn.BatchNorm2d, layer: nn.Module, shape: tuple[int, int, int]
) -> tuple[Tensor, Tensor]:
    """What replaces a batch norm: the scale of each filter, (O, L or 1), and the bias of each unit, (O, P, Q)."""
    if norm.running_mean is None or norm.running_var is None:
        raise BadInputError("a batch norm without running statistics has no fixed function to fold")
    channels, height, width = shape
    positions = len(norm.running_mean) // channels  # 1 over channels, height * width over units
    scale = 1 / (norm.running_var.detach().double() + norm.eps).sqrt()
    shift = -norm.running_mean.detach().double() * scale
    if norm.affine:
        scale, shift = scale * norm.weight.detach().double(), shift * norm.weight.detach().double()
        shift = shift + norm.bias.detach().double()
    scale_OL, shift_OL = scale.view(channels, positions), shift.view(channels, positions)
    bias = layer.bias
    if isinstance(bias, Tensor):
        own_OL = bias.detach().double().view(channels, -1) if isinstance(layer, LocallyConnected2d) else (
            bias.detach().double()[:, None]
        )  # fmt: skip
        shift_OL = shift_OL + own_OL * scale_OL
    weight = layer.weight
    assert isinstance(weight, Tensor)
    bias_OL = shift_OL.expand(-1, height * width).to(weight.dtype)
    return scale_OL.to(weight.dtype), bias_OL.reshape(channels, height, width)


def convolution_layers(model: nn.Module, found: Trace) -> dict[str, str]:
    """The layers that can be embedded, and their present connectivity: `conv` or `local`."""
    kinds: dict[str, str] = {}
    for name in found.layers:
        module = model.get_submodule(name)
        if isinstance(module, nn.Conv2d):
            kinds[name] = "conv"
        elif isinstance(module, LocallyConnected2d):
            kinds[name] = "local"
    return kinds

"""Weights that a network computes from other tensors (weight norm, spectral norm, orthogonal, ...), made plain.

torch itself computes them, so that whatever a parametrization does, the plain network has the same weights.
"""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.utils import parametrize, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm, SpectralNormLoadStateDictPreHook
from torch.nn.utils.weight_norm import WeightNorm


def compose(model: nn.Module) -> None:
    """Replace every computed weight by its value, in place; of a network on the meta device by its shape.

    The network should be in evaluation mode: spectral norm changes its vectors whenever it is used in training.
    """
    for module in list(model.modules()):
        hooks = [
            hook for hook in module._forward_pre_hooks.values() if isinstance(hook, WeightNorm | SpectralNorm)
        ]
        is_parametrized = parametrize.is_parametrized(module)
        if not hooks and not is_parametrized:
            continue
        if any(parameter.is_meta for parameter in module.parameters()):
            module.to("meta")
        for hook in hooks:
            (remove_weight_norm if isinstance(hook, WeightNorm) else remove_spectral_norm)(module, hook.name)
        for number, wrapped in list(module._load_state_dict_pre_hooks.items()):
            if isinstance(getattr(wrapped, "hook", wrapped), SpectralNormLoadStateDictPreHook):
                del module._load_state_dict_pre_hooks[number]  # torch leaves it there, looking for the parts
        if is_parametrized:
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)


def composed_state(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The plain weights of a network from the tensors that it computes them from.

    Args:
        model: The network with its parametrizations; its parameters may be on the meta device. It is changed.
        state: All tensors of its state dict.
    """
    versions = model.state_dict()
    versions.update(state)
    model.load_state_dict(versions, assign=True)
    compose(model.eval())
    return dict(model.state_dict())

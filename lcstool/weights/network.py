"""The network of one's own or of a library that a file's weights belong to."""

from torch import nn

from lcstool.checkpoint import Checkpoint
from lcstool.models import ModelSpec
from lcstool.models.arguments import ModelArgs
from lcstool.models.foreign import build_foreign, foreign_spec, takes_parts
from lcstool.weights.effective import as_used


def described_network(
    checkpoint: Checkpoint, arch: str, in_shape: tuple[int, int, int], model_args: ModelArgs
) -> tuple[ModelSpec, nn.Module]:
    """Build a network and give it a file's weights.

    A network whose own layers keep their weights in parts (weight norm, say) takes the tensors as they are stored, and
    torch puts them together. Any other network takes the weights as `as_used` puts them together.

    Args:
        checkpoint: The file.
        arch: As `ModelSpec.arch`.
        in_shape: Channels, height, width of the network's input.
        model_args: Arguments of its constructor.

    Raises:
        BadInputError: naming the first tensor that is missing, superfluous, of another shape, or non-finite.
    """
    used = as_used(checkpoint)
    spec = foreign_spec(arch, in_shape, model_args)
    source = used.root if used.composed() and takes_parts(spec, used.root.tensors) else used
    state = {name: source[name] for name in source.tensors}
    return build_foreign(arch, in_shape, state, source.where, model_args)

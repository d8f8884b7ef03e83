"""Show that a compacted network computes what the whole one does."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lcstool.checkpoint import Header
from lcstool.errors import CheckFailedError
from lcstool.images import UsedDataset, images_of, input_map
from lcstool.models import ModelSpec
from lcstool.randomness import stream
from lcstool.stages.prune_stats.config import PruneStatsConfig
from lcstool.stages.prune_stats.result import Agreement

# Of the logits' spread: constants that move into a bias are rounded once to the file's precision.
TOLERANCE = 1e-4
_RANDOM_IMAGES = 64
_BATCH = 256


@torch.no_grad()
def compare(
    config: PruneStatsConfig, whole: nn.Module, compacted: nn.Module, spec: ModelSpec, header: Header
) -> Agreement:
    """Compare logits on the data set's test images, or on random ones without a data set.

    Raises:
        CheckFailedError: they differ by more than rounding.
    """
    images, used, prepare = _inputs(config, spec, header)
    name = "random" if used is None else "test"
    nets = [copy.deepcopy(net).double().eval() for net in (whole, compacted)]
    logits = [torch.cat([net(prepare(batch)) for batch in images.split(_BATCH)]) for net in nets]
    agreement = Agreement(
        images=name,
        dataset=used,
        num_images=len(images),
        max_difference=(logits[0] - logits[1]).abs().max().item(),
        logit_spread=logits[0].std(dim=0, correction=0).max().item(),
        changed_predictions=int((logits[0].argmax(dim=1) != logits[1].argmax(dim=1)).sum()),
    )
    scale = agreement.logit_spread or logits[0].abs().max().item()
    if not agreement.max_difference <= TOLERANCE * scale:
        raise CheckFailedError(
            f"the compacted network's logits differ by up to {agreement.max_difference:.3g} on {name} images "
            f"(their spread is {agreement.logit_spread:.3g}); nothing was written"
        )
    return agreement


def _inputs(
    config: PruneStatsConfig, spec: ModelSpec, header: Header
) -> tuple[Tensor, UsedDataset | None, Callable[[Tensor], Tensor]]:
    """Images, the data set that they are of (None for random ones), and what makes them the network's input."""
    if not config.uses_images:
        generator = stream(config.seed, "verify")
        return torch.randn(_RANDOM_IMAGES, *spec.in_shape, generator=generator), None, Tensor.double
    found = images_of(config.dataset, config.data_dir, spec, header, "the network")
    prepare = input_map(header.input, spec, "the network's file", torch.device("cpu"), torch.float64)
    return found.dataset.test.images, found.used, prepare

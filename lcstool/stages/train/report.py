"""The numbers that a run reports: a record for each epoch, and a summary for the model file's history."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lcstool.checkpoint import check_writable
from lcstool.choices import LOSS_UNITS
from lcstool.data.preprocess import pixel_permutation
from lcstool.distributed import gathered, whole
from lcstool.errors import OutputError
from lcstool.evaluation import Score
from lcstool.locality import measure_locality, units_on_grid
from lcstool.models.layers.parameters import WEIGHT_LAYERS, weight_layers
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.setup import Setup

Record = dict[str, Any]

_ROWS = 256  # widened to float64 at a time


def score_fields(split: str, score: Score, loss: str) -> Record:
    """A score as entries of a record, for instance `test_loss_nats` and `test_accuracy_frac`."""
    return {f"{split}_loss_{LOSS_UNITS[loss]}": score.loss, f"{split}_accuracy_frac": score.accuracy}


@torch.no_grad()
def densities(model: nn.Module) -> dict[str, float]:
    """The fraction of non-zero weights of each layer with weights, in forward order."""
    return {
        name: torch.count_nonzero(whole(layer.weight)).item() / layer.weight.numel()
        for name, layer in weight_layers(model).items()
    }


@torch.no_grad()
def layer_table(model: nn.Module, config: TrainConfig) -> dict[str, Record]:
    """For each layer: weights, non-zeros, density, and the threshold of beta-LASSO divided by the size of the weights.

    A row has the weights of one unit. With batch norm after it, a row may have any scale and compute the same, but the
    threshold beta * lambda is a fixed number. So the strength of thresholding is the threshold divided by the row's
    root mean square. Reported is the median over the rows that are not all zero, or None if all are.
    """
    table: dict[str, Record] = {}
    for name, layer in weight_layers(model).items():
        weight = whole(layer.weight)
        nonzeros = int(torch.count_nonzero(weight))
        table[name] = {"weights": weight.numel(), "nonzeros": nonzeros, "density": nonzeros / weight.numel()}
        if config.optim == "beta-lasso" and not config.refit:
            lambda_ = config.lambda_conv if layer.is_conv_like else config.lambda_fc
            rows = weight.flatten(1) if weight.ndim < 6 else weight.flatten(3).flatten(0, 2)
            rms = torch.cat([block.double().square().mean(dim=1).sqrt() for block in rows.split(_ROWS)])
            alive = rms[rms > 0]
            ratio = config.beta * lambda_ / alive.median().item() if len(alive) else None
            table[name]["threshold_over_row_rms"] = ratio
    return table


def final_report(setup: Setup) -> Record:
    """The layers of a finished network, and how local the units of the first one are, if they are over pixels."""
    report: Record = {"layers": layer_table(setup.model, setup.config)}
    in_shape, seed = setup.dataset.in_shape, setup.preprocess.permute_seed
    order = None if seed is None else pixel_permutation(*in_shape[1:], seed)
    first = next(module for module in setup.model.modules() if isinstance(module, WEIGHT_LAYERS))
    with gathered(first):
        units = units_on_grid(setup.model, in_shape, order)
        if units is not None:
            report["locality"] = measure_locality(units.cpu()).to_json()
    return report


class MetricsFile:
    """A JSONL file with one record for each epoch.

    Args:
        path: The file, which is made anew; None writes nothing.
        first_epoch: The first epoch to come, counted from 1. Records of earlier epochs are kept, those of an
            interrupted run; later ones are removed, as the resumed run writes them again.
    """

    def __init__(self, path: Path | None, first_epoch: int) -> None:
        self.path = path
        if path is None:
            return
        check_writable(path)
        kept = []
        if first_epoch > 1 and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    record = json.loads(line)
                except ValueError:  # a run was killed while it wrote this line
                    break
                if record.get("epoch", first_epoch) < first_epoch:
                    kept.append(line)
        try:
            path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror or error}") from None

    def append(self, record: Record) -> None:
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record, allow_nan=False) + "\n")

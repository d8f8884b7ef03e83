"""The loss that a training minimises: of a target itself, of samples of it, or of the samples in a file."""

import numpy as np
import torch
from torch import Tensor

from lcstool.checkpoint import content_digest
from lcstool.errors import BadInputError
from lcstool.lcn import LinearConvArchitecture
from lcstool.lcn.loss import QuadraticLoss
from lcstool.randomness import stream
from lcstool.stages.linear.filters import end_filter
from lcstool.stages.linear.train.config import LinearTrainConfig

# Shape suffixes: K entries of the end-to-end filter, N samples, T entries of an input, P outputs.


def regression_loss(
    config: LinearTrainConfig, architecture: LinearConvArchitecture
) -> tuple[QuadraticLoss, dict[str, str]]:
    """The loss, and the digest of the file that it was made of, if there was one.

    Raises:
        UsageError: a target of another size.
        BadInputError: a file that holds no regression for these layers.
    """
    if config.regression is not None:
        x_NT, y_NP = _read_regression(config.regression)
        digest = content_digest({"x": x_NT, "y": y_NP})
        return QuadraticLoss.of_data(x_NT, y_NP, architecture), {"regression": digest}
    target_K = end_filter(config.target or "", architecture, "target")
    if config.train_size is None:
        return QuadraticLoss.of_target(target_K), {}
    generator = stream(config.seed, "samples")
    x_NT = torch.randn(config.train_size, architecture.end_size, generator=generator, dtype=torch.float64)
    noise_N = torch.randn(config.train_size, generator=generator, dtype=torch.float64)
    y_NP = (x_NT @ target_K + config.noise * noise_N)[:, None]
    return QuadraticLoss.of_data(x_NT, y_NP, architecture), {}


def _read_regression(path: str) -> tuple[Tensor, Tensor]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            x, y = (np.asarray(archive[name], dtype=np.float64) for name in ("x", "y"))
    except OSError as error:
        raise BadInputError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # numpy raises many kinds for a damaged archive
        raise BadInputError(
            f"{path} is not an .npz archive with numbers x (samples, length) and y (samples, outputs): "
            f"{str(error)[:160]}"
        ) from None
    return torch.from_numpy(x), torch.from_numpy(y)

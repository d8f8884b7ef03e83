"""A linear CNN trained by the stage is gradient descent on least squares, step by step.

Ref: Chowers & Weiss 2023 (arXiv 2206.02454), theorem 4.2.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lcstool.checkpoint import open_checkpoint
from lcstool.data.dataset import ImageDataset
from lcstool.energy.linear import Descent, LinearProblem
from lcstool.errors import LcsError, UsageError
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.plan import plan
from lcstool.stages.train.result import TrainResult
from lcstool.stages.train.setup import prepare

Run = Callable[..., TrainResult]
Config = Callable[..., TrainConfig]
STEPS = (0, 1, 2, 7, 40)
LINEAR: dict[str, Any] = {
    "arch": "linear-cnn", "optim": "sgd", "loss": "mse", "normalize": "none", "classes": ("2,0",),
    "schedule": "constant", "batch_size": 32, "precision": "fp64", "lr": 0.1,
}  # fmt: skip


def mean_patches(dataset: ImageDataset, kernel: int) -> Tensor:
    """K (N, D), in float64, from unfolded patches."""
    patches = dataset.train.images.double().div(255).unfold(2, kernel, 1).unfold(3, kernel, 1)
    return patches.mean(dim=(2, 3)).flatten(1)


@pytest.mark.parametrize(("width", "kernel", "seed"), [(1, 3, 0), (4, 2, 1), (16, 5, 2)])
def test_every_epoch_is_a_step_of_gradient_descent(
    tiny_config: Config, run_train: Run, tmp_path: Path, width: int, kernel: int, seed: int
) -> None:
    """One batch an epoch: w <- w - lr 2/N K^T (K mean(w) - y) / M for each of M filters, within 1e-8 and 1e-12."""
    lr = 2 * width / (3 * kernel**2)
    config = tiny_config(
        **LINEAR | {"alpha": width, "kernel_size": kernel, "seed": seed, "epochs": STEPS[-1], "lr": lr},
        snapshots=",".join(map(str, STEPS)),
    )
    run_train(config)
    dataset = prepare(config).dataset
    k_ND, y_N = mean_patches(dataset, kernel), dataset.train.labels.double()
    problem = LinearProblem.of(k_ND, y_N)
    trained = {
        step: open_checkpoint(tmp_path / f"net.epoch{step:02d}.safetensors")["layer1.weight"].flatten(1)
        for step in STEPS
    }
    w_MD = trained[0].clone()
    assert w_MD.dtype == torch.float64
    for step in range(1, STEPS[-1] + 1):
        residual_N = k_ND @ w_MD.mean(dim=0) - y_N
        w_MD = w_MD - lr * 2 / len(y_N) / width * (k_ND.T @ residual_N)
        if step in STEPS:
            torch.testing.assert_close(trained[step], w_MD, rtol=0, atol=1e-12)
            descent = Descent(steps=step, lr=lr, width=width, loss="mean")
            closed_D = problem.filter_after(descent, trained[0].mean(dim=0))
            torch.testing.assert_close(trained[step].mean(dim=0), closed_D, rtol=0, atol=1e-8)
    assert (trained[STEPS[-1]] - trained[0]).abs().max() > 1e-3


def test_the_loss_is_the_mean_square_and_the_guess_the_side_of_one_half(
    tiny_config: Config, run_train: Run, tmp_path: Path
) -> None:
    config = tiny_config(**LINEAR | {"epochs": 30})
    result = run_train(config)
    dataset = prepare(config).dataset
    w_D = open_checkpoint(tmp_path / "net.safetensors")["layer1.weight"].flatten(1).mean(dim=0)
    f_N, y_N = mean_patches(dataset, 3) @ w_D, dataset.train.labels
    assert result.metrics["train_loss_mse"] == pytest.approx((f_N - y_N).square().mean().item(), rel=1e-12)
    assert result.metrics["train_accuracy_frac"] == ((f_N > 0.5) == (y_N == 1)).double().mean().item()


def test_a_linear_cnn_of_more_classes_is_refused_with_what_to_do(tiny_config: Config) -> None:
    config = tiny_config(**LINEAR | {"classes": ()})
    for run in (prepare, plan):
        with pytest.raises(UsageError, match="linear-cnn tells 2 classes apart, not 4") as caught:
            run(config)
        assert "--classes" in (caught.value.hint or "")
    with pytest.raises(LcsError, match="dropout"):
        prepare(tiny_config(**LINEAR, dropout=0.5))


def test_a_plan_of_a_linear_cnn(tiny_config: Config) -> None:
    found = plan(tiny_config(**LINEAR | {"alpha": 5, "kernel_size": 4}))
    assert found.layers == {"layer1": (5, 3, 4, 4)}
    assert (found.num_parameters, found.num_steps) == (240, 2)

"""The kinds of step that `sparse_tail.py` times: a dense one, sparse prototypes, and one that no other can beat."""

import copy
import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lcstool.data.dataset import Split
from lcstool.models.narrowing.sparse import compress, linear
from lcstool.optim import BetaLasso
from lcstool.optim.screen import rounding_of
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.loop import learning_rate
from lcstool.stages.train.setup import build_optimizer

# Shape suffixes: B batch, U units, D inputs of the first layer, R some of its rows, C some of its columns, Z non-zeros.

TAIL = 0.2  # of the run
ROWS = 256  # a block of the streamed gradient


class Dense:
    """The network with its optimizer, a step at a time.

    Attributes:
        cpu_s: Spent in all steps.
    """

    def __init__(self, model: nn.Module, config: TrainConfig, batches: list[Split], num_steps: int) -> None:
        self.model = copy.deepcopy(model).train()
        self.first = next(module for module in self.model.modules() if isinstance(module, nn.Linear))
        self.rest = nn.Sequential(*list(self.model.children())[1:])
        self.config, self.batches, self.num_steps = config, batches, num_steps
        self.threshold = config.beta * config.lambda_conv
        self.optimizer = self.make_optimizer()
        self.done, self.cpu_s = 0, 0.0

    def make_optimizer(self) -> BetaLasso:
        optimizer = build_optimizer(self.config, self.model)
        assert isinstance(optimizer, BetaLasso)
        optimizer.compiled = True
        return optimizer

    def __call__(self) -> None:
        batch = self.batches[self.done % len(self.batches)]
        whole = round(self.num_steps / TAIL)
        lr = learning_rate(self.config, whole - self.num_steps + self.done, whole)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        begin = time.process_time()
        self.optimizer.zero_grad()
        self.step(batch.images, batch.labels, lr)
        self.cpu_s += time.process_time() - begin
        self.done += 1

    def step(self, images: Tensor, labels: Tensor, lr: float) -> None:
        F.cross_entropy(self.model(images), labels).backward()
        self.optimizer.step()

    def weight(self) -> Tensor:
        """Of the first layer, as it stands."""
        return self.first.weight.detach()

    def adopt(self, other: "Dense") -> None:
        """Go on from another one's state."""
        self.model.load_state_dict(other.model.state_dict())


class GivenFirst(Dense):
    """The network after its first layer, whose outputs are those of the start."""

    def make_optimizer(self) -> BetaLasso:
        self.first.requires_grad_(False)
        self.given = {id(batch.images): self.first(batch.images) for batch in self.batches}
        return super().make_optimizer()

    def step(self, images: Tensor, labels: Tensor, lr: float) -> None:
        y = self.given[id(images)].detach().requires_grad_()
        F.cross_entropy(self.rest(y), labels).backward()
        self.optimizer.step()


class Streamed(Dense):
    """The first layer's product sparse, its gradient dense but never whole."""

    def make_optimizer(self) -> BetaLasso:
        self.dense_UD = self.first.weight.detach()
        self.first.requires_grad_(False)
        self.block_RD = torch.empty(ROWS, self.dense_UD.shape[1], dtype=self.dense_UD.dtype)
        self.mine = BetaLasso(
            [nn.Parameter(rows) for rows in self.dense_UD.split(ROWS)],
            lambda_=self.config.lambda_conv,
            beta=self.config.beta,
            track_support=True,
            compiled=True,
        )
        self.compress()
        return super().make_optimizer()

    def compress(self) -> None:
        self.csr_UD = compress(self.dense_UD)
        starts, columns = self.csr_UD.crow_indices().long(), self.csr_UD.col_indices().long()
        rows = torch.repeat_interleave(torch.arange(len(self.dense_UD)), starts.diff())
        self.place_Z = rows * self.dense_UD.shape[1] + columns

    def step(self, images: Tensor, labels: Tensor, lr: float) -> None:
        x_BD = images.flatten(1)
        y = linear(x_BD, self.csr_UD).unflatten(1, self.first.geometry.out_shape).requires_grad_()
        F.cross_entropy(self.rest(y), labels).backward()
        assert y.grad is not None
        self.optimizer.step()
        self.update(x_BD, y.grad.flatten(1), lr)

    @torch.no_grad()
    def update(self, x_BD: Tensor, d_BU: Tensor, lr: float) -> None:
        self.mine.param_groups[0]["lr"] = lr
        changes = 0
        blocks = self.mine.param_groups[0]["params"]
        for theta, d_BR in zip(blocks, d_BU.split(ROWS, dim=1), strict=True):
            theta.grad = torch.mm(d_BR.T, x_BD, out=self.block_RD[: len(theta)])
            self.mine.step()
            theta.grad = None
            assert self.mine.last_change is not None
            changes += int(self.mine.last_change.killed + self.mine.last_change.regrown)
        if changes:
            self.compress()
        else:
            self.csr_UD.values().copy_(self.dense_UD.view(-1)[self.place_Z])

    def weight(self) -> Tensor:
        return self.dense_UD

    def adopt(self, other: Dense) -> None:
        super().adopt(other)
        self.compress()


class Screened(Streamed):
    """Beside that, gradients of non-zeros alone, where a bound says that no zero can reach the threshold.

    Attributes:
        shares: Of the first layer's gradients computed for zeros, a step.
    """

    def make_optimizer(self) -> BetaLasso:
        self.shares: list[float] = []
        return super().make_optimizer()

    @torch.no_grad()
    def update(self, x_BD: Tensor, d_BU: Tensor, lr: float) -> None:
        d_UB, values_Z = d_BU.T.contiguous(), nn.Parameter(self.csr_UD.values())
        values_Z.grad = torch.sparse.sampled_addmm(self.csr_UD, d_UB, x_BD, beta=0.0).values()
        # A zero of row i moves by at most lr |d_i| |x_j|. Only rows and columns that reach the threshold beside the
        # greatest of the others can hold one that comes back.
        norm_U, norm_D = (part.square().sum(dim=0).sqrt() for part in (d_BU, x_BD))
        scale = lr * (1 + 2 * rounding_of(d_BU)) / self.threshold  # the norms are rounded too
        rows_R = (scale * norm_U * norm_D.amax() >= 1).nonzero().flatten()
        columns_C = (scale * norm_U.amax() * norm_D >= 1).nonzero().flatten()
        self.shares.append(len(rows_R) * len(columns_C) / self.dense_UD.numel())
        revived = self.revive(d_UB, x_BD, rows_R, columns_C, lr) if len(rows_R) and len(columns_C) else []
        optimizer = BetaLasso([values_Z], lr, self.config.lambda_conv, self.config.beta)
        optimizer.step()
        if revived:  # the non-zeros among them have made their step already
            self.dense_UD.view(-1)[self.place_Z] = values_Z.detach()
            for place, value in revived:
                self.dense_UD.view(-1)[place] = value
            self.compress()

    def revive(
        self, d_UB: Tensor, x_BD: Tensor, rows_R: Tensor, columns_C: Tensor, lr: float
    ) -> list[tuple[Tensor, Tensor]]:
        """Places and values of the zeros that come back among some rows and columns."""
        x_BC = x_BD if len(columns_C) == x_BD.shape[1] else x_BD[:, columns_C]
        self.dense_UD.view(-1)[self.place_Z] = self.csr_UD.values()  # zero where it is now
        found = []
        for part_R in rows_R.split(ROWS):
            move_RC = torch.mm(d_UB[part_R], x_BC).mul_(lr)
            row, column = (move_RC.abs() >= self.threshold).nonzero(as_tuple=True)
            place = part_R[row] * self.dense_UD.shape[1] + columns_C[column]
            is_zero = self.dense_UD.view(-1)[place] == 0
            if bool(is_zero.any()):
                found.append((place[is_zero], -move_RC[row, column][is_zero]))
        return found

    def weight(self) -> Tensor:
        self.dense_UD.view(-1)[self.place_Z] = self.csr_UD.values()
        return self.dense_UD


WAYS: dict[str, type[Dense]] = {
    "dense": Dense, "streamed": Streamed, "screened": Screened, "layer 1 for nothing": GivenFirst,
}  # fmt: skip

"""Which step an optimizer takes never changes a number; nor does stepping within backward."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lcstool.optim import BetaLasso
from lcstool.optim.compiled import BREAK_EVEN, compiled_step

needs_compiler = pytest.mark.skipif(compiled_step("cpu")[0] is None, reason=str(compiled_step("cpu")[1]))


class Shared(nn.Module):
    """Weights used once, used twice, used for some batches only, and batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.twice, self.last = nn.Linear(12, 16), nn.Linear(16, 16), nn.Linear(16, 3)
        self.norm, self.seldom = nn.BatchNorm1d(16), nn.Linear(16, 16)

    def forward(self, x: Tensor, seldom: bool) -> Tensor:
        x = self.norm(self.first(x)).relu()
        x = self.twice(self.twice(x).relu()).relu()
        return self.last(self.seldom(x) if seldom else x)


def network() -> Shared:
    torch.manual_seed(0)
    return Shared()


def optimizer_of(model: Shared, **options: Any) -> BetaLasso:
    weights = [m.weight for m in model.modules() if isinstance(m, nn.Linear)]
    rest = [p for p in model.parameters() if all(p is not w for w in weights)]
    groups = [
        {"params": weights[:1], "lambda_": 3e-3},
        {"params": weights[1:], "lambda_": 1e-3, "beta": 13.0},
        {"params": rest},
    ]
    return BetaLasso(groups, lr=0.2, beta=4, track_support=True, **options)


def train(
    model: Shared, optimizer: BetaLasso, num_steps: int = 12, in_backward: bool = False
) -> list[tuple[int, int, int]]:
    """Train with another learning rate, strength and threshold at each step; returns the counts of each."""
    generator, found = torch.Generator().manual_seed(1), []
    for step in range(num_steps):
        for group in optimizer.param_groups:
            group["lr"] = 0.5 / (1 + step / 8)
        optimizer.param_groups[0]["lambda_"] = 3e-3 * (1 + step % 3)
        optimizer.param_groups[1]["beta"] = 13.0 - step
        inputs = torch.randn(20, 12, generator=generator)
        loss = model(inputs, step % 4 == 3).square().sum() / 20
        optimizer.zero_grad()
        loss.backward()
        assert all((p.grad is None) for p in model.parameters()) == in_backward
        optimizer.step()
        change = optimizer.last_change
        assert change is not None
        found.append((int(change.killed), int(change.regrown), int(change.nonzeros)))
    return found


def assert_equal(a: nn.Module, b: nn.Module) -> None:
    for (name, x), (_, y) in zip(a.state_dict().items(), b.state_dict().items(), strict=True):
        assert x.equal(y), name


@needs_compiler
def test_compiled_and_eager_runs_are_equal_and_count_alike() -> None:
    eager, compiled = network(), network()
    slow, fast = optimizer_of(eager, compiled=False), optimizer_of(compiled, compiled=True)
    counts = train(eager, slow)
    assert counts == train(compiled, fast)
    assert_equal(eager, compiled)
    assert (slow.kernel, fast.kernel) == ("eager", "compiled")
    assert sum(killed for killed, _, _ in counts) > 0
    assert sum(regrown for _, regrown, _ in counts) > 0


@pytest.mark.parametrize("compiled", [False, True])
def test_stepping_in_backward_is_the_ordinary_step(compiled: bool) -> None:
    ordinary, hooked = network(), network()
    optimizer = optimizer_of(hooked, compiled=compiled)
    optimizer.step_in_backward()
    optimizer.step_in_backward()  # twice is once
    assert train(ordinary, optimizer_of(ordinary, compiled=compiled)) == train(
        hooked, optimizer, in_backward=True
    )
    assert_equal(ordinary, hooked)
    optimizer.step_in_backward(False)
    train(hooked, optimizer, 1)


def test_no_two_gradients_exist_at_once_when_stepping_in_backward() -> None:
    model, found = network(), []
    optimizer = optimizer_of(model)
    optimizer.step_in_backward()
    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(
            lambda _: found.append(sum(p.grad is not None for p in model.parameters()))
        )
    model(torch.ones(4, 12), True).sum().backward()
    assert found == [0] * len(list(model.parameters()))


def test_stepping_in_backward_survives_a_loaded_state_and_a_new_group() -> None:
    weight, late = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = BetaLasso([weight], lr=1.0)
    optimizer.step_in_backward()
    state = copy.deepcopy(optimizer.state_dict())
    state["param_groups"][0]["lr"] = 0.25
    optimizer.load_state_dict(state)
    optimizer.add_param_group({"params": [late], "lr": 0.5})
    (weight.sum() + late.sum()).backward()
    assert weight.tolist() == [0.75, 0.75]
    assert late.tolist() == [0.5, 0.5]
    assert weight.grad is None
    assert late.grad is None


@pytest.mark.parametrize("compiled", [False, True])
def test_a_second_backward_through_stepped_weights_is_refused(compiled: bool) -> None:
    model = network()
    optimizer = optimizer_of(model, compiled=compiled)
    optimizer.step_in_backward()
    loss = model(torch.ones(4, 12), False).sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@needs_compiler
def test_a_run_compiles_when_it_is_long_enough() -> None:
    weight = nn.Parameter(torch.ones(1000))

    def kernel(**options: Any) -> str:
        return BetaLasso([weight], lambda_=1e-3, **options).kernel

    enough = int(BREAK_EVEN["cpu"] / 1000)
    assert kernel() == "eager"
    assert kernel(planned_steps=enough - 1) == "eager"
    assert kernel(planned_steps=enough) == "compiled"
    assert kernel(planned_steps=enough, compiled=False) == "eager"
    assert kernel(compiled=True) == "compiled"
    plain = BetaLasso([weight], planned_steps=10**9)  # no weight has an L1 term
    assert plain.kernel == "eager"


@needs_compiler
def test_a_run_of_unknown_length_compiles_once_it_has_been_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BREAK_EVEN, "cpu", 30.0)
    weight = nn.Parameter(torch.ones(10))
    optimizer = BetaLasso([weight], lambda_=1e-3)
    kernels = []
    for _ in range(5):
        weight.grad = torch.ones(10)
        optimizer.step()
        kernels.append(optimizer.kernel)
    assert kernels == ["eager", "eager", "compiled", "compiled", "compiled"]


def test_a_compiler_that_is_missing_is_told_and_nothing_else_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lcstool.optim.beta_lasso.compiled_step", lambda device_type: (None, "no compiler"))
    plain, failing = network(), network()
    optimizer = optimizer_of(failing, compiled=True)
    assert train(plain, optimizer_of(plain)) == train(failing, optimizer)
    assert_equal(plain, failing)
    assert optimizer.kernel == "eager"
    assert optimizer.kernel_warning == "no compiler"
    assert optimizer_of(plain).kernel_warning is None


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_tensors_that_the_compiled_step_does_not_take_are_stepped_all_the_same(dtype: torch.dtype) -> None:
    found = []
    for compiled in (False, True):
        torch.manual_seed(0)
        base = torch.randn(6, 8).to(dtype)
        parameters = [nn.Parameter(t.clone(memory_format=torch.preserve_format)) for t in (base.T, base)]
        optimizer = BetaLasso(parameters, lr=0.5, lambda_=0.1, beta=5, track_support=True, compiled=compiled)
        parameters[0].grad = torch.randn(6, 8).to(dtype).T
        parameters[1].grad = torch.randn(8, 6).to(dtype).T
        optimizer.step()
        assert optimizer.last_change is not None
        found.append((*(p.detach() for p in parameters), optimizer.last_change.killed))
    assert all(a.equal(b) for a, b in zip(*found, strict=True))


def test_counts_follow_weights_changed_from_outside() -> None:
    weight = nn.Parameter(torch.ones(4))
    optimizer = BetaLasso([weight], lr=0.0, lambda_=0.5, beta=1, track_support=True)
    for values, expected in (([1.0, 1, 1, 1], (0, 4)), ([0.1, 0, 0, 1], (1, 1)), ([0.0, 0, 0, 0], (0, 0))):
        weight.data.copy_(torch.tensor(values))
        weight.grad = torch.zeros(4)
        optimizer.step()
        assert optimizer.last_change is not None
        assert (int(optimizer.last_change.killed), int(optimizer.last_change.nonzeros)) == expected

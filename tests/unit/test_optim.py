"""Optimisers and schedules do what the papers' code does, with nothing left to a default."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import get_linear_schedule_with_warmup

from runners.config import OptimizerConfig, RunnerConfig, ScheduleConfig
from runners.optim import build_optimizer, factor, set_rates


def groups() -> dict[str, dict[str, nn.Parameter]]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> nn.Parameter:
        return nn.Parameter(torch.randn(*shape, generator=generator))

    return {"prompt": {"prompt": draw(4, 6)}, "offset": {"a": draw(5, 2), "b": draw(2, 6)}}


def test_adamw_has_named_groups_no_decay_and_the_papers_eps() -> None:
    optimizer = build_optimizer(groups(), {"prompt": 0.3, "offset": 1e-4}, RunnerConfig().optimizer)
    assert isinstance(optimizer, torch.optim.AdamW)
    found = [(g["name"], g["lr"], len(g["params"])) for g in optimizer.param_groups]
    assert found == [("prompt", 0.3, 1), ("offset", 1e-4, 2)]
    assert all(g["weight_decay"] == 0.0 and g["eps"] == 1e-6 for g in optimizer.param_groups)
    assert all(g["betas"] == (0.9, 0.999) for g in optimizer.param_groups)


def test_adamw_equals_its_equations() -> None:
    parts = groups()
    parameter = parts["prompt"]["prompt"]
    expected, m, v = parameter.detach().double().clone(), 0.0, 0.0
    optimizer = build_optimizer({"prompt": parts["prompt"]}, {"prompt": 0.05}, OptimizerConfig())
    generator = torch.Generator().manual_seed(1)
    for t in range(1, 6):
        gradient = torch.randn(4, 6, generator=generator)
        parameter.grad = gradient.clone()
        optimizer.step()
        m = 0.9 * m + 0.1 * gradient.double()
        v = 0.999 * v + 0.001 * gradient.double() ** 2
        expected -= 0.05 * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-6)
    torch.testing.assert_close(parameter.detach().double(), expected, rtol=0, atol=1e-6)


def test_a_group_without_a_rate_is_named() -> None:
    with pytest.raises(ValueError, match=r"no learning rate, method\.lr\.offset \(set are: prompt\)"):
        build_optimizer(groups(), {"prompt": 0.3, "offset": None}, OptimizerConfig())


def test_a_head_without_a_rate_takes_the_prompts() -> None:
    parts = {**groups(), "head": {"head.weight": nn.Parameter(torch.zeros(2))}}
    optimizer = build_optimizer(parts, {"prompt": 0.3, "offset": 0.1, "head": None}, OptimizerConfig())
    assert optimizer.param_groups[2]["lr"] == 0.3


@pytest.mark.parametrize("name", ["sgd", ""])
def test_unknown_names_list_the_known_ones(name: str) -> None:
    with pytest.raises(ValueError, match="adamw, adafactor"):
        build_optimizer(groups(), {"prompt": 1.0, "offset": 1.0}, OptimizerConfig(name=name))
    with pytest.raises(ValueError, match="linear, constant, exponential"):
        factor(0, 10, ScheduleConfig(name=name), 5)


@pytest.mark.parametrize(("warmup", "total"), [(0, 10), (3, 10), (10, 10), (500, 20)])
def test_linear_schedule_is_transformers(warmup: int, total: int) -> None:
    parameter = nn.Parameter(torch.zeros(1))
    theirs = torch.optim.SGD([parameter], lr=2.0)
    schedule = get_linear_schedule_with_warmup(theirs, warmup, total)
    ours = build_optimizer({"prompt": {"prompt": parameter}}, {"prompt": 2.0}, OptimizerConfig())
    for step in range(total):
        set_rates(ours, factor(step, total, ScheduleConfig(warmup_steps=warmup), 5))
        assert ours.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"], abs=1e-12)
        theirs.step()
        schedule.step()


def test_constant_and_exponential_schedules() -> None:
    assert [factor(s, 9, ScheduleConfig("constant", 2), 3) for s in range(4)] == [0.0, 0.5, 1.0, 1.0]
    decays = [factor(s, 9, ScheduleConfig("exponential", 0, 0.5), 3) for s in range(9)]
    assert decays == [1.0] * 3 + [0.5] * 3 + [0.25] * 3


def test_adafactor_is_lesters_unfactored_loop() -> None:
    """Constant rate, full second moment with decay t^-0.8, update clipped to RMS 1, no parameter scaling."""
    parts = groups()
    parameter = parts["prompt"]["prompt"]
    expected, second = parameter.detach().double().clone(), torch.zeros(4, 6, dtype=torch.float64)
    optimizer = build_optimizer({"prompt": parts["prompt"]}, {"prompt": 0.3}, OptimizerConfig(name="adafactor"))
    generator = torch.Generator().manual_seed(2)
    for t in range(1, 7):
        gradient = torch.randn(4, 6, generator=generator)
        parameter.grad = gradient.clone()
        optimizer.step()
        decay = 1 - t**-0.8
        second = decay * second + (1 - decay) * (gradient.double() ** 2 + 1e-30)
        update = gradient.double() / second.sqrt()
        update /= max(1.0, float(update.pow(2).mean().sqrt()))
        expected -= 0.3 * update
    torch.testing.assert_close(parameter.detach().double(), expected, rtol=0, atol=1e-5)

"""The papers' optimisers and learning-rate schedules, with nothing left to a library's default.

Weight decay and eps are always passed: the classes that the DePT family's code used had other defaults than torch's
(transformers.AdamW: decay 0, eps 1e-6), and that changes the method silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.optim import AdamW, Optimizer

from runners.config import OptimizerConfig, ScheduleConfig

OPTIMIZERS = ("adamw", "adafactor")
SCHEDULES = ("linear", "constant", "exponential")


def build_optimizer(
    groups: Mapping[str, Mapping[str, torch.nn.Parameter]], rates: Mapping[str, float | None], config: OptimizerConfig
) -> Optimizer:
    """One parameter group per named group of the method (`prompt`, `offset`, `gate`, `head`, ...).

    Args:
        groups: group name -> tensor name -> parameter.
        rates: group name -> learning rate (`method.lr`); `head` falls back to `prompt`, then to the first one.

    Raises:
        ValueError: a group has no learning rate, or the optimiser is unknown.
    """
    parts = []
    for name, tensors in groups.items():
        rate = rates.get(name)
        if rate is None and name == "head":
            rate = rates.get("prompt") or next((value for value in rates.values() if value is not None), None)
        if rate is None:
            have = ", ".join(key for key, value in rates.items() if value is not None) or "none"
            raise ValueError(
                f"the method's group {name!r} has no learning rate, method.lr.{name} (set are: {have}): write "
                f"`{name}: <rate>` under `lr` in the method's YAML (with method=own: give method.lr.{name}=<rate>)"
            )
        parts.append({"params": list(tensors.values()), "lr": rate, "base_lr": rate, "name": name})
    if config.name == "adamw":
        beta1, beta2 = config.betas
        return AdamW(parts, betas=(beta1, beta2), eps=config.eps, weight_decay=config.weight_decay)
    if config.name == "adafactor":
        return _adafactor(parts, config)
    raise ValueError(f"runner.optimizer.name={config.name!r} is not one of {', '.join(OPTIMIZERS)}")


def factor(step: int, total: int, config: ScheduleConfig, steps_per_epoch: int) -> float:
    """What every base learning rate is multiplied with at optimiser step `step` (0-based) of `total`.

    Raises:
        ValueError: the schedule is unknown.
    """
    warmup = config.warmup_steps or 0
    if config.name == "constant":
        return 1.0 if step >= warmup else step / max(1, warmup)
    if config.name == "exponential":
        return float(config.factor_per_epoch ** (step // steps_per_epoch))
    if config.name == "linear":
        if step < warmup:
            return step / max(1, warmup)
        return max(0.0, (total - step) / max(1, total - warmup))
    raise ValueError(f"runner.schedule.name={config.name!r} is not one of {', '.join(SCHEDULES)}")


def set_rates(optimizer: Optimizer, multiplier: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * multiplier


def set_eps(optimizer: Optimizer, step: int, config: OptimizerConfig) -> None:
    """AdamW's eps for optimiser step `step` (0-based) where it joins before the bias correction.

    transformers' AdamW: lr sqrt(c2)/c1 m / (sqrt(v) + eps); torch's: lr/c1 m / (sqrt(v)/sqrt(c2) + eps), with
    c = 1 - beta^(step + 1). They are the same at torch's eps / sqrt(c2).
    """
    if config.eps_first and config.name == "adamw":
        correction = 1.0 - config.betas[1] ** (step + 1)
        for group in optimizer.param_groups:
            group["eps"] = config.eps / correction**0.5


def _adafactor(parts: list[dict[str, Any]], config: OptimizerConfig) -> Optimizer:
    """Adafactor as Lester et al. (2021) set it: constant rate, no parameter scaling, full second moment for prompts."""
    from transformers.optimization import Adafactor

    class Unfactored(Adafactor):  # type: ignore[misc]
        @staticmethod
        def _get_options(param_group: dict[str, Any], param_shape: tuple[int, ...]) -> tuple[bool, bool]:
            return False, param_group["beta1"] is not None

    # T5X takes weight_decay of a parameter away at every step, transformers' class rate times it
    parts = [{**part, "weight_decay": config.weight_decay / (part["lr"] or 1.0)} for part in parts]
    return Unfactored(
        parts,
        scale_parameter=False,
        relative_step=False,
        warmup_init=False,
        decay_rate=-config.decay_rate,
    )

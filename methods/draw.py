"""How tensors of networks start, drawn from a generator alone."""

from __future__ import annotations

import math

import torch
from torch import nn


def normal(shape: tuple[int, ...], std: float, generator: torch.Generator | None) -> nn.Parameter:
    """N(0, std^2)."""
    return nn.Parameter(torch.randn(shape, generator=generator) * std)


def uniform(shape: tuple[int, ...], bound: float, generator: torch.Generator | None) -> nn.Parameter:
    """U(-bound, bound)."""
    return nn.Parameter((torch.rand(shape, generator=generator) * 2 - 1) * bound)


def linear(out: int, width: int, generator: torch.Generator | None) -> nn.Parameter:
    """A linear layer's weight (out, width) by PyTorch's default: U(-1/sqrt(width), 1/sqrt(width))."""
    return uniform((out, width), 1 / math.sqrt(width), generator)

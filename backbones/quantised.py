"""Frozen linear layers kept in few bits (`backbone.quantization`): int8 by torchao, nf4 by bitsandbytes.

Every linear layer inside a model's numbered layers is replaced; embeddings, norms, the pooler and the head stay as they
are. Nothing but the few bits is kept between a forward and its backward pass: what a product needs is made anew from
them, also in the backward pass, which carries gradients to the layer's inputs. `weight` gives the de-quantised matrix,
so that whatever reads a layer's weights reads what it computes with.
"""

from __future__ import annotations

import importlib.metadata
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbones.config import QUANTIZERS, missing_library
from backbones.errors import BackboneError
from backbones.memory import give_large_blocks_back

NF4_BLOCK = 64  # weights that share a scale (QLoRA)


class Quantised(nn.Linear):
    """A frozen linear layer in few bits; what it keeps are buffers.

    Args:
        linear: the layer whose weights are taken.
    """

    def __init__(self, linear: nn.Linear) -> None:
        nn.Module.__init__(self)  # there is no matrix to be made
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.bias = linear.bias
        self.keep(linear.weight.detach())
        self.train(linear.training)

    def keep(self, weight: Tensor) -> None:
        """Register what is kept of a matrix (out, in)."""
        raise NotImplementedError

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The de-quantised matrix (out, in)."""
        raise NotImplementedError

    @property
    def count(self) -> int:
        """Weights of the layer, its bias left out."""
        return self.in_features * self.out_features


class Int8(Quantised):
    """One scale for each output, symmetric (torchao's weight-only int8)."""

    def keep(self, weight: Tensor) -> None:
        with _quietly():
            from torchao.quantization import Int8WeightOnlyConfig, quantize_

            holder = nn.Sequential(nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta"))
            holder[0].weight = nn.Parameter(weight, requires_grad=False)
            quantize_(holder, Int8WeightOnlyConfig(version=2))
        stored: Any = holder[0].weight.data
        self.names, self.context = stored.__tensor_flatten__()
        self.kind, self.shape, self.strides = type(stored), stored.shape, stored.stride()
        for name in self.names:
            self.register_buffer(name, getattr(stored, name))

    @property
    def stored(self) -> Any:
        """torchao's tensor over the buffers."""
        inner = {name: getattr(self, name) for name in self.names}
        return self.kind.__tensor_unflatten__(inner, self.context, self.shape, self.strides)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        return self.stored.dequantize()

    def forward(self, input: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        product: Tensor = _Product.apply(input, self)  # type: ignore[no-untyped-call]
        return product if self.bias is None else product + self.bias


class _Product(torch.autograd.Function):
    """x W' with the few bits alone kept for the backward pass: torchao's product would keep the matrix itself."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, layer: Int8) -> Tensor:
        ctx.layer = layer
        return F.linear(input, layer.stored)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] @ ctx.layer.weight.to(gradients[0].dtype), None


class NF4(Quantised):
    """4 bits at the quantiles of a normal distribution, one float32 scale for 64 weights (QLoRA, by bitsandbytes)."""

    def keep(self, weight: Tensor) -> None:
        with _quietly():
            from bitsandbytes.functional import quantize_4bit
        packed, state = quantize_4bit(weight, blocksize=NF4_BLOCK, compress_statistics=False, quant_type="nf4")
        self.shape, self.precision = weight.shape, weight.dtype
        for name, tensor in (("packed", packed), ("absmax", state.absmax), ("code", state.code)):
            self.register_buffer(name, tensor)

    @property
    def four_bits(self) -> Any:
        """bitsandbytes' description of the buffers."""
        from bitsandbytes.functional import QuantState

        return QuantState(
            absmax=self.absmax, shape=self.shape, code=self.code, blocksize=NF4_BLOCK, quant_type="nf4",
            dtype=self.precision,
        )  # fmt: skip

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        from bitsandbytes.functional import dequantize_4bit

        return dequantize_4bit(self.packed, self.four_bits)

    def forward(self, input: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        from bitsandbytes import matmul_4bit

        return matmul_4bit(input, self.packed, quant_state=self.four_bits, bias=self.bias)


KINDS: dict[str, type[Quantised]] = {"int8": Int8, "nf4": NF4}


def quantise(model: nn.Module, how: str, name: str) -> None:
    """Replace a model's linear layers, one after the other, so that no more than one is there twice.

    Args:
        how: ``int8`` or ``nf4``.
        name: of the backbone, for what is said.

    Raises:
        BackboneError: there is nothing to replace, or the library is not there.
    """
    give_large_blocks_back()
    made: dict[int, Quantised] = {}
    for path, module in list(model.named_modules()):
        if type(module) is not nn.Linear or not re.search(r"(^|\.)\d+\.", path):
            continue
        owner, _, last = path.rpartition(".")
        try:
            made[id(module)] = KINDS[how](module)
        except ImportError as error:
            raise BackboneError(f"backbone {name!r}: {missing_library(how) or error}") from error
        setattr(model.get_submodule(owner), last, made[id(module)])
    if not made:
        raise BackboneError(
            f"backbone {name!r} ({type(model).__name__}) has no linear layers that could be kept in {how} (its layers "
            "are of another kind); leave backbone.quantization out."
        )


def said(how: str) -> str:
    """The kind and the library with its version, for records: `int8 (torchao 0.18.0)`."""
    return f"{how} ({QUANTIZERS[how]} {importlib.metadata.version(QUANTIZERS[how])})"


def quantised_layers(model: nn.Module) -> list[Quantised]:
    return [module for module in model.modules() if isinstance(module, Quantised)]


@contextmanager
def de_quantised(model: nn.Module) -> Iterator[None]:
    """Inside, plain products with the de-quantised matrices (made when they are used) stand for those in few bits."""
    places = [(owner, name, m) for owner in model.modules() for name, m in owner.named_children()]
    places = [place for place in places if isinstance(place[2], Quantised)]
    for owner, name, module in places:
        owner._modules[name] = _Plain(module)  # type: ignore[arg-type]
    try:
        yield
    finally:
        for owner, name, module in places:
            owner._modules[name] = module


class _Plain(nn.Module):
    """A linear layer over the de-quantised weights of another one."""

    layer: Any  # no submodule: it is not to be found and replaced itself

    def __init__(self, layer: Quantised) -> None:
        super().__init__()
        object.__setattr__(self, "layer", layer)

    @property
    def weight(self) -> Tensor:
        return self.layer.weight

    def forward(self, input: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        return F.linear(input, self.weight, self.layer.bias)


@contextmanager
def _quietly() -> Iterator[None]:
    """Both libraries warn on import of kernels for other machines that they do without."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)

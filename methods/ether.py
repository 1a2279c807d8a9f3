"""ETHER and ETHER+ (Bini et al., ICML 2024): weights are reflected by hyperplanes, W' = W H."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.base import Body, Facts, InputMethod, Method
from methods.draw import uniform
from methods.shapes import shapes, unknown


def turned(x: Tensor, u: Tensor, v: Tensor | None) -> Tensor:
    """x H for a block-diagonal H over n blocks, never made: (..., d) with u, v (n, d/n).

    ETHER (`v` None): H_b = I - 2 u u^T / |u|^2. ETHER+: H_b = I - u u^T / |u|^2 + v v^T / |v|^2.
    """
    blocks = x.unflatten(-1, u.shape)
    u = F.normalize(u, dim=-1)
    along = (blocks * u).sum(-1, keepdim=True) * u
    if v is None:
        return (blocks - 2 * along).flatten(-2)
    v = F.normalize(v, dim=-1)
    return (blocks - along + (blocks * v).sum(-1, keepdim=True) * v).flatten(-2)


class ETHER(Method):
    """Chosen projections y = W x become y = W H x; `plus` with `sides: two` y = H2 W H1 x.

    ETHER is not the identity at its start: its untrained model is a reflected one.

    Args:
        facts: The backbone's facts.
        targets: Which projections: q, k, v, o, up, down.
        blocks: n; it divides their widths.
        plus: ETHER+.
        sides: ETHER+: `two` (the paper's) or `one`.
        block_layout: `columns` (blocks of H over columns), or `reshaped` (authors' code: W (f, d) is viewed as
            (n, f, d/n) without moving axes, which mixes rows); `one` side only.
        init_rows: Cannot be given.
        generator: Source of random numbers.

    Raises:
        ValueError: `init_rows` is given.
    """

    choices: ClassVar[dict[str, tuple[Any, ...]]] = {"sides": ("one", "two"), "block_layout": ("columns", "reshaped")}

    def __init__(
        self,
        facts: Facts,
        *,
        targets: list[str] | tuple[str, ...] = ("q", "v"),
        blocks: int = 32,
        plus: bool = False,
        sides: str = "two",
        block_layout: str = "columns",
        init_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if init_rows is not None:
            raise ValueError("ETHER has no prompt vectors; init_rows cannot be given (init: null).")
        self.targets, self.plus, self.layout = tuple(targets), plus, block_layout
        self.two = plus and sides == "two"
        self.u, self.v, self.out_u, self.out_v = (nn.ParameterDict() for _ in range(4))
        for name in self.targets:
            shape = shapes(facts)[name]
            for first, second, width in ((self.u, self.v, shape.inputs), (self.out_u, self.out_v, shape.outputs)):
                if first is self.out_u and not self.two:
                    continue
                # Kaiming uniform with a = sqrt(5) over (n, width/n)
                drawn = uniform((shape.count, blocks, width // blocks), math.sqrt(blocks / width), generator)
                first[name] = drawn
                if plus:
                    second[name] = nn.Parameter(-drawn.detach().clone())

    @classmethod
    def check(cls, options: dict[str, Any], facts: Facts) -> list[str]:
        """n divides every width; the authors' layout is for one side."""
        o = cls.complete(options)
        said, n = unknown(o["targets"]), o["blocks"]
        two = o["plus"] and o["sides"] == "two"
        if said:
            return said
        found = [shapes(facts)[t] for t in o["targets"]]
        widths = sorted({s.inputs for s in found} | ({s.outputs for s in found} if two else set()))
        if n < 1 or any(width % n for width in widths):
            both = [k for k in range(1, min(widths) + 1) if not any(width % k for width in widths)]
            said.append(f"method.blocks={n} must divide {widths}; allowed here: {', '.join(map(str, both))}.")
        if two and o["block_layout"] == "reshaped":
            said.append(
                "method.block_layout=reshaped is the authors' one-sided code: set method.sides=one, or columns."
            )
        return said

    @classmethod
    def count(cls, options: dict[str, Any], facts: Facts) -> int:
        """d per matrix; ETHER+ 2 d, two-sided 2 (d + f) (Llama-2-7B, q and v: 262,144 and 1,048,576)."""
        o, total = cls.complete(options), 0
        for name in o["targets"]:
            shape = shapes(facts)[name]
            width = shape.inputs + (shape.outputs if o["plus"] and o["sides"] == "two" else 0)
            total += shape.count * width * (2 if o["plus"] else 1)
        return total

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """One group: `weights`."""
        return {"weights": list(self.parameters())}

    def attach(self, body: Body) -> InputMethod | None:
        """Hooks on every projection; its weights stay as they are."""
        for name in self.targets:
            found = body.projections(name)
            if len(found) != len(self.u[name]):
                raise ValueError(
                    f"method.targets has {name!r}, of which this backbone has {len(found)} layers of their own, not "
                    f"{len(self.u[name])} (DeBERTa's q, k and v are one layer): choose others of {self.targets}."
                )
            for index, (_, module) in enumerate(found):
                if self.layout == "reshaped":
                    module.register_forward_hook(self._mixed(name, index))
                    continue
                module.register_forward_pre_hook(self._before(name, index))
                if self.two:
                    module.register_forward_hook(self._after(name, index))
        return None

    def _before(self, name: str, index: int) -> Callable[..., Any]:
        def turn(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            x = args[0]
            made = turned(x.float(), self.u[name][index], self.v[name][index] if self.plus else None)
            return (made.to(x.dtype), *args[1:])

        return turn

    def _after(self, name: str, index: int) -> Callable[..., Any]:
        def turn(module: Any, _: Any, y: Tensor) -> Tensor:
            bias = 0 if module.bias is None else module.bias  # W is turned, not its bias
            return turned((y - bias).float(), self.out_u[name][index], self.out_v[name][index]).to(y.dtype) + bias

        return turn

    def _mixed(self, name: str, index: int) -> Callable[..., Any]:
        def turn(module: Any, args: tuple[Tensor, ...], _: Tensor) -> Tensor:
            u = self.u[name][index]
            rows = module.weight.float().reshape(len(u), module.weight.shape[0], -1)  # the authors' view
            v = self.v[name][index] if self.plus else None
            made = torch.stack(
                [turned(rows[b], u[b : b + 1], None if v is None else v[b : b + 1]) for b in range(len(u))]
            )
            weight = made.reshape(module.weight.shape).to(args[0].dtype)
            return F.linear(args[0], weight, module.bias)

        return turn

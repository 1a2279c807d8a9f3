"""Context-PEFT (Hadji-Kyriacou and Arandjelovic 2023), its text part: one group of weights for each kind of token."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from methods.base import Body, Facts, InputMethod, Method, by_rows
from methods.draw import linear
from methods.shapes import NAMES, Shape, shapes, unknown

CONTEXTS = 2
ELSEWHERE = "leave it out of method.targets where the method has them, or choose another backbone"


class _Contexts(Method):
    """C = 2 groups; a token takes that of its context.

    Contexts are the first and the second text on encoders, the source and the answer on decoder-only models.
    """

    targets: tuple[str, ...]

    @classmethod
    def targets_of(cls, options: dict[str, Any]) -> tuple[str, ...]:
        """Which projections are adapted."""
        return tuple(cls.complete(options).get("targets", ("k", "v", "down")))

    @classmethod
    def size(cls, options: dict[str, Any], name: str, shape: Shape) -> int:
        """Parameters of one projection and one context."""
        raise TypeError(f"{cls.__name__} must define `size`.")

    @classmethod
    def check(cls, options: dict[str, Any], facts: Facts) -> list[str]:
        """T5's encoder and decoder have tokens of one context each."""
        said = unknown(cls.targets_of(options))
        if facts.traits.encoder_decoder:
            said.append(
                "on T5 source and answer tokens pass through different layers, so that weights by context would be the "
                "plain method: use method=lora, bitfit or ia3, or another family."
            )
        return said

    @classmethod
    def count(cls, options: dict[str, Any], facts: Facts) -> int:
        """C times the plain method."""
        found = shapes(facts)
        names = cls.targets_of(options)
        return CONTEXTS * sum(found[name].count * cls.size(options, name, found[name]) for name in names)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """One group: `weights`."""
        return {"weights": list(self.parameters())}

    def adapt(self, name: str, index: int, x: Tensor, y: Tensor, chosen: Tensor) -> Tensor:
        """The projection's output y (B, T, f) of its input x (B, T, d), with one-hot contexts (B, T, C)."""
        raise TypeError(f"{type(self).__name__} must define `adapt`.")

    def attach(self, body: Body) -> InputMethod | None:
        """A hook on every projection."""
        for name in self.targets:
            found, wanted = body.projections(name), shapes(body.facts)[name].count
            if len(found) != wanted:
                raise ValueError(f"this backbone has {len(found)} layers {name!r} of their own, not {wanted}.")
            for index, (_, module) in enumerate(found):
                module.register_forward_hook(self._hook(body, name, index))
        return None

    def _hook(self, body: Body, name: str, index: int) -> Any:
        def change(module: Any, args: tuple[Tensor, ...], y: Tensor) -> Tensor:
            chosen = nn.functional.one_hot(body.contexts(by_rows(y, name, ELSEWHERE).shape[1]), CONTEXTS)
            return self.adapt(name, index, args[0], y, chosen.to(torch.float32)).to(y.dtype)

        return change


class ContextLoRA(_Contexts):
    """y + (alpha / r) x A_c B_c for a token of context c; A Kaiming, B zero at the start.

    Args:
        facts: The backbone's facts.
        rank: r.
        alpha: The scale's numerator.
        targets: Which projections: q, k, v, o, up, down.
        init_rows: Not used.
        generator: Source of random numbers.
    """

    def __init__(
        self,
        facts: Facts,
        *,
        rank: int = 8,
        alpha: float = 8,
        targets: list[str] | tuple[str, ...] = NAMES,
        init_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.targets, self.scale = tuple(targets), alpha / rank
        self.a, self.b = nn.ParameterDict(), nn.ParameterDict()
        for name in self.targets:
            s = shapes(facts)[name]
            drawn = [linear(rank, s.inputs, generator).detach() for _ in range(s.count * CONTEXTS)]
            self.a[name] = nn.Parameter(torch.stack(drawn).view(s.count, CONTEXTS, rank, s.inputs).mT.contiguous())
            self.b[name] = nn.Parameter(torch.zeros(s.count, CONTEXTS, rank, s.outputs))

    @classmethod
    def check(cls, options: dict[str, Any], facts: Facts) -> list[str]:
        """A rank of at least one."""
        rank = cls.complete(options)["rank"]
        return super().check(options, facts) + ([f"method.rank={rank}: must be 1 or more."] if rank < 1 else [])

    @classmethod
    def size(cls, options: dict[str, Any], name: str, shape: Shape) -> int:
        return int(cls.complete(options)["rank"]) * (shape.inputs + shape.outputs)

    def adapt(self, name: str, index: int, x: Tensor, y: Tensor, chosen: Tensor) -> Tensor:
        a, b = self.a[name][index], self.b[name][index]
        inner = torch.einsum("btd,cdr->btcr", x.to(a.dtype), a) * chosen.to(a.dtype)[..., None]
        return y + self.scale * torch.einsum("btcr,crf->btf", inner, b)


class ContextBitFit(_Contexts):
    """y + b_c for a token of context c, on all projections; zero at the start.

    Args:
        facts: The backbone's facts.
        targets: Which projections.
        init_rows: Not used.
        generator: Not used.
    """

    def __init__(
        self,
        facts: Facts,
        *,
        targets: list[str] | tuple[str, ...] = NAMES,
        init_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.targets = tuple(targets)
        found = shapes(facts)
        self.shifts = nn.ParameterDict(
            {n: nn.Parameter(torch.zeros(found[n].count, CONTEXTS, found[n].outputs)) for n in self.targets}
        )

    @classmethod
    def size(cls, options: dict[str, Any], name: str, shape: Shape) -> int:
        return shape.outputs

    def adapt(self, name: str, index: int, x: Tensor, y: Tensor, chosen: Tensor) -> Tensor:
        table = self.shifts[name][index]
        return y + chosen.to(table.dtype) @ table


class ContextIA3(_Contexts):
    """Keys, values and the feed-forward's inner states times l_c for a token of context c; one at the start.

    Args:
        facts: The backbone's facts.
        init_rows: Not used.
        generator: Not used.
    """

    targets = ("k", "v", "down")

    def __init__(
        self, facts: Facts, *, init_rows: Tensor | None = None, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        found = shapes(facts)
        self.scales = nn.ParameterDict(
            {n: nn.Parameter(torch.ones(found[n].count, CONTEXTS, self._width(n, found[n]))) for n in self.targets}
        )

    @staticmethod
    def _width(name: str, shape: Shape) -> int:
        return shape.inputs if name == "down" else shape.outputs

    @classmethod
    def size(cls, options: dict[str, Any], name: str, shape: Shape) -> int:
        return cls._width(name, shape)

    def attach(self, body: Body) -> InputMethod | None:
        """Hooks behind keys and values, and in front of the feed-forward's second layer."""
        for name in self.targets:
            for index, (_, module) in enumerate(body.projections(name)):
                if name == "down":
                    module.register_forward_pre_hook(self._before(body, index))
                else:
                    module.register_forward_hook(self._hook(body, name, index))
        return None

    def _before(self, body: Body, index: int) -> Any:
        def change(module: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            table = self.scales["down"][index]
            length = by_rows(args[0], "down", ELSEWHERE).shape[1]
            chosen = nn.functional.one_hot(body.contexts(length), CONTEXTS).to(table.dtype)
            return ((args[0] * (chosen @ table)).to(args[0].dtype), *args[1:])

        return change

    def adapt(self, name: str, index: int, x: Tensor, y: Tensor, chosen: Tensor) -> Tensor:
        table = self.scales[name][index]
        return y * (chosen.to(table.dtype) @ table)

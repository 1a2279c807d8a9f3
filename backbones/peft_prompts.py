"""P-tuning, multitask prompt tuning and prefix tuning with PEFT's own modules (rows say "PEFT implementation").

PEFT makes the vectors; they then go through this project's forward passes, so that they reach T5's encoder alone,
where PEFT's default would double them for the decoder.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from peft import MultitaskPromptTuningConfig, PrefixTuningConfig, PromptEncoderConfig
from peft.tuners.multitask_prompt_tuning import MultitaskPromptEmbedding
from peft.tuners.p_tuning import PromptEncoder
from peft.tuners.prefix_tuning import PrefixEncoder
from torch import Tensor, nn

from methods.base import Facts, InputMethod, LayerMethod
from methods.source import Source


class _Prompted(InputMethod):
    """An input-level method whose prompt PEFT's module makes."""

    producer: nn.Module

    def __init__(self, length: int) -> None:
        super().__init__()
        self.prompt_slots = length

    @classmethod
    def check(cls, options: dict[str, Any], facts: Facts) -> list[str]:
        """A prompt has a length."""
        length = cls.complete(options)["prompt_length"]
        return [] if length >= 1 else [f"method.prompt_length={length}: must be 1 or more."]

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """One group: ``prompt``."""
        return {"prompt": list(self.parameters())}

    def indices(self) -> Tensor:
        """0..m-1 on the right device."""
        return torch.arange(self.prompt_slots, device=next(self.parameters()).device)


@contextmanager
def seeded(generator: torch.Generator | None) -> Iterator[None]:
    """Random numbers inside come from ``generator``; the global state is left as it was."""
    seed = int(torch.randint(2**31, (1,), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


class PTuning(_Prompted):
    """P-tuning (Liu et al. 2021): a prompt made by an MLP or LSTM from trained embeddings, by PEFT.

    Args:
        facts: the backbone's facts.
        prompt_length: m.
        network: ``MLP`` or ``LSTM``.
        hidden: hidden width; None = the backbone's width.
        init_rows: not used.
        generator: source of random numbers.
    """

    choices: ClassVar[dict[str, tuple[Any, ...]]] = {"network": ("MLP", "LSTM")}

    def __init__(
        self,
        facts: Facts,
        *,
        prompt_length: int = 20,
        network: str = "MLP",
        hidden: int | None = None,
        init_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(prompt_length)
        if init_rows is not None:
            raise ValueError("P-tuning makes its prompt by a network; init_rows cannot be given (init: null).")
        settings = PromptEncoderConfig(
            num_virtual_tokens=prompt_length,
            token_dim=facts.width,
            num_transformer_submodules=1,
            encoder_reparameterization_type=network,  # type: ignore[arg-type]
            encoder_hidden_size=hidden or facts.width,
        )
        with seeded(generator):
            self.producer = PromptEncoder(settings)

    @classmethod
    def count(cls, options: dict[str, Any], facts: Facts) -> int:
        """m d, and the network's weights and biases."""
        o = cls.complete(options)
        d, h = facts.width, o["hidden"] or facts.width
        total = o["prompt_length"] * d
        if o["network"] == "MLP":
            return total + (d + 1) * h + (h + 1) * h + (h + 1) * d
        layers = [2 * (4 * h * (size + h) + 8 * h) for size in (d, 2 * h)]  # two layers, both directions
        return total + sum(layers) + (2 * h + 1) * 2 * h + (2 * h + 1) * d

    def prompts(self, source: Source) -> Tensor:
        """(m, d)."""
        return self.producer(self.indices()[None])[0]


class MultitaskPrompt(_Prompted):
    """Multitask prompt tuning (Wang et al. 2023), its target stage: P (.) (u v^T), by PEFT.

    PEFT draws u and v from N(0, 0.02), so the prompt starts near zero; the distillation stage is not in PEFT.

    Args:
        facts: the backbone's facts.
        prompt_length: m.
        ranks: rank of u v^T.
        init_rows: (m, d) start of P; None = N(0, 1).
        generator: source of random numbers.
    """

    def __init__(
        self,
        facts: Facts,
        *,
        prompt_length: int = 100,
        ranks: int = 1,
        init_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(prompt_length)
        settings = MultitaskPromptTuningConfig(
            num_virtual_tokens=prompt_length,
            token_dim=facts.width,
            num_transformer_submodules=1,
            num_tasks=1,
            num_ranks=ranks,
        )
        with seeded(generator):
            self.producer = MultitaskPromptEmbedding(settings, None)
        if init_rows is not None:
            with torch.no_grad():
                self.producer.embedding.weight.copy_(init_rows)  # type: ignore[union-attr, operator]

    @classmethod
    def count(cls, options: dict[str, Any], facts: Facts) -> int:
        """m d + ranks (m + d) (T5-base, m=100: 77,668)."""
        o = cls.complete(options)
        return o["prompt_length"] * facts.width + o["ranks"] * (o["prompt_length"] + facts.width)

    def prompts(self, source: Source) -> Tensor:
        """(m, d)."""
        indices = self.indices()
        return self.producer(indices[None], indices.new_zeros(1))[0]


class PeftPrefix(LayerMethod):
    """Prefix tuning (Li and Liang 2021) with PEFT's encoder, on the stacks that PEFT prefixes (T5: the decoder alone).

    Args:
        facts: the backbone's facts.
        prefix_length: l.
        projection: make the prefix by PEFT's two-layer network.
        hidden: its hidden width; None = the backbone's width.
        init_rows: not used.
        generator: source of random numbers.
    """

    def __init__(
        self,
        facts: Facts,
        *,
        prefix_length: int = 20,
        projection: bool = False,
        hidden: int | None = None,
        init_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if init_rows is not None:
            raise ValueError("Prefix tuning has no prompt vectors; init_rows cannot be given (init: null).")
        self.prefix_length, self.kv_heads, self.head_dim = prefix_length, facts.kv_heads, facts.head_dim
        self.stack = list(facts.stacks)[-1]
        settings = PrefixTuningConfig(
            num_virtual_tokens=prefix_length,
            token_dim=facts.kv_heads * facts.head_dim,
            num_layers=facts.decoder_layers or facts.layers,
            encoder_hidden_size=hidden or facts.width,
            prefix_projection=projection,
        )
        with seeded(generator):
            self.producer = PrefixEncoder(settings)

    @classmethod
    def check(cls, options: dict[str, Any], facts: Facts) -> list[str]:
        """A prefix has a length."""
        length = cls.complete(options)["prefix_length"]
        return [] if length >= 1 else [f"method.prefix_length={length}: must be 1 or more."]

    @classmethod
    def count(cls, options: dict[str, Any], facts: Facts) -> int:
        """2 L l H d_h; with the network l k + (k + 1) h + (h + 1) 2 L k, where k = kv_heads head_dim."""
        o = cls.complete(options)
        k, layers = facts.kv_heads * facts.head_dim, facts.decoder_layers or facts.layers
        if not o["projection"]:
            return 2 * layers * o["prefix_length"] * k
        h = o["hidden"] or facts.width
        return o["prefix_length"] * k + (k + 1) * h + (h + 1) * 2 * layers * k

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """One group: ``prefix``."""
        return {"prefix": list(self.parameters())}

    def prefix(self, stack: str, layer: int, batch: int, summary: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Keys and values of one layer, each (B, l, kv_heads, head_dim); none (l = 0) on T5's encoder."""
        indices = torch.arange(self.prefix_length, device=next(self.parameters()).device)
        if stack != self.stack:
            none = next(self.parameters()).new_zeros(batch, 0, self.kv_heads, self.head_dim)
            return none, none
        rows = self.producer(indices).view(self.prefix_length, -1, self.kv_heads, self.head_dim)
        pair = rows[:, 2 * layer : 2 * layer + 2].expand(batch, -1, -1, -1, -1)
        return pair[:, :, 0], pair[:, :, 1]

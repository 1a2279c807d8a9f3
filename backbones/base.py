"""What every family offers: a frozen model, its embeddings, its batches, and answers to five questions.

``losses``, ``rank`` and ``generate`` (text-to-text), ``classify`` and ``tag`` (encoders) take the input-level method
as an argument; deep prefixes and weight-level methods sit inside the model and need no argument (backbones/tuned.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from backbones.batch import Batch
from backbones.config import BackboneConfig, Facts


class Inputs(Protocol):
    """What a family asks of an input-level method (methods.base.InputMethod has this shape)."""

    prompt_slots: int

    def __call__(self, embeds: Tensor, mask: Tensor, ids: Tensor, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B, T, d), (B, T), (B, T), (B, T) -> prompt in front: (B, m + T, d), (B, m + T)."""

    def shift(self, embeds: Tensor, ids: Tensor, rows: Tensor | None = None) -> Tensor:
        """The additive part alone: (B, T, d) -> (B, T, d)."""


class NoPrompt:
    """The input-level method that changes nothing (zero-shot, deep prefixes, weight-level methods)."""

    prompt_slots = 0

    def __call__(self, embeds: Tensor, mask: Tensor, ids: Tensor, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return embeds, mask

    def shift(self, embeds: Tensor, ids: Tensor, rows: Tensor | None = None) -> Tensor:
        return embeds


class Backbone(nn.Module):
    """A frozen model of one family.

    Args:
        model: the transformers model; its weights are frozen here.
        tokenizer: its fast tokenizer.
        config: where it came from.
        head: encoders only, a trainable task head (backbones/encoder.py).
    """

    summaries: Any = None  # backbones.prefix.Summaries, when a deep prefix reads its layer's input
    position_offset: int = 0  # where the text's positions start (deep prefixes that shift: encoders, and PEFT on LLaMA)

    def __init__(self, model: nn.Module, tokenizer: Any, config: BackboneConfig, head: nn.Module | None = None) -> None:
        super().__init__()
        self.model: Any = model.requires_grad_(False).eval()
        self.tokenizer = tokenizer
        self.config = config
        self.facts: Facts = config.sizes()
        self.head = head
        self.backbone_dropout = False
        self._checkpointing = False

    @property
    def device(self) -> torch.device:
        return self.embedding.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.embedding.weight.dtype

    @property
    def embedding(self) -> nn.Embedding:
        """The input embedding table (V, d); on encoders the word embeddings alone."""
        return self.model.get_input_embeddings()

    @property
    def eos_ids(self) -> set[int]:
        """Token ids that end an answer."""
        return {self.tokenizer.eos_token_id} if self.tokenizer.eos_token_id is not None else set()

    def embed(self, ids: Tensor) -> Tensor:
        """Frozen embedding lookup: (B, T) -> (B, T, d)."""
        return self.embedding(ids)

    def train(self, mode: bool = True) -> Backbone:
        """Training mode reaches the frozen model only when ``backbone_dropout`` asks for its dropout."""
        super().train(mode)
        self.model.train(mode and self.backbone_dropout)
        self._mark_checkpointing(mode)
        return self

    def gradient_checkpointing(self, on: bool = True) -> None:
        """Recompute layers in the backward pass instead of keeping their activations."""
        model = self.model  # transformers 5.2x renames the pair
        if on:
            enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
            enable({"use_reentrant": False})
        else:
            disable = getattr(model, "activation_checkpointing_disable", None) or model.gradient_checkpointing_disable
            disable()
        self._checkpointing = on
        self._mark_checkpointing(self.training)

    def _mark_checkpointing(self, mode: bool) -> None:
        # transformers checkpoints a layer only in training mode; the layer's own flag is enough for that, and its
        # children stay in evaluation mode, so that no dropout wakes up
        if self._checkpointing:
            for module in self.model.modules():
                if isinstance(module, GradientCheckpointingLayer):
                    module.training = mode

    @property
    def checkpointing_now(self) -> bool:
        return self._checkpointing and self.training and torch.is_grad_enabled()

    def note_source(self, mask: Tensor | None) -> None:
        """Tell gated prefixes which positions (B, T) of the coming forward are source tokens; None = keep what is."""
        if self.summaries is not None:
            self.summaries.mask, self.summaries.given = mask, None

    def note_encoded(self, encoded: Tensor, mask: Tensor) -> None:
        """Tell gated prefixes of a decoder what the encoder made of the source, (B, T, d) and (B, T)."""
        if self.summaries is not None:
            self.summaries.mask = mask
            self.summaries.given = self.summaries.of(encoded)

    @contextmanager
    def repeated(self, count: int) -> Iterator[None]:
        """Each example stands ``count`` times in the forwards inside (candidates on the T5 decoder)."""
        before = self.summaries.given if self.summaries is not None else None
        if before is not None:
            self.summaries.given = before.repeat_interleave(count, 0)
        try:
            yield
        finally:
            if before is not None:
                self.summaries.given = before

    def collate(self, examples: Sequence[Any], *, candidates: bool = False) -> Batch:
        """Pad encoded examples (tasks.encode.Encoded) to their own longest."""
        raise self._cannot("collate")

    def losses(self, batch: Batch, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Summed target cross-entropy (B,) and the number of target tokens (B,)."""
        raise self._cannot("losses")

    def rank(self, batch: Batch, inputs: Inputs) -> Tensor:
        """Log-probability of each candidate's whole token sequence: (B, C), -inf where there is no candidate."""
        raise self._cannot("rank")

    def generate(self, batch: Batch, inputs: Inputs, max_new_tokens: int) -> list[list[int]]:
        """Greedy decoding, EOS cut."""
        raise self._cannot("generate")

    def classify(self, batch: Batch, inputs: Inputs) -> Tensor:
        """Logits (B, n_labels); multiple choice (B, C); regression (B, 1)."""
        raise self._cannot("classify")

    def tag(self, batch: Batch, inputs: Inputs) -> Tensor:
        """Logits (B, T, n_tags)."""
        raise self._cannot("tag")

    def _cannot(self, what: str) -> TypeError:
        able = {"t5": "losses, rank, generate", "llama": "losses, rank, generate", "encoder": "losses, classify, tag"}
        return TypeError(
            f"a backbone of family {self.facts.family!r} cannot {what}; it can {able[self.facts.family]}. "
            "Choose another backbone or another scoring (protocol)."
        )


def cast_inputs(
    inputs: Inputs, embeds: Tensor, mask: Tensor, ids: Tensor, rows: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Run an input-level method and bring its output to the backbone's precision (methods train in float32)."""
    out, wide_mask = inputs(embeds, mask, ids, rows)
    return out.to(embeds.dtype), wide_mask

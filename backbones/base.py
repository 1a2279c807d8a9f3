"""What every family offers: a frozen model, its embeddings, its batches, and answers to five questions.

``losses``, ``rank`` and ``generate`` (text-to-text), ``classify`` and ``tag`` (encoders) take the input-level method
as an argument; what a method changes inside the model was put there when it attached (backbones/tuned.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from backbones import (
    checkpointing,
    masks,  # noqa: F401  # before the first mask: another device is not asked whether it is all ones
)
from backbones.batch import Batch
from backbones.config import BackboneConfig, Facts
from backbones.features import Features
from backbones.joint import Head, Joint
from backbones.layers import change_before
from backbones.own import position_limit
from backbones.projections import find
from backbones.quantised import quantised_layers
from methods.base import InputMethod, LayerMethod
from methods.source import Source


class NoPrompt(InputMethod):
    """The input-level method that changes nothing (zero-shot, deep prefixes, weight-level methods)."""


class Backbone(nn.Module):
    """A frozen model of one family.

    Args:
        model: the transformers model; its weights are frozen here.
        tokenizer: its fast tokenizer.
        config: where it came from.
        head: encoders only, a trainable task head (backbones/encoder.py).
    """

    SIZES: ClassVar[dict[str, str]] = {}  # key of transformers' config -> the fact that it is, for random weights
    LAYERS: ClassVar[dict[str, str]] = {}  # q, k, v, o, up, down -> the end of such a path

    head_logits: Head  # (N, d) -> (N, V); language models alone
    admission: dict[str, Any] | None = None  # what backbones.admission compared, for the record
    content: dict[str, str] | None = None  # of a model of the Hub: commit and sha256 of the files that were loaded
    summaries: Any = None  # backbones.prefix.Summaries, when a deep prefix reads its layer's input
    current: Source | None = None  # of the forward pass that runs, where hooks read it (encoders)
    removable: bool = True  # whether `bare` can leave out what a method changed
    shards: Any = None  # backbones.sharded.Shards, where its layers lie in parts on several processes
    position_offset: int = 0  # where the text's positions start (deep prefixes that shift: encoders, and PEFT on LLaMA)

    def __init__(self, model: nn.Module, tokenizer: Any, config: BackboneConfig, head: nn.Module | None = None) -> None:
        super().__init__()
        self.model: Any = model.requires_grad_(False).eval()
        self.tokenizer = tokenizer
        self.config = config
        self.facts: Facts = config.sizes()
        self.head = head
        self.backbone_dropout = False
        self.checkpointing = False
        self.changed = False  # by a method: then it serves no other one
        self.is_bare = False  # prefixes are left out (see `bare`)
        self._features = Features(self)
        self.position_limit = position_limit(self.model, self.facts)

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
    def weights(self) -> int:
        """Numbers that the model is made of, in whatever bits they are kept (a method's own are counted too)."""
        return sum(p.numel() for p in self.model.parameters()) + sum(q.count for q in quantised_layers(self.model))

    @property
    def eos_ids(self) -> set[int]:
        """Token ids that end an answer."""
        return {self.tokenizer.eos_token_id} if self.tokenizer.eos_token_id is not None else set()

    def embed(self, ids: Tensor) -> Tensor:
        """Frozen embedding lookup, with what the model's embedding does to its rows (scales): (B, T) -> (B, T, d)."""
        return self.embedding(ids)

    @property
    def table(self) -> Tensor:
        """(V, d): what `embed` gives for every token."""
        embedding = self.embedding
        if type(embedding) is nn.Embedding:
            return embedding.weight
        with torch.no_grad():  # Gemma 3 scales its rows inside the embedding
            return embedding(torch.arange(embedding.weight.shape[0], device=embedding.weight.device))

    def refuse_positions(self, length: int) -> None:
        """Refuse rows (prompt, source and answer) that are longer than a model with a table of positions can be.

        Raises:
            ValueError: the length is past the last position.
        """
        if self.position_limit and length > self.position_limit:
            raise ValueError(
                f"rows of {length} tokens (prompt, source and answer) do not fit into the {self.position_limit} "
                f"positions of backbone {self.config.name!r}; shorten them with runner.max_source_length=<tokens> or a "
                "smaller prompt, or choose a backbone with more positions."
            )

    def train(self, mode: bool = True) -> Backbone:
        """Training mode reaches the frozen model only when ``backbone_dropout`` asks for its dropout."""
        super().train(mode)
        self.model.train(mode and self.backbone_dropout)
        self._mark_checkpointing(mode)
        return self

    def gradient_checkpointing(self, on: bool = True) -> None:
        """Recompute layers in the backward pass instead of keeping their activations."""
        if on:
            checkpointing.turn_on(self.model, self.config.name, lambda: self.backbone_dropout)
        else:
            checkpointing.turn_off(self.model)
        self.checkpointing = on
        self._mark_checkpointing(self.training)

    def _mark_checkpointing(self, mode: bool) -> None:
        if self.checkpointing:
            checkpointing.mark(self.model, mode)

    @property
    def checkpointing_now(self) -> bool:
        return self.checkpointing and self.training and torch.is_grad_enabled()

    def note_source(self, mask: Tensor | None) -> None:
        """Tell gated prefixes which positions (B, T) of the coming forward are source tokens; None = keep what is."""
        if self.summaries is not None:
            self.summaries.mask, self.summaries.given = mask, None

    def note_encoded(self, encoded: Tensor, mask: Tensor) -> None:
        """Tell gated prefixes of a decoder what the encoder made of the source, (B, T, d) and (B, T)."""
        if self.summaries is not None:
            self.summaries.mask = mask
            self.summaries.given = self.summaries.of(encoded)

    def take_prefix(self, method: LayerMethod) -> None:
        """Fill the slot of every self-attention with a layer-level method's keys and values (methods.base.Body)."""
        from backbones.prefix import attach

        self.changed = True
        attach(self, method)

    def source_mean(self, place: Any, values: Tensor) -> Tensor:
        """Mean over the source's positions of what a gated prefix's method reads elsewhere (methods.base.Body)."""
        assert self.summaries is not None
        return self.summaries.at(place, values)

    def projections(self, name: str) -> list[tuple[str, nn.Module]]:
        """(path, linear layer) of one kind of projection, for a method's hooks (methods.base.Body)."""
        self.changed, self.removable = True, False
        return list(find(self.model, self.facts.family, name))

    def before_layers(self, change: Callable[[Tensor, str, int], Tensor]) -> None:
        """In front of every layer, hidden states become change(states, stack, layer) (methods.base.Body)."""
        self.changed, self.removable = True, False
        change_before(self, change)

    def contexts(self, length: int) -> Tensor:
        """Which kind of token each of `length` positions is, (B, length) (methods.base.Body)."""
        raise self._cannot("tell contexts")

    @contextmanager
    def bare(self) -> Iterator[None]:
        """Forwards inside are the frozen model's own: no deep prefix, no dropout.

        Raises:
            ValueError: a weight-level method has changed the model for good.
        """
        if self.changed and not self.removable:
            raise ValueError(
                "a method that changes the model's weights or outputs cannot read features of the frozen model: "
                "take the summary from the embeddings instead (Source.mean, Source.maximum)."
            )
        before = self.summaries, self.position_offset, self.is_bare
        self.summaries, self.position_offset, self.is_bare = None, 0, True
        self.model.eval()
        try:
            yield
        finally:
            self.summaries, self.position_offset, self.is_bare = before
            self.model.train(self.training and self.backbone_dropout)
            self._mark_checkpointing(self.training)

    @contextmanager
    def in_step(self) -> Iterator[None]:
        """Passes inside need not be those of the other processes; behind it, all have made theirs (sharded layers).

        Every process enters it equally often: what the main one does alone stands in it on all of them.
        """
        try:
            yield
        finally:
            if self.shards is not None:
                self.shards.rest()

    def source(self, batch: Batch, rows: Tensor | None = None) -> Source:
        """What a method is shown of a batch: its source tokens (B, S), and nothing of the answers.

        Args:
            rows: row of a position-indexed offset for every source token (B, S), -1 = none; None = 0..S-1.
        """
        return Source(
            self.embed(batch.source),
            batch.source,
            batch.source_mask,
            rows,
            padding=self._padding(),
            reader=lambda _: self._features(batch),
        )

    def _padding(self) -> Tensor | None:
        pad = getattr(self.tokenizer, "pad_token_id", None)
        return None if pad is None else self.embed(torch.full((), pad, device=self.device))

    def summary(self, ids: Tensor, types: Tensor | None) -> Tensor:
        """One vector of unpadded sources (B, S), with token types where the model reads them: (B, d)."""
        raise self._cannot("summary")

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

    def joint(self, batch: Batch, inputs: InputMethod, first: Tensor) -> Joint:
        """How states become the logits of an answer's tokens.

        Args:
            first: (B, d) states that the answer's first token is predicted from; (B K, d) where K prompts answer.

        Raises:
            ValueError: the method's weights are not (B, K).
        """
        if not inputs.answers_together:
            return Joint(self.head_logits)
        logits = self.head_logits(first).float().unflatten(0, (len(batch), -1))
        weights = inputs.weights(self.source(batch), logits)
        if weights.shape != logits.shape[:2]:
            raise ValueError(
                f"{type(inputs).__name__} gave weights of shape {tuple(weights.shape)}: {tuple(logits.shape[:2])} is "
                "wanted, one for each example and prompt."
            )
        return Joint(self.head_logits, weights.float(), first.dtype)

    def losses(self, batch: Batch, inputs: InputMethod) -> tuple[Tensor, Tensor]:
        """Summed target cross-entropy (B,) and the number of target tokens (B,)."""
        raise self._cannot("losses")

    def rank(self, batch: Batch, inputs: InputMethod) -> Tensor:
        """Log-probability of each candidate's whole token sequence: (B, C), -inf where there is no candidate."""
        raise self._cannot("rank")

    def generate(self, batch: Batch, inputs: InputMethod, max_new_tokens: int) -> list[list[int]]:
        """Greedy decoding, EOS cut."""
        raise self._cannot("generate")

    def classify(self, batch: Batch, inputs: InputMethod) -> Tensor:
        """Logits (B, n_labels); multiple choice (B, C); regression (B, 1)."""
        raise self._cannot("classify")

    def tag(self, batch: Batch, inputs: InputMethod) -> Tensor:
        """Logits (B, T, n_tags)."""
        raise self._cannot("tag")

    def _cannot(self, what: str) -> TypeError:
        return TypeError(
            f"a backbone of family {self.facts.family!r} cannot {what}; it can {', '.join(self.facts.traits.asks)}. "
            "Choose another backbone or another scoring (protocol)."
        )

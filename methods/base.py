"""What a method is: trainable tensors over the facts of a frozen backbone, and nothing else.

Two kinds live here. An input-level method changes what the backbone reads (soft prompts in front of the token
embeddings, offsets on them); a layer-level method gives every attention layer keys and values to put in front.
A method never sees a task, a tokenizer or a trainer. It is a pure function of its own tensors (no caches, nothing
in place), so that copies of it can be stacked.
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Facts(Protocol):
    """What a method may know of a frozen backbone (`backbones.config.Facts` is the concrete class)."""

    @property
    def family(self) -> str:
        """`t5`, `llama` or `encoder`."""

    @property
    def width(self) -> int:
        """Hidden size d."""

    @property
    def layers(self) -> int:
        """Layers of the stack that reads the source (T5: encoder layers)."""

    @property
    def heads(self) -> int:
        """Query heads."""

    @property
    def kv_heads(self) -> int:
        """Key and value heads (fewer than `heads` with grouped-query attention)."""

    @property
    def head_dim(self) -> int:
        """Width of one head."""

    @property
    def vocab(self) -> int:
        """Rows of the token-embedding table."""

    @property
    def decoder_layers(self) -> int:
        """T5's decoder layers, 0 elsewhere."""

    @property
    def dropout(self) -> float:
        """The backbone's hidden dropout probability."""


_NOT_OPTIONS = ("self", "facts", "init_rows", "generator")


def option_defaults(cls: type) -> dict[str, Any]:
    """Names and defaults of a class's options, read from its constructor; `inspect.Parameter.empty` = required."""
    parameters = inspect.signature(cls.__init__).parameters.values()  # type: ignore[misc]
    named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return {p.name: p.default for p in parameters if p.kind in named and p.name not in _NOT_OPTIONS}


class Method(nn.Module):
    """Base of all methods.

    A subclass lists its options as keyword arguments of its constructor, after `facts`; they are the keys of its
    YAML. Its constructor also takes `init_rows`, an (m, d) tensor of starting prompt vectors (rows of the
    vocabulary, of a text or of the labels; for a deep prefix their keys and values, (l, 2 L H d_h); None = drawn
    here), and `generator`, the source of all its random numbers.

    Attributes:
        kind: `input` or `layer`.
        choices: Allowed values of options that have a closed set.
        position_indexed: Whether it has a row per source position, and so a `max_source_length`.
        needs_source: Whether it only makes sense when started from another run (`method.init_from`).
    """

    kind: ClassVar[str] = ""
    choices: ClassVar[dict[str, tuple[Any, ...]]] = {}
    position_indexed: ClassVar[bool] = False
    needs_source: ClassVar[bool] = False

    @classmethod
    def complete(cls, options: dict[str, Any]) -> dict[str, Any]:
        """`options` with the constructor's defaults filled in."""
        known = {k: v for k, v in option_defaults(cls).items() if v is not inspect.Parameter.empty}
        return {**known, **options}

    @classmethod
    def check(cls, options: dict[str, Any], facts: Facts) -> list[str]:
        """Say, in sentences with the values seen and allowed, what is wrong with a combination of options."""
        return []

    @classmethod
    def count(cls, options: dict[str, Any], facts: Facts) -> int:
        """Trainable parameters by formula; a test holds it against the tensors."""
        raise TypeError(f"{cls.__name__} must say its parameter count: define the class method `count`.")

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """Parameter groups by the names they have under `method.lr`."""
        raise TypeError(f"{type(self).__name__} must name its parameter groups: define the method `groups`.")

    def watch(self) -> None:
        """Note from now on what `diagnostics` tells (the runner asks for it once, on a few examples)."""

    def diagnostics(self) -> dict[str, Any]:
        """What was seen since `watch`: name -> JSON value, kept as diagnostics/<name>.json of the run; {} = nothing."""
        return {}


class InputMethod(Method):
    """A method that changes the embeddings the frozen backbone reads.

    A subclass gives `prompt_vectors` (what stands in front) and may give `offset` (what is added to the tokens).

    Attributes:
        prompt_slots: m, the number of positions put in front.
        offset_generated: Decoder-only models: whether target tokens at scoring and generation get `shift` too.
        row_alignment: Decoder-only models, position-indexed methods: `source_end` or `right_edge`.
        max_source_length: s of a position-indexed offset (its rows); 0 where there is none.
    """

    kind: ClassVar[str] = "input"
    prompt_slots: int = 0
    offset_generated: bool = True
    row_alignment: str = "source_end"
    max_source_length: int = 0

    def prompt_vectors(self) -> Tensor:
        """The (m, d) vectors in front of the tokens."""
        raise TypeError(f"{type(self).__name__} must define `prompt_vectors`, the (m, d) tensor put in front.")

    def offset(self, embeds: Tensor, ids: Tensor, rows: Tensor | None) -> Tensor | None:
        """What is added to the token embeddings, (B, T, d) or (T, d); None = nothing."""
        return None

    def shift(self, embeds: Tensor, ids: Tensor, rows: Tensor | None = None) -> Tensor:
        """The additive part alone, X -> X' (generated tokens pass through this one).

        Args:
            embeds: Frozen token embeddings (B, T, d).
            ids: Token ids (B, T).
            rows: Row of a position-indexed offset for every token (B, T), -1 = none; None = 0..T-1.
        """
        added = self.offset(embeds, ids, rows)
        # Out of place: an in-place addition breaks under gradient checkpointing and hooks.
        return embeds if added is None else embeds + added.to(embeds.dtype)

    def forward(self, embeds: Tensor, mask: Tensor, ids: Tensor, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Embeddings (B, T, d) and mask (B, T) -> (B, m+T, d) and (B, m+T): [prompt; shifted tokens]."""
        shifted = self.shift(embeds, ids, rows)
        if self.prompt_slots == 0:
            return shifted, mask
        batch = embeds.shape[0]
        prompt = self.prompt_vectors().to(embeds.dtype).unsqueeze(0).expand(batch, -1, -1)
        seen = mask.new_ones(batch, self.prompt_slots)
        return torch.cat([prompt, shifted], dim=1), torch.cat([seen, mask], dim=1)

    def fold(self, table: Tensor) -> Tensor | None:
        """A private embedding table (V, d) that gives `shift` by look-up alone; None where there is none."""
        return None


class LayerMethod(Method):
    """A method that gives attention layers keys and values to put in front.

    Attributes:
        prefix_length: l.
        needs_summary: Whether `prefix` reads a summary of the layer's input (APT's gates).
        gate_source: Where that summary comes from: `auto` (first token on encoders, masked source mean
            elsewhere), `first_token` or `mean`.
        position_shift: Encoders: whether absolute positions of the text start at l (as in P-tuning v2's code).
    """

    kind: ClassVar[str] = "layer"
    prefix_length: int = 0
    needs_summary: bool = False
    gate_source: str = "auto"
    position_shift: bool = False

    def prefix(self, stack: str, layer: int, batch: int, summary: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Keys and values of one layer, each (B, l, kv_heads, head_dim).

        Args:
            stack: `encoder` or `decoder` (LLaMA: `decoder`; BERT types: `encoder`; T5: both).
            layer: Index within the stack.
            batch: B.
            summary: (B, d) summary of the layer's input where `needs_summary`.
        """
        raise TypeError(f"{type(self).__name__} must define `prefix`.")


def stacks_of(facts: Facts) -> dict[str, int]:
    """The attention stacks that a deep prefix enters, with their depths."""
    if facts.family == "t5":
        return {"encoder": facts.layers, "decoder": facts.decoder_layers}
    return {"decoder": facts.layers} if facts.family == "llama" else {"encoder": facts.layers}


def prompt_parameter(
    length: int, width: int, init_rows: Tensor | None, generator: torch.Generator | None
) -> nn.Parameter | None:
    """A trainable (m, d) prompt: `init_rows` if given, else U(-0.5, 0.5) (PT paper, section 2); None for m = 0.

    Raises:
        ValueError: If `init_rows` has another shape.
    """
    if length == 0:
        return None
    if init_rows is None:
        return nn.Parameter(torch.rand(length, width, generator=generator) - 0.5)
    if tuple(init_rows.shape) != (length, width):
        raise ValueError(
            f"init_rows has shape {tuple(init_rows.shape)}; a prompt of {length} vectors of width {width} "
            f"needs ({length}, {width})."
        )
    return nn.Parameter(init_rows.detach().to(torch.float32).clone())


def rows_of(table: Tensor, rows: Tensor | None, length: int) -> Tensor:
    """Pick the rows of a position-indexed offset table.

    Args:
        table: (s, d).
        rows: (B, T) with -1 = no offset, or None = the first `length` rows (right padding).
        length: T.

    Returns:
        (T, d) where `rows` is None, else (B, T, d).

    Raises:
        ValueError: If `rows` is None and the batch is longer than the table.
    """
    if rows is not None:
        return F.embedding(rows.clamp_min(0), table) * (rows >= 0).unsqueeze(-1).to(table.dtype)
    if length > table.shape[0]:
        raise ValueError(
            f"A batch of {length} tokens has no offset rows beyond {table.shape[0]}. Truncate to "
            f"method.max_source_length={table.shape[0]}, or raise that option."
        )
    # Slicing equals padding every row to s: offsets on padding are masked everywhere.
    return table[:length]

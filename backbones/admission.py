"""A backbone is admitted by proof: our path and the model's own forward say the same, or the run is refused.

Rows go through our path without a prompt (padded in a batch, with candidates that share tokens, decoded with a cache,
one row longer than any local window) and one by one through the model's plain forward; then the same with a prompt,
against the plain forward over the same embeddings. What nobody thought of when this was written is thereby refused
instead of wrong. A backbone's first use takes the comparison, its content and this package's source remember it.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import transformers

from backbones.base import Backbone
from backbones.compared import Comparison, compare_encoder, compare_quantised, compare_text
from backbones.errors import BackboneError, first_line
from backbones.quantised import said
from results.files import write_text

# largest difference, as a share of the largest value compared; float32 sums in another order differ by 1e-6 to 1e-5,
# bfloat16 keeps 8 bits of each number (docs/backbones.md has what was measured)
BOUNDS = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}


def admit(backbone: Backbone, cache_root: str | Path) -> dict[str, Any]:
    """Prove that a backbone (before any method is attached to it) is used rightly, or refuse it.

    Args:
        backbone: as loaded.
        cache_root: what was admitted is noted under ``<cache_root>/admitted``.

    Returns:
        What was compared, for the record: ``architecture``, ``attention``, ``precision``, ``bound``, ``differences``
        (share of the scale, by what was compared), ``longest_row``, ``window``.

    Raises:
        BackboneError: a difference above the bound, a prompt that does not act, or an error of the model's code.
    """
    note = Path(cache_root) / "admitted" / f"{content_key(backbone)}.json"
    try:
        known = json.loads(note.read_text(encoding="utf-8"))
        if known["admitted"] is True:
            return known["report"]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # never compared, or a damaged note: compare (again)
    report = compared(backbone)
    _write(note, {"admitted": True, "report": report})
    return report


def compared(backbone: Backbone) -> dict[str, Any]:
    """As `admit`, without its memory."""
    bound = BOUNDS[backbone.dtype]
    training = backbone.training
    backbone.eval()
    try:
        with torch.inference_mode():
            found = compare_text(backbone) if backbone.facts.traits.writes else compare_encoder(backbone)
            if backbone.config.quantization:
                compare_quantised(found, backbone)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # whatever the model's code raises, it cannot be used here
        raise BackboneError(
            f"{_named(backbone)} is refused: its forward could not be compared with ours ({first_line(error)}). "
            "docs/backbones.md lists the architectures that are admitted."
        ) from error
    finally:
        backbone.train(training)
    _judge(backbone, found, bound)
    few = backbone.config.quantization
    return {
        **({"quantization": said(few)} if few else {}),
        "architecture": type(backbone.model).__name__,
        "attention": backbone.model.config._attn_implementation,
        "precision": str(backbone.dtype).removeprefix("torch."),
        "bound": bound,
        "differences": {name: float(f"{value:.2g}") for name, value in found.differences.items()},
        "longest_row": found.longest,
        "window": found.window,
    }


def _judge(backbone: Backbone, found: Comparison, bound: float) -> None:
    worst = max(found.differences, key=lambda name: found.differences[name])
    value = found.differences[worst]
    if value > bound:
        raise BackboneError(
            f"{_named(backbone)} is refused: {worst} differs from the model's own forward by {value:.2g} of its scale "
            f"(at most {bound:g} is allowed in {str(backbone.dtype).removeprefix('torch.')}). Compared were "
            f"{', '.join(found.differences)}, on rows of up to {found.longest} tokens. Numbers from it would be "
            "wrong; docs/backbones.md lists the architectures that are admitted."
        )
    for what, (change, noise) in found.changes.items():
        if not change > noise:
            raise BackboneError(
                f"{_named(backbone)} is refused: {what} (a row's answers move by {change:.2g} of their scale, "
                f"rounding alone by {noise:.2g})."
            )


def _named(backbone: Backbone) -> str:
    attention = backbone.model.config._attn_implementation
    return f"backbone {backbone.config.name!r} ({type(backbone.model).__name__}, {attention} attention)"


def content_key(backbone: Backbone) -> str:
    """A name for what was compared: the model's configuration and weights, its precision, and the code on both sides.

    Weights enter by shape, sum and some of their values: the comparison is about how they are used.
    """
    settings = backbone.model.config.to_dict()
    for key in ("_name_or_path", "transformers_version", "dtype", "torch_dtype"):
        settings.pop(key, None)
    told: list[Any] = [
        type(backbone.model).__name__, json.dumps(settings, sort_keys=True, default=str), str(backbone.dtype),
        backbone.model.config._attn_implementation, backbone.device.type, backbone.config.position_shift,
        sorted(backbone.eos_ids), torch.__version__, transformers.__version__, _own_source(),
    ]  # fmt: skip
    for name, tensor in backbone.model.state_dict().items():
        flat = tensor.detach().flatten()
        some = flat[:: max(1, len(flat) // 8)][:9].float().tolist()
        told.append((name, tuple(tensor.shape), float(flat.sum(dtype=torch.float32)), some))
    return hashlib.sha256(repr(told).encode()).hexdigest()[:32]


@lru_cache(maxsize=1)
def _own_source() -> str:
    """sha256 over the source of this package: an edit of how backbones are used asks for the comparison again."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def _write(path: Path, value: dict[str, Any]) -> None:
    """Under a temporary name, then renamed; a cache that cannot be written costs time and nothing else."""
    with suppress(OSError):
        write_text(path, json.dumps(value))


__all__ = ["BOUNDS", "admit", "compared", "content_key"]

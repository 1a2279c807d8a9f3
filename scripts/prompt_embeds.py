"""What a decoder-only model reads of each row, as vectors: for servers that take `prompt_embeds` (vLLM)."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backbones.positions import offset_rows
from tasks.encode import Encoded


def write(finished: Any, source: Path, to: str | None, force: bool = False) -> str:
    """Lines of JSON, a row and its `prompt_embeds`; says what was written.

    Raises:
        ValueError: the run cannot be served so, or a row lacks columns.
    """
    from results.command_line import place
    from results.files import refuse_taken, write_text
    from scripts.predict import Answerer
    from tasks.reading import some_rows

    refuse(finished)
    out = place(to or f"{finished.run.id}-prompt_embeds.jsonl")
    refuse_taken(out, force)
    rows, answerer = some_rows(source), Answerer(finished)
    encoded = answerer.encoded([answerer.of_row(row, f"row {i}") for i, row in enumerate(rows, start=1)])
    lines = [
        json.dumps({**row, "prompt_embeds": packed(vectors(finished, example))}, ensure_ascii=False)
        for row, example in zip(rows, encoded, strict=True)
    ]
    write_text(out, "".join(line + "\n" for line in lines))
    return f"wrote {out}: {len(lines)} rows of {finished.tuned.backbone.facts.width} wide vectors"


def refuse(finished: Any) -> None:
    """Raises ValueError where vectors in front of a plain model are not the whole of what the run does."""
    from scripts.peft_form import Inexpressible

    tuned, run = finished.tuned, finished.run.id
    if not finished.config.backbone.traits.continues:
        raise Inexpressible(f"run {run}: prompt_embeds are for decoder-only models, this backbone is not one")
    if tuned.backbone.changed or tuned.inputs is not tuned.method:
        raise Inexpressible(f"run {run}: method={finished.record['method']} works inside the model, not in front of it")
    if tuned.inputs.answers_together:
        raise Inexpressible(
            f"run {run}: method={finished.record['method']} answers each row in several passes and weights "
            "their logits, and a server reads a row once"
        )
    generated = tuned.inputs.offset_generated and tuned.inputs.token_offset(tuned.backbone.table[:1]) is not None
    if generated:
        raise Inexpressible(
            f"run {run}: method={finished.record['method']} shifts every token that is generated too, which a server "
            "does not; export it for PEFT with its folded table"
        )


@torch.inference_mode()
def vectors(finished: Any, example: Encoded) -> Tensor:
    """[prompt; shifted source tokens] of one example, (m + S, d)."""
    backbone, inputs = finished.tuned.backbone, finished.tuned.inputs
    batch = backbone.collate([example]).to(backbone.device)
    return inputs(backbone.source(batch, offset_rows(batch, inputs, 0)))[0][0].cpu()


def packed(tensor: Tensor) -> str:
    """A tensor as vLLM takes it: base64 of what torch.save writes."""
    buffer = io.BytesIO()
    torch.save(tensor.clone(), buffer)
    return base64.b64encode(buffer.getvalue()).decode()

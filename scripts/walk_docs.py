"""docs/backbones.md from what scripts/walk.py saw."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from results.files import write_text

FILE = Path(__file__).resolve().parents[1] / "docs" / "backbones.md"
GROUPS = (("pt", "dept", "adept", "accept"), ("prefix", "apt"), ("lora",))
ORDER = ("llama", "t5", "encoder")
TOP = """# Backbones

`python scripts/walk.py --docs` wrote this page. Every cell took a tiny random checkpoint of the architecture through a
run's own path and compared it with plain transformers, row by row and unpadded: input-level methods by the embeddings
that they make, deep prefixes by the model's own eager attention with their keys and values in front, LoRA by merged
weights. **yes**: every question agrees to 1e-4 of the scale, the method moves every answer and every one of its tensors
gets a gradient. A number: the run is refused, with the sentence below the table (exit code 2). Nothing here is wrong,
and nothing ends in a traceback: `{counts}` cells.

## Any model

`backbone=hub backbone.hub=Qwen/Qwen3-0.6B` or `backbone=hub backbone.path=<folder>` finds the family and the sizes in
the checkpoint's config.json. `hub_llama`, `hub_t5` and `hub_encoder` say the family themselves. Architectures that
stand in no table here are not refused for that: they are compared like all others.

## How a backbone is admitted

The first time a backbone is used, rows go through our path and, one by one and unpadded, through the model's own
forward: rows of 6, 3 and 11 tokens in one padded batch, candidates that share tokens, decoding with a cache (the last
row is longer than any local window that its configuration names, where it names one); then the same
with a prompt in front, against the plain forward over the same embeddings; sdpa against eager attention; encoders also
by what their pooler makes of the first token, and by whether that token sees the last one. The largest difference may
be 1e-4 of the largest value in float32, 5e-2 in bfloat16 and 1e-2 in float16. What is above it is refused with the
architecture, the difference and what was compared. The model's configuration and weights, its precision, the versions
of torch and transformers and the source of `backbones/` are the name under which the cache remembers it
(`<cache>/admitted/`). `record.json` has it as `backbone_admission`; `python scripts/doctor.py backbone=…` shows it.

A deep prefix is proved when it is attached: an empty one leaves the answers as they were, and a full one gets a
gradient from every row in every layer. Every method must train as many numbers as its formula says.

## What is defined here

- **A prompt and local attention.** A prompt's slots are tokens in front of the text: they take the first positions, and
  where a layer sees the last w tokens only, they fall out of its window as tokens would. On a model whose layers are
  all local, a text longer than layers x (w - 1) tokens does not see its prompt. A deep prefix has no position: every
  token sees it, in local layers too.
- **What follows a head** (logit scales, soft caps) is never listed here: logits come from the model's own forward.
- **Rows end** where a table of positions ends (GPT-2, OPT), and where the rotary frequencies of a batch would depend on
  its longest row (`dynamic`, `longrope`: at the length the model was trained with).
- **Attention** is sdpa, or eager where the architecture has no sdpa; which one is said, and stands in the record.
- **Prompt vectors** have the width of the input embeddings (ALBERT, ELECTRA small, OPT-350m: not the hidden size).
"""


def write(cells: Sequence[Any]) -> None:
    """Write the page."""
    write_text(FILE, page(cells))


def page(cells: Sequence[Any]) -> str:
    """The page as text.

    Args:
        cells: every scripts.walk.Cell of a whole walk.
    """
    from backbones.specimens import SPECIMENS
    from scripts.walk import counted
    from tasks.families import family as traits_of

    parts = [TOP.format(counts=counted(cells))]
    for family in map(traits_of, ORDER):
        notes: list[str] = []
        lines = [f"\n## {family.title}\n", f"Questions: {', '.join(family.asks)}.\n"]
        lines += ["| architecture | type | pt, dept, adept, accept | prefix, apt | lora |", "| --- " * 5 + "|"]
        for name, specimen in SPECIMENS.items():
            if specimen.family != family.name:
                continue
            own = [cell for cell in cells if cell.architecture == name]
            shown = [_cell([c for c in own if c.method in group], notes) for group in GROUPS]
            label = name + (f" ({specimen.says})" if specimen.says else "")
            lines.append(f"| {label} | {specimen.model_type} | {' | '.join(shown)} |")
        lines += ["", *(f"{number}. {note}" for number, note in enumerate(notes, 1))]
        parts.append("\n".join(lines))
    return "\n".join(parts).rstrip() + "\n"


def _cell(cells: Sequence[Any], notes: list[str]) -> str:
    """`yes`, or the numbers of the sentences that say why not."""
    said = list(dict.fromkeys(_plain(cell.says) for cell in cells if cell.outcome != "admitted"))
    for text in said:
        if text not in notes:
            notes.append(text)
    return ", ".join(str(notes.index(text) + 1) for text in said) or "yes"


def _plain(text: str) -> str:
    """A refusal without what differs from machine to machine (a difference's digits)."""
    words = text.replace("|", "/").split(". Compared were")[0].split(" by ")
    if len(words) == 1:
        return words[0]
    tail = words[1].split(" ", 1)
    return (
        f"{words[0]} by {float(tail[0]):.0e} {' by '.join([tail[1], *words[2:]])}"
        if _number(tail[0])
        else " by ".join(words)
    )


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

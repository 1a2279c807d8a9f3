"""The vocabulary's tokens nearest to the prompt of a finished run: `python scripts/nearest.py run=<run_id> [top=5]`.

Per prompt vector the tokens with the greatest cosine (Lester et al. 2021, section 7), then how often neighbours repeat.
Every method with one prompt for all examples is read as the backbone reads it (ACCEPT's is composed first); a prompt
that is made from the input, or none at all, is refused.

    options: run=<id or its beginning>  top=<number>  ledger=<folder>  cache=<folder>
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT), *(p for p in sys.path if p != str(ROOT / "scripts"))]  # scripts/ names some packages

from results.command_line import command  # noqa: E402

OPTIONS = {"run": "id", "top": "number", "ledger": "folder", "cache": "folder"}


@command
def main(arguments: Sequence[str]) -> int:
    """Print the tokens; 2 where the run has no such prompt."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if arguments else 2
    from results.ledger import root_of
    from runners.finished import load_finished, options_of

    try:
        given, rest = options_of(list(arguments), OPTIONS)
        if "run" not in given or rest or not given.get("top", "5").isdigit() or given.get("top") == "0":
            raise ValueError("give run=<run_id> and, if wanted, top=<number above 0>; see --help")
        root = root_of(given.get("ledger"), "ledger")
        finished = load_finished(root, given["run"], cache=given.get("cache"))
        print("\n".join(lines(finished, int(given.get("top", "5")))))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def lines(finished: Any, top: int) -> list[str]:
    """A line per prompt vector with its nearest tokens and their cosines, and one on how often they repeat."""
    from results.analysis import clusters, nearest, norms

    vectors, table = prompt(finished), embeddings(finished)
    words = finished.tuned.backbone.tokenizer.convert_ids_to_tokens(list(range(len(table))))
    words = [str(word) for word in words]
    found = nearest(vectors, table, top)
    made = [
        f"{i}\t" + "\t".join(f"{words[token]} {cosine:+.3f}" for token, cosine in picks)
        for i, picks in enumerate(found)
    ]
    size, repeats = norms(vectors), clusters(found, words)
    typical = norms(table)["mean"]
    return [
        *made,
        f"{len(vectors)} vectors, mean norm {size['mean']:.4g} (the vocabulary's: {typical:.4g}); "
        f"{100 * repeats['shared first neighbour']:.0f}% share their first neighbour with another vector, "
        f"{100 * repeats['distinct words']:.0f}% of the neighbours are distinct words",
    ]


def prompt(finished: Any) -> Any:
    """The prompt as the backbone reads it, (m, d) float64.

    Raises:
        ValueError: there is none, or it depends on the input.
    """
    import torch

    from methods.source import Source

    reads, backbone, run = finished.tuned.inputs, finished.tuned.backbone, finished.run
    if reads is None or not reads.prompt_slots:
        raise ValueError(f"run {run.id} is method={finished.record['method']}: no prompt stands in front of its input")
    ids = torch.tensor([[3, 4, 5], [6, 7, 8]])
    with torch.inference_mode():
        read = reads.read(Source(backbone.embed(ids), ids, torch.ones_like(ids)))
    if read.index is not None and len(read.vectors) > 1:
        raise ValueError(f"run {run.id} is method={finished.record['method']}: its prompt is made from each input")
    return read.vectors[0].detach().double().numpy()


def embeddings(finished: Any) -> Any:
    """The frozen token embeddings that the tokenizer has names for, (V, d) float64."""
    import torch

    backbone = finished.tuned.backbone
    with torch.inference_mode():
        return backbone.embed(torch.arange(len(backbone.tokenizer))[None])[0].detach().double().numpy()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

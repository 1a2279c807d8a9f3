"""`python -m results.analysis`: learned prompts of runs, their norms and how alike they are. Reads no model.

    python -m results.analysis method=pt,dept task=demo/movie_reviews
    python -m results.analysis task=glue/mrpc,glue/qqp method=pt out=prompts.md ledger.root=DIR

Any facet or config key chooses runs. Norms are of the stored prompt vectors; similarity is between runs on one
backbone, by the two measures of Vu et al. 2022 (SPoT, section 4): the cosine of the mean vectors, and the mean
cosine over all pairs of vectors. Runs of one task and of two tasks are averaged apart. The vocabulary's tokens nearest
to each vector need the model: `python scripts/nearest.py run=ID`.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from results.asked import asked_for
from results.command_line import command, deliver
from results.records import Run
from results.setting import MODEL
from results.standing import told
from results.tables.checked import LayoutError

Array = NDArray[np.float64]
OPTIONS = ("ledger.root", "out")
MOST = 12  # runs of a similarity matrix; of more only the averages by task are shown


@dataclass(frozen=True)
class LearnedPrompt:
    """The prompt of a run: (m, d)."""

    run: Run
    vectors: Array

    @property
    def name(self) -> str:
        """Which run it is, for tables."""
        method = told(self.run.get("method"), str(self.run.get("method")))
        return f"{method}, {self.run.get('task')}, seed {self.run.get('seed')} ({self.run.id[:8]})"


def prompt_of(run: Run) -> Array | None:
    """The stored prompt vectors of a run, (m, d); None where it has none of its own (deep prefixes, ACCEPT's codebooks,
    prompts made from the input)."""
    from safetensors import safe_open

    path = run.folder / "method.safetensors"
    if not path.is_file():
        return None
    with safe_open(str(path), framework="numpy") as file:
        for name in sorted(file.keys(), key=len):
            if name.rpartition(".")[2] == "prompt":
                return np.asarray(file.get_tensor(name), dtype=np.float64)
    return None


def norms(vectors: Array) -> dict[str, float]:
    """Mean, spread, least and greatest Euclidean norm of the vectors (m, d), and the deviation of their elements."""
    lengths = np.linalg.norm(vectors, axis=1)
    spread = float(lengths.std(ddof=1)) if len(lengths) > 1 else 0.0
    return {
        "vectors": float(len(vectors)),
        "mean": float(lengths.mean()),
        "sd": spread,
        "least": float(lengths.min()),
        "greatest": float(lengths.max()),
        "element sd": float(vectors.std()),
    }


def similarity_of_means(a: Array, b: Array) -> float:
    """Cosine of the mean vectors of two prompts (m, d), (n, d)."""
    return float(_unit(a.mean(axis=0)[None])[0] @ _unit(b.mean(axis=0)[None])[0])


def similarity_of_tokens(a: Array, b: Array) -> float:
    """Mean cosine over all pairs of vectors of two prompts (m, d), (n, d)."""
    return float((_unit(a) @ _unit(b).T).mean())


def nearest(vectors: Array, table: Array, top: int = 5) -> list[list[tuple[int, float]]]:
    """The rows of a vocabulary's embeddings (V, d) nearest to each vector (m, d), by cosine (Lester et al. 2021).

    Returns:
        Per vector `top` pairs (row, cosine), the greatest first, ties by the smaller row.
    """
    if vectors.shape[1] != table.shape[1]:
        raise ValueError(f"vectors are {vectors.shape[1]} wide, the vocabulary's embeddings {table.shape[1]}")
    cosines = _unit(vectors) @ _unit(table).T
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :top]
    return [[(int(j), float(row[j])) for j in picks] for row, picks in zip(cosines, order, strict=True)]


def clusters(found: Sequence[Sequence[tuple[int, float]]], words: Sequence[str]) -> dict[str, float]:
    """How often nearest tokens repeat: the share of vectors whose first neighbour is also that of another one, and the
    share of distinct words among all neighbours."""
    first = [picks[0][0] for picks in found]
    shared = sum(first.count(token) > 1 for token in first) / len(first)
    every = [words[token].strip().lower() for picks in found for token, _ in picks]
    return {"shared first neighbour": shared, "distinct words": len(set(every)) / len(every)}


def _unit(vectors: Array) -> Array:
    """Vectors of length one; a vector of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)


def page(prompts: Sequence[LearnedPrompt], without: int) -> str:
    """Norms and similarities as Markdown."""
    head = ("run", "vectors", "mean norm", "sd", "least", "greatest", "element sd")
    rows = [[p.name, *(f"{value:.4g}" for value in norms(p.vectors).values())] for p in prompts]
    out = ["# Learned prompts\n", *_table(head, rows), ""]
    if without:
        out.append(f"{without} runs have no prompt vectors of their own (deep prefixes, composed prompts, weights).\n")
    alike: dict[tuple[str, str, int], list[LearnedPrompt]] = {}
    for prompt in prompts:
        alike.setdefault(_space(prompt), []).append(prompt)
    for (backbone, _, width), held in alike.items():
        if len(held) > 1:
            out += [f"## Similarity, {backbone}, width {width}\n", *_similarity(held), ""]
    return "\n".join(out).rstrip() + "\n"


def _space(prompt: LearnedPrompt) -> tuple[str, str, int]:
    """What vectors must share for their cosine to say anything: one frozen model's space, not its width alone."""
    backbone = str(prompt.run.get("backbone"))
    return backbone, str(prompt.run.setting.get(f"{MODEL} {backbone}")), int(prompt.vectors.shape[1])


def _similarity(held: Sequence[LearnedPrompt]) -> list[str]:
    out = []
    if len(held) <= MOST:
        head = ("cosine of means (above), mean cosine of vectors (below)", *(str(i + 1) for i in range(len(held))))
        rows = [[f"{i + 1}. {a.name}", *(_pair(i, j, held) for j in range(len(held)))] for i, a in enumerate(held)]
        out += [*_table(head, rows), ""]
    else:
        out += [
            f"{len(held)} runs: the averages by task alone; filters that leave {MOST} or fewer show every pair.",
            "",
        ]
    kinds: dict[str, list[tuple[float, float]]] = {}
    for i, a in enumerate(held):
        for b in held[i + 1 :]:
            tasks = sorted({str(a.run.get("task")), str(b.run.get("task"))})
            pair = similarity_of_means(a.vectors, b.vectors), similarity_of_tokens(a.vectors, b.vectors)
            kinds.setdefault(" and ".join(tasks), []).append(pair)
    rows = [
        [name, str(len(pairs)), *(f"{statistics.fmean(values):+.3f}" for values in zip(*pairs, strict=True))]
        for name, pairs in sorted(kinds.items())
    ]
    return out + _table(("tasks", "pairs of runs", "cosine of means", "mean cosine of vectors"), rows)


def _pair(i: int, j: int, held: Sequence[LearnedPrompt]) -> str:
    if i == j:
        return ""
    measure = similarity_of_means if i < j else similarity_of_tokens
    return f"{measure(held[i].vectors, held[j].vectors):+.3f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    rule = "| --- |" + " ---: |" * (len(head) - 1)
    return [f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(row)} |" for row in rows)]


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """0 when a page was made, 2 when the arguments are wrong or no run has a prompt."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if any(word in ("-h", "--help", "help") for word in arguments):
        print(__doc__)
        return 0
    try:
        asked = asked_for(arguments, OPTIONS, "results.analysis")
    except LayoutError as error:
        print(error, file=sys.stderr)
        return 2
    runs = [run for run in asked.runs if run.done]
    found = [(run, prompt_of(run)) for run in runs]
    prompts = [LearnedPrompt(run, vectors) for run, vectors in found if vectors is not None]
    if not prompts:
        print(f"{len(runs)} finished runs match and none of them stores a prompt in {asked.root}", file=sys.stderr)
        return 2
    return deliver(page(prompts, len(runs) - len(prompts)), asked.given.get("out"))


if __name__ == "__main__":
    raise SystemExit(main())

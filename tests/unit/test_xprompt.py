"""XPrompt: importances by loops, what goes, controls; nothing pruned is PT that goes on; a killed stage goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from conf.plan import make_plan
from methods.xprompt import XPrompt
from results.ledger import Ledger
from runners.job import run_point
from tests.sizes import tiny

M, D, K = 5, 8, 4


def pruned(tokens: float, pieces: float, control: str = "none") -> tuple[XPrompt, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    method = XPrompt(tiny(), prompt_length=M, prune_tokens=tokens, prune_pieces=pieces, pieces=K, control=control)
    rows = torch.randn(3, M, D, generator=generator)
    assert method.prompt is not None
    method.prompt.data = torch.randn(M, D, generator=generator)

    def gradients() -> Iterator[None]:
        for row in rows:
            method.prompt.grad = row.clone() * method.mask  # type: ignore[union-attr]
            yield

    method.prepare(gradients)
    return method, rows


def importance(p: list, grads: list, start: int, stop: int) -> float:
    return sum(abs(sum(p[j] * g[j] for j in range(start, stop))) for g in grads) / len(grads)


@pytest.mark.parametrize("control", ["none", "reversed"])
def test_what_matters_least_goes(control: str) -> None:
    method, rows = pruned(0.4, 0.5, control)
    p, grads = method.prompt.double().tolist(), rows.double().tolist()  # type: ignore[union-attr]
    sign = -1 if control == "reversed" else 1
    scores = [importance(p[i], [g[i] for g in grads], 0, D) for i in range(M)]
    gone = sorted(range(M), key=lambda i: sign * scores[i])[: int(0.4 * M)]
    for i in range(M):
        parts = [importance(p[i], [g[i] for g in grads], k * 2, k * 2 + 2) for k in range(K)]
        dropped = sorted(range(K), key=lambda k: sign * parts[k])[: int(0.5 * K)]
        for k in range(K):
            wanted = 0.0 if i in gone or k in dropped else 1.0
            assert method.mask[i, 2 * k : 2 * k + 2].tolist() == [wanted] * 2
    assert method.diagnostics()["pruned"] == {"tokens": 3, "entries": 3 * 4, "of": M * D}


def test_random_control_drops_as_many() -> None:
    assert int(pruned(0.4, 0.0, "random")[0].mask.sum()) == 3 * D


COMMON = ["task=demo/movie_reviews", "data=fixture", "protocol=carved", "runner=smoke", "runner.max_steps=3",
          "runner.device=cpu", "backbone=tiny_t5", "method.prompt_length=4"]  # fmt: skip


def run(root: Path, *overrides: str) -> str:
    (point,) = make_plan([*COMMON, f"ledger.root={root}", *overrides]).points
    outcome = run_point(point.resolved)
    assert outcome.status == "done", outcome
    return point.run_id


def test_stages_are_runs_and_nothing_pruned_is_prompt_tuning_that_goes_on(tmp_path: Path) -> None:
    first = run(tmp_path, "method=pt")
    on = run(tmp_path, "method=pt", f"method.init_from={first}")
    nothing = ["method.prune_tokens=0", "method.prune_pieces=0"]
    same = run(tmp_path, "method=xprompt", f"method.init_from={first}", *nothing)
    less = run(tmp_path, "method=xprompt", f"method.init_from={first}", "method.prune_tokens=0.5", "method.pieces=8")
    ledger = Ledger(tmp_path)
    saved = {name: load_file(ledger.run(name) / "method.safetensors") for name in (first, on, same, less)}
    assert torch.equal(saved[on]["prompt"], saved[same]["prompt"])
    mask = saved[less]["mask"]
    assert int(mask.any(1).sum()) == 2 and 0 < int(mask.sum()) < 2 * mask.shape[1]
    moved = saved[less]["prompt"] != saved[first]["prompt"]
    assert not moved[mask == 0].any() and moved[mask == 1].any()  # rewound, and masked entries stay

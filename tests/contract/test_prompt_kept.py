"""A prompt's keys and values are kept for an evaluation: never past a change of what the prompt passes through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from methods.base import Body, InputMethod
from methods.source import Source
from results.ledger import Ledger
from runners.data import encode_splits, load_data
from runners.finished import load_finished
from tests.running import run_here


class Written(InputMethod):
    """Fixed rows in front, and a trained change of every layer's values."""

    def __init__(self, facts: Any, *, prompt_length: int = 4, init_rows: Any = None, generator: Any = None) -> None:
        super().__init__()
        self.prompt_slots = prompt_length
        self.register_buffer("rows", torch.randn(prompt_length, facts.width, generator=generator))
        self.change = nn.Parameter(torch.zeros(facts.layers, facts.kv_heads * facts.head_dim, facts.width))

    @classmethod
    def count(cls, options: dict[str, Any], facts: Any) -> int:
        return int(facts.layers * facts.kv_heads * facts.head_dim * facts.width)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return {"weights": [self.change]}

    def prompts(self, source: Source) -> Tensor:
        return self.rows  # type: ignore[return-value]

    def attach(self, body: Body) -> InputMethod:
        for index, (_, module) in enumerate(body.projections("v")):
            module.register_forward_hook(lambda _, args, y, index=index: y + args[0] @ self.change[index].T)
        return self


def test_a_prompt_that_stays_passes_through_what_is_trained(tmp_path: Path) -> None:
    """The scores that a run keeps are those that its saved tensors give in a fresh model."""
    file = tmp_path / "written.py"
    text = Path(__file__).read_text(encoding="utf-8")
    head, body = text.split("class Written", 1)
    file.write_text(head.split("from results", 1)[0] + "\n\nclass Written" + body.split("\n\n\ndef ", 1)[0] + "\n")
    own = ["method=own", f"method.path={file}", "method.prompt_length=4", "method.lr.weights=0.05"]
    outcome = run_here(tmp_path, *own, "backbone=tiny_llama", "runner.max_steps=8")
    assert outcome.status == "done", outcome.reason
    run = Ledger(tmp_path / "runs").run(str(outcome.run_id))
    fresh = load_finished(tmp_path / "runs", str(outcome.run_id), cache=str(tmp_path / "cache"))
    split = encode_splits(fresh.config, load_data(fresh.config), fresh.tuned.backbone.tokenizer)["test"]
    batch = fresh.tuned.backbone.collate(list(split.encoded), candidates=True)
    with np.load(run / "scores.test.npz", allow_pickle=False) as kept:
        told = kept["log_probs"]
    np.testing.assert_allclose(told, fresh.tuned.rank(batch).log_softmax(-1).numpy(), atol=1e-4)

"""UniPELT against plain loops in float64, against its parts alone, and its published counts."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backbones.config import Facts
from backbones.tuned import Tuned
from methods.prefix import Prefix
from methods.unipelt import GATED, UniPELT
from runners.promised import PROMISES, Subject, answers, examples
from runners.promises import broken
from tests.contract import rig
from tests.contract.test_promises import subject
from tests.parity.test_related import doubled, same, times
from tests.sizes import BERT_BASE, tiny

B, T, D, L = 2, 4, 8, 2
ONE = Facts("encoder", D, L, 2, 2, 4, 11, ffn=D)
MASK = [[1, 1, 1, 0], [1, 1, 1, 1]]


class Body:
    """Two blocks with their q, v and down layers; the mean over the source is taken in a loop."""

    def __init__(self) -> None:
        self.facts = ONE
        self.layers = {n: [nn.Linear(D, D).double() for _ in range(L)] for n in ("q", "v", "down")}

    def take_prefix(self, method: Prefix) -> None:
        self.deep = method

    def projections(self, name: str) -> list[tuple[str, nn.Module]]:
        return [(f"{name}{i}", layer) for i, layer in enumerate(self.layers[name])]

    def source_mean(self, place: Any, values: Tensor) -> Tensor:
        rows = [[sum(float(values[b, t, 0].detach()) * MASK[b][t] for t in range(T)) / sum(MASK[b])] for b in range(B)]
        return torch.tensor(rows, dtype=torch.float64)


def gate(weight: list, bias: float, rows: list, mask: list) -> float:
    """Mean over real tokens of sigmoid(w . h + b)."""
    told = [1 / (1 + math.exp(-bias - sum(w * h for w, h in zip(weight, row, strict=True)))) for row in rows]
    return sum(g * m for g, m in zip(told, mask, strict=True)) / sum(mask)


def test_low_rank_and_adapter_behind_their_gates() -> None:
    method, body = UniPELT(ONE, prefix_length=2, mlp_width=3, rank=2, bottleneck=3), Body()
    p = doubled(method)
    x = torch.randn(B, T, D, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    plain = {n: [layer(x).tolist() for layer in layers] for n, layers in body.layers.items()}
    method.attach(body)  # type: ignore[arg-type]
    for i in range(L):
        for name in ("q", "v", "down"):
            made = []
            for b in range(B):
                read = plain["down"][i][b] if name == "down" else x[b].tolist()
                part = "adapter" if name == "down" else name
                g = gate(p[f"gates.{part}.weight"][i], p[f"gates.{part}.bias"][i], read, MASK[b])
                rows = []
                for t in range(T):
                    if name == "down":
                        inner = [max(0.0, v) for v in times(p["down"][i], read[t], p["down_bias"][i])]
                        added = times(p["up"][i], inner, p["up_bias"][i])
                    else:
                        added = times(p[f"b.{name}"][i], times(p[f"a.{name}"][i], read[t]))
                    rows.append([y + g * v for y, v in zip(plain[name][i][b][t], added, strict=True)])
                made.append(rows)
            same(body.layers[name][i](x), made)


def test_keys_and_values_behind_their_gate() -> None:
    method = UniPELT(ONE, prefix_length=2, mlp_width=3, rank=2, bottleneck=3)
    p = doubled(method)
    h = torch.randn(B, T, D, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    told = method.deep.read("encoder", 1, h)
    summary = Body().source_mean("", told)
    for part, ours in enumerate(method.deep.prefix("encoder", 1, B, summary)):
        made = []
        for b in range(B):
            g = gate(p["deep.gates.weight"][1], p["deep.gates.bias"][1], h[b].tolist(), MASK[b])
            rows = []
            for e in p["deep.tables.encoder"]:
                inner = [math.tanh(v) for v in times(p["deep.w1.encoder"], e, p["deep.b1.encoder"])]
                whole = times(p["deep.w2.encoder"], inner, p["deep.b2.encoder"])
                start = (1 * 2 + part) * D  # layer 1; keys, then values
                rows.append([[g * v for v in whole[start + 4 * k : start + 4 * k + 4]] for k in range(2)])
            made.append(rows)
        same(ours, made)


@pytest.mark.parametrize("name", ["tiny_llama", "tiny_bert"])
def test_open_gates_over_nothing_else_are_a_deep_prefix(name: str) -> None:
    bare, options = rig.backbone(name), {"prefix_length": 3, "reparameterisation": "none"}
    plain = Prefix(bare.facts, **options, prefix_dropout=0.0, generator=torch.Generator().manual_seed(1))
    method = UniPELT(rig.backbone_config(name).sizes(), **options, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        for stack, table in method.deep.tables.items():
            table.copy_(plain.tables[stack])
        method.up.zero_()  # LoRA is zero at its start
        method.deep.gates.bias.fill_(60.0)  # sigmoid is 1 there
    rows = examples(bare.facts.family)
    wanted = answers(Tuned(bare, plain).eval(), rows)
    bare = rig.backbone(name)
    found = answers(Tuned(bare, method).eval(), rows)
    assert rig.close(found, wanted)
    with torch.no_grad():
        method.deep.gates.bias.fill_(0.0)
    assert not rig.close(answers(Tuned(rig.backbone(name), method).eval(), rows), wanted)


@pytest.mark.parametrize("name", ["tiny_llama", "tiny_bert"])
def test_promises(name: str) -> None:
    own: Subject = subject("unipelt", name)
    assert broken(own, tuple(PROMISES)) == {}


def test_gates_are_kept_of_a_run() -> None:
    whole = rig.tuned("unipelt", "tiny_bert")
    whole.method.watch()
    rig.answers(whole, rig.examples("tiny_bert"))
    told = whole.method.diagnostics()["parts"]
    assert told["names"] == list(GATED) and len(told["layers"]) == whole.backbone.facts.layers
    assert all(0 < gate < 1 for layer in told["layers"] for gate in layer)


def test_counts_and_where_it_is_refused() -> None:
    assert UniPELT.count({}, BERT_BASE) == 11_083_376
    assert UniPELT.count({"reparameterisation": "none"}, BERT_BASE) == 1_410_672
    small = UniPELT(tiny("llama"), prefix_length=2, mlp_width=3, rank=2, bottleneck=3)
    options = {"prefix_length": 2, "mlp_width": 3, "rank": 2, "bottleneck": 3}
    assert UniPELT.count(options, tiny("llama")) == sum(p.numel() for p in small.parameters())
    assert any("no" in said and "decoder" in said for said in UniPELT.check({}, tiny("t5")))
    with pytest.raises(ValueError, match="'q'"):
        UniPELT(tiny("encoder")).attach(_Merged())  # type: ignore[arg-type]


class _Merged(Body):
    def projections(self, name: str) -> list[tuple[str, nn.Module]]:
        return []

"""Every method against plain loops, straight from its paper's equations and its authors' code, in float64 to 1e-10."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from methods.accept import ACCEPT
from methods.adept import ADePT
from methods.apt import APT
from methods.base import Method
from methods.dept import DePT
from methods.prefix import Prefix
from methods.pt import PT
from methods.residual_pt import ResidualPT
from methods.source import Source
from tests.sizes import tiny

B, T, S, D, M, R = 2, 4, 6, 8, 3, 2
Rows = list[list[float]]


def double(method: Method, seed: int = 0) -> dict[str, list]:
    """Put the method in float64 at a random point; its tensors as nested lists."""
    generator = torch.Generator().manual_seed(seed)
    method.double().eval()
    with torch.no_grad():
        for p in method.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64))
    return {name: p.tolist() for name, p in method.named_parameters()}


def text(seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    embeds = torch.randn(B, T, D, generator=generator, dtype=torch.float64)
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    return embeds, mask, torch.randint(0, 11, (B, T), generator=generator)


def same(ours: Tensor, reference: list) -> None:
    torch.testing.assert_close(ours, torch.tensor(reference, dtype=torch.float64), rtol=0, atol=1e-10)


def product(a: Rows, b: Rows) -> Rows:
    return [[sum(a[i][k] * b[k][j] for k in range(len(b))) for j in range(len(b[0]))] for i in range(len(a))]


def joined(prompt: Rows, embeds: Tensor, added: list) -> list:
    """[P; X + added], `added` (B, T, D)."""
    x = embeds.tolist()
    moved = [[[x[b][t][j] + added[b][t][j] for j in range(D)] for t in range(T)] for b in range(B)]
    return [[*prompt, *moved[b]] for b in range(B)]


NOTHING = [[[0.0] * D] * T] * B


def test_pt() -> None:
    method = PT(tiny(), prompt_length=M)
    p, (embeds, mask, ids) = double(method), text()
    out, out_mask = method(Source(embeds, ids, mask))
    same(out, joined(p["prompt"], embeds, NOTHING))
    assert out_mask.tolist() == [[1] * M + row for row in mask.tolist()]


@pytest.mark.parametrize("scale, c", [("alpha_over_sqrt_rank", 8 / math.sqrt(R)), ("none", 1.0)])
@pytest.mark.parametrize("rows", [None, [[2, 3, 4, 5], [5, -1, 0, -1]]])
def test_dept(scale: str, c: float, rows: list[list[int]] | None) -> None:
    method = DePT(tiny(), prompt_length=M, rank=R, max_source_length=S, offset_scale=scale)
    p, (embeds, mask, ids) = double(method), text()
    ab = product(p["offset_a"], p["offset_b"])
    table = [[c * v for v in row] for row in ab]
    which = rows or [list(range(T))] * B
    added = [[table[r] if r >= 0 else [0.0] * D for r in row] for row in which]
    out, _ = method(Source(embeds, ids, mask, None if rows is None else torch.tensor(rows)))
    same(out, joined(p["prompt"], embeds, added))


def test_adept() -> None:
    method = ADePT(tiny(), prompt_length=M, rank=R)
    p, (embeds, mask, ids) = double(method), text()

    def f(x: list[float]) -> list[float]:
        hidden = [sum(x[i] * p["w1"][i][k] for i in range(D)) + p["b1"][k] for k in range(R)]
        hidden = [max(h, 0.0) for h in hidden]
        return [sum(hidden[k] * p["w2"][k][j] for k in range(R)) + p["b2"][j] for j in range(D)]

    added = [[f(x) for x in example] for example in embeds.tolist()]
    same(method(Source(embeds, ids, mask))[0], joined(p["prompt"], embeds, added))
    table = torch.randn(11, D, dtype=torch.float64)
    same(
        table + method.token_offset(table),
        [[x + y for x, y in zip(row, f(row), strict=True)] for row in table.tolist()],
    )


@pytest.mark.parametrize("rows", [None, [[2, 3, 4, 5], [5, -1, 0, -1]]])
def test_accept(rows: list[list[int]] | None) -> None:
    sizes: dict[str, Any] = {
        "prompt_width": 4,
        "prompt_codewords": 3,
        "offset_width": 2,
        "offset_codewords": 5,
        "budget_vectors": 0,
    }
    method = ACCEPT(tiny(), prompt_length=M, max_source_length=S, **sizes)
    p, (embeds, mask, ids) = double(method), text()

    def composed(weights: list, codebooks: list, n: int, t: int, r: int) -> Rows:
        made = []
        for i in range(n):
            vector: list[float] = []
            for k in range(D // t):
                vector += [sum(weights[i][k][j] * codebooks[k][j][c] for j in range(r)) for c in range(t)]
            made.append(vector)
        return made

    prompt = composed(p["prompt_weights"], p["prompt_codebooks"], M, 4, 3)
    delta = composed(p["offset_weights"], p["offset_codebooks"], S, 2, 5)
    which = rows or [list(range(T))] * B
    added = [[delta[r] if r >= 0 else [0.0] * D for r in row] for row in which]
    out, _ = method(Source(embeds, ids, mask, None if rows is None else torch.tensor(rows)))
    same(out, joined(prompt, embeds, added))


def test_residual_pt() -> None:
    method = ResidualPT(tiny(), prompt_length=M, bottleneck=R)
    p, (embeds, mask, ids) = double(method), text()
    prompt = []
    for x in p["prompt"]:
        hidden = [max(sum(p["w1"][k][i] * x[i] for i in range(D)) + p["b1"][k], 0.0) for k in range(R)]
        out = [sum(p["w2"][j][k] * hidden[k] for k in range(R)) + p["b2"][j] for j in range(D)]
        mean = sum(out) / D
        variance = sum((v - mean) ** 2 for v in out) / D
        normal = [(v - mean) / math.sqrt(variance + 1e-5) for v in out]
        prompt.append([x[j] + normal[j] * p["norm_weight"][j] + p["norm_bias"][j] for j in range(D)])
    same(method(Source(embeds, ids, mask))[0], joined(prompt, embeds, NOTHING))


FAMILIES = [("t5", "encoder"), ("t5", "decoder"), ("llama", "decoder"), ("encoder", "encoder")]


def plain_prefix(table: Rows, layer: int, kind: int, heads: int, size: int) -> list:
    """(l, heads, size) of one layer from a table in the order (position; layer; key, value; head; channel)."""
    start = (layer * 2 + kind) * heads * size
    return [[row[start + h * size : start + (h + 1) * size] for h in range(heads)] for row in table]


@pytest.mark.parametrize("family, stack", FAMILIES)
@pytest.mark.parametrize("network", ["none", "mlp"])
def test_prefix(family: str, stack: str, network: str) -> None:
    facts = tiny(family)
    method = Prefix(facts, prefix_length=M, reparameterisation=network, mlp_width=R)
    p = double(method)
    table = p[f"tables.{stack}"]
    if network == "mlp":
        w1, b1, w2, b2 = (p[f"{name}.{stack}"] for name in ("w1", "b1", "w2", "b2"))
        hidden = [[math.tanh(sum(w1[k][i] * e[i] for i in range(D)) + b1[k]) for k in range(R)] for e in table]
        table = [[sum(w2[j][k] * h[k] for k in range(R)) + b2[j] for j in range(len(b2))] for h in hidden]
    for layer in range(2):
        for kind, ours in enumerate(method.prefix(stack, layer, B)):
            same(ours, [plain_prefix(table, layer, kind, facts.kv_heads, facts.head_dim)] * B)


@pytest.mark.parametrize("family, stack", FAMILIES)
@pytest.mark.parametrize(
    "token_gate, layer_gate", [("hidden", True), ("hidden", False), ("free", True), ("none", True)]
)
@pytest.mark.parametrize("bias", [False, True])
def test_apt(family: str, stack: str, token_gate: str, layer_gate: bool, bias: bool) -> None:
    facts, bias = tiny(family), bias and token_gate == "hidden"
    method = APT(facts, prefix_length=M, token_gate=token_gate, layer_gate=layer_gate, gate_bias=bias)
    p = double(method)
    summary = torch.randn(B, D, dtype=torch.float64)
    for layer in range(2):
        scale = p[f"layer_scales.{stack}"][layer] if layer_gate else 1.0

        def alpha(h: list[float], i: int, layer: int = layer) -> float:
            if token_gate == "none":
                return 1.0
            z = p[f"gate_biases.{stack}"][layer][i] if bias or token_gate == "free" else 0.0
            if token_gate == "hidden":
                z += sum(h[j] * p[f"gate_weights.{stack}"][layer][j][i] for j in range(D))
            return 1 / (1 + math.exp(-z))

        for kind, ours in enumerate(method.prefix(stack, layer, B, summary)):
            rows = plain_prefix(p[f"tables.{stack}"], layer, kind, facts.kv_heads, facts.head_dim)
            reference = [
                [[[scale * alpha(h, i) * v for v in head] for head in rows[i]] for i in range(M)]
                for h in summary.tolist()
            ]
            same(ours, reference)

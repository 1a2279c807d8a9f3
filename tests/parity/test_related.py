"""The related papers' methods against plain loops from their equations, in float64 to 1e-10, and their counts."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backbones.config import Facts
from methods.attempt import ATTEMPT
from methods.base import Method
from methods.context import ContextBitFit, ContextIA3, ContextLoRA
from methods.ether import ETHER, turned
from methods.idpg import IDPG
from methods.lopa import LoPA
from methods.pasta import PASTA
from methods.smop import SMoP
from methods.source import Source
from methods.ulpt import ULPT
from tests.sizes import BERT_LARGE, T5_BASE, tiny

B, T, D, M = 2, 4, 8, 3


def doubled(method: Method, seed: int = 0) -> dict[str, Any]:
    """In float64 at a random point; every tensor as nested lists."""
    generator = torch.Generator().manual_seed(seed)
    method.double().eval()
    with torch.no_grad():
        for p in method.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64))
    return {name: t.tolist() for name, t in [*method.named_parameters(), *method.named_buffers()]}


def text() -> tuple[Source, list, list]:
    """A source, its embeddings without padding, its features."""
    generator = torch.Generator().manual_seed(1)
    embeds = torch.randn(B, T, D, generator=generator)
    features = torch.randn(B, D, generator=generator, dtype=torch.float64)
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    source = Source(embeds, torch.zeros(B, T).long(), mask, padding=torch.full((D,), 0.7), reader=lambda s: features)
    rows = [
        [x for x, real in zip(row, m, strict=True) if real]
        for row, m in zip(embeds.double().tolist(), mask, strict=True)
    ]
    return source, rows, features.tolist()


def same(ours: Tensor, reference: list, within: float = 1e-10) -> None:
    torch.testing.assert_close(ours, torch.tensor(reference, dtype=torch.float64), rtol=0, atol=within)


def times(w: list, x: list, b: list | None = None) -> list:
    """W x + b, W (out, in)."""
    return [sum(wi * xi for wi, xi in zip(row, x, strict=True)) + (b[i] if b else 0) for i, row in enumerate(w)]


def softmax(values: list) -> list:
    raised = [math.exp(v - max(values)) for v in values]
    return [v / sum(raised) for v in raised]


def test_ulpt() -> None:
    method = ULPT(tiny(), prompt_length=M, rank=2)
    p = doubled(method)
    made = [[p["scale"][j] * sum(p["prompt"][i][k] * p["projection"][k][j] for k in range(2)) + p["shift_vector"][j]
             for j in range(D)] for i in range(M)]  # fmt: skip
    same(method.prompts(text()[0]), made)
    assert method.projection.abs().max() <= math.sqrt(6 / (2 + D))
    fresh = ULPT(tiny(), prompt_length=M, rank=2)
    assert torch.equal(fresh.scale, torch.ones(D)) and not fresh.shift_vector.any()
    assert "projection" not in fresh.state_dict() and "seed" in fresh.state_dict()


@pytest.mark.parametrize("combine", ["gate", "add", "max", "concat"])
def test_lopa(combine: str) -> None:
    method = LoPA(tiny(), prompt_length=M, rank=2, hidden=5, combine=combine)
    p, (source, _, features) = doubled(method), text()

    def head(name: str, s: list) -> list:
        inner = [math.tanh(v) for v in times(p[f"{name}_w1"], s, p[f"{name}_b1"])]
        out = times(p[f"{name}_w2"], inner, p[f"{name}_b2"])
        return [out[2 * i : 2 * i + 2] for i in range(len(out) // 2)]

    made = []
    for s in features:
        u, v = head("u", s), head("v", s)
        own = [[sum(u[i][r] * v[j][r] for r in range(2)) for j in range(D)] for i in range(M)]
        base = p["prompt"]
        if combine == "concat":
            made.append([*base, *own])
            continue
        pick = {"gate": lambda a, b: a / (1 + math.exp(-b)), "add": lambda a, b: a + b, "max": max}[combine]
        made.append([[pick(base[i][j], own[i][j]) for j in range(D)] for i in range(M)])
    same(method.prompts(source), made)
    assert method.prompt_slots == len(made[0])


@pytest.mark.parametrize("form", ["plain", "phm"])
def test_idpg(form: str) -> None:
    n, h = 2, 4
    method = IDPG(tiny(), prompt_length=M, hidden=h, generator_form=form, phm_terms=n)
    p, (source, _, features) = doubled(method), text()

    def matrix(name: str, rows: int, columns: int) -> list:
        if form == "plain":
            return p[name]
        a, s = p[f"{name}_a"], p[f"{name}_s"]
        high, wide = rows // n, columns // n
        return [[sum(a[i][r // high][c // wide] * s[i][r % high][c % wide] for i in range(n)) for c in range(columns)]
                for r in range(rows)]  # fmt: skip

    down, up = matrix("down", D, h), matrix("up", h, M * D)
    made = []
    for s in features:
        pre = [sum(s[i] * down[i][k] for i in range(D)) + p["bias"][k] for k in range(h)]
        inner = [0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in pre]
        flat = [sum(inner[k] * up[k][j] for k in range(h)) for j in range(M * D)]
        made.append([[flat[i * D + j] + p["prompt"][i][j] for j in range(D)] for i in range(M)])
    same(method.prompts(source), made)


def test_smop() -> None:
    method = SMoP(tiny(), prompt_length=M, prompts_count=3)
    p, (source, rows, _) = doubled(method), text()
    made = []
    for tokens in rows:
        mean = [sum(x[j] for x in tokens) / len(tokens) for j in range(D)]
        chance = softmax(times(p["router"], mean))
        best = max(range(3), key=chance.__getitem__)
        made.append([[chance[best] * v for v in row] for row in p["prompt"][best]])
    same(method.prompts(source), made, 1e-6)  # the mean is taken in float32
    start = SMoP(tiny(), prompts_count=3).router
    torch.testing.assert_close(start @ start.T, torch.eye(3))


@pytest.mark.parametrize("attention", ["network", "linear", "constant"])
@pytest.mark.parametrize(("summary", "ignore"), [("masked", False), ("padded", True)])
def test_attempt(attention: str, summary: str, ignore: bool) -> None:
    given = torch.randn(2, M, D, generator=torch.Generator().manual_seed(4))
    method = ATTEMPT(tiny(), prompt_length=M, bottleneck=3, attention=attention, summary=summary, ignore_target=ignore,
                     temperature=2.0, sources=given)  # fmt: skip
    p, (source, rows, _) = doubled(method), text()
    target = p["prompt"]
    mixed = [*p["sources"], *([] if ignore else [target])]
    made = []
    for tokens in rows:
        x = [max(t[j] for t in tokens) for j in range(D)]
        x = [max(v, float(torch.tensor(0.7))) for v in x] if summary == "padded" else x
        if attention == "network":
            low = [v / (1 + math.exp(-v)) for v in times(p["down"], x)]
            high = times(p["up"], low)
            mean = sum(high) / D
            spread = math.sqrt(sum((v - mean) ** 2 for v in high) / D + 1e-5)
            q = [(v - mean) / spread * p["norm_weight"][j] + p["norm_bias"][j] for j, v in enumerate(high)]
        elif attention == "linear":
            q = times(p["map"], x)
        score = (
            [sum(max(r[j] for r in one) * q[j] for j in range(D)) / 2.0 for one in mixed]
            if attention != "constant"
            else []
        )
        a = softmax(score) if score else [1 / len(mixed)] * len(mixed)
        made.append([[target[i][j] + sum(w * one[i][j] for w, one in zip(a, mixed, strict=True)) for j in range(D)]
                     for i in range(M)])  # fmt: skip
    same(method.prompts(source), made)


@pytest.mark.parametrize("plus", [False, True])
def test_ether_reflects_blocks(plus: bool) -> None:
    generator = torch.Generator().manual_seed(2)
    x, u, v = (torch.randn(s, generator=generator, dtype=torch.float64) for s in ((5, D), (2, D // 2), (2, D // 2)))
    size = D // 2
    h = [[0.0] * D for _ in range(D)]
    for b in range(2):
        norms = [sum(float(t) ** 2 for t in one[b]) for one in (u, v)]
        for i in range(size):
            for j in range(size):
                out = float(u[b, i] * u[b, j]) / norms[0]
                back = float(v[b, i] * v[b, j]) / norms[1]
                h[b * size + i][b * size + j] = (i == j) - (out - back if plus else 2 * out)
    made = [[sum(float(row[i]) * h[i][j] for i in range(D)) for j in range(D)] for row in x]
    same(turned(x, u, v if plus else None), made)
    if not plus:
        torch.testing.assert_close(turned(x, u, None).norm(dim=1), x.norm(dim=1))
    assert torch.allclose(turned(x, u, -u), x)  # ETHER+ starts as the identity


class Body:
    """Two projections q and v of one layer, and one attached method."""

    changed = removable = False
    current: Source | None = None

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.layers = {n: nn.Linear(D, D) for n in ("q", "k", "v", "o", "up", "down")}
        self.places = torch.tensor([[0, 0, 1, 1]] * B)

    def projections(self, name: str) -> list[tuple[str, nn.Module]]:
        return [(name, self.layers[name])]

    def contexts(self, length: int) -> Tensor:
        return self.places

    def before_layers(self, change: Any) -> None:
        self.change = change


ONE = Facts("encoder", D, 1, 2, 2, 4, 11, ffn=D)


@pytest.mark.parametrize("options", [{}, {"plus": True}, {"plus": True, "sides": "one"}, {"block_layout": "reshaped"}])
def test_ether_is_a_turned_weight(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    method, body = ETHER(ONE, targets=["q"], blocks=2, **options), Body(ONE)
    layer = body.layers["q"].requires_grad_(False)
    x, weight = torch.randn(3, 5, D), layer.weight.clone()
    plain = layer(x)
    method.attach(body)
    if options.get("plus"):
        assert torch.allclose(layer(x), plain, atol=1e-5)  # starts as the identity
    with torch.no_grad():
        for p in method.parameters():
            p.add_(torch.randn(p.shape))

    def blocks(u: Tensor, v: Tensor | None) -> Tensor:
        return torch.block_diag(*(turned(torch.eye(u.shape[1]), u[b : b + 1], None if v is None else v[b : b + 1])
                                  for b in range(len(u))))  # fmt: skip

    v = method.v["q"][0] if options.get("plus") else None
    if options.get("block_layout") == "reshaped":
        made = weight.reshape(2, D, D // 2) @ torch.stack([blocks(method.u["q"][0][b : b + 1], None) for b in (0, 1)])
        made = made.reshape(D, D)
    else:
        made = weight @ blocks(method.u["q"][0], v)
    if method.two:
        made = blocks(method.out_u["q"][0], method.out_v["q"][0]).T @ made
    torch.testing.assert_close(layer(x), x @ made.T + layer.bias, atol=1e-5, rtol=1e-5)


def test_pasta_adds_by_ordinal() -> None:
    facts = Facts("encoder", D, 2, 2, 2, 4, 11, dropout=0.5)
    method, body = PASTA(facts, specials=2).eval(), Body(facts)
    method.attach(body)  # type: ignore[arg-type]
    marks = torch.tensor([[0, -1, 1, -1], [0, -1, -1, 1]])
    body.current = Source(torch.zeros(B, T, D), marks, torch.ones(B, T), specials=marks)
    hidden = torch.randn(B, T + 1, D)  # a prompt slot in front
    made = hidden.clone()
    for b in range(B):
        for t in range(T):
            if marks[b, t] >= 0:
                made[b, t + 1] += method.vectors[1, marks[b, t]].detach()
    torch.testing.assert_close(body.change(hidden, "encoder", 1), made)
    body.current = Source(torch.zeros(B, T, D), marks, torch.ones(B, T), specials=marks + 2)
    with pytest.raises(ValueError, match=r"method\.specials=2: set it to 4"):
        body.change(hidden, "encoder", 0)  # every pass begins there


@pytest.mark.parametrize("cls", [ContextLoRA, ContextBitFit, ContextIA3])
def test_contexts_choose_their_weights(cls: Any) -> None:
    torch.manual_seed(1)
    method, body = cls(ONE), Body(ONE)
    x = torch.randn(B, T, D)
    for layer in body.layers.values():
        layer.requires_grad_(False)
    plain = {name: layer(x) for name, layer in body.layers.items()}
    method.attach(body)
    assert all(torch.allclose(layer(x), plain[name]) for name, layer in body.layers.items())  # starts as the model
    with torch.no_grad():
        for p in method.parameters():
            p.add_(torch.randn(p.shape))
    for name in method.targets:
        out = body.layers[name](x)
        for b in range(B):
            for t in range(T):
                c = int(body.places[b, t])
                if cls is ContextLoRA:
                    wanted = plain[name][b, t] + x[b, t] @ method.a[name][0, c] @ method.b[name][0, c]
                elif cls is ContextBitFit:
                    wanted = plain[name][b, t] + method.shifts[name][0, c]
                elif name == "down":
                    wanted = body.layers[name].weight @ (x[b, t] * method.scales[name][0, c]) + body.layers[name].bias
                else:
                    wanted = plain[name][b, t] * method.scales[name][0, c]
                torch.testing.assert_close(out[b, t], wanted, atol=1e-5, rtol=1e-5)


LLAMA_7B = Facts("llama", 4096, 32, 32, 32, 128, 32000)
PAPER_LM = Facts("llama", 768, 12, 12, 12, 64, 32000, ffn=3072)


@pytest.mark.parametrize(
    ("cls", "options", "facts", "total"),
    [
        (ULPT, {"rank": 2}, T5_BASE, 1_736),
        (ULPT, {"rank": 16}, T5_BASE, 3_136),
        (ULPT, {"rank": 64}, T5_BASE, 7_936),
        (LoPA, {}, BERT_LARGE, 1_597_992),  # 1.60M in the paper
        (LoPA, {"rank": 1}, BERT_LARGE, 800_778),
        (IDPG, {}, BERT_LARGE, 19_472),
        (IDPG, {"generator_form": "plain"}, BERT_LARGE, 103_440),
        (SMoP, {}, T5_BASE, 18_432),
        (ATTEMPT, {}, T5_BASE, 231_936),  # 232K in the paper
        (ETHER, {}, LLAMA_7B, 262_144),
        (ETHER, {"plus": True}, LLAMA_7B, 1_048_576),
        (ETHER, {"plus": True, "sides": "one"}, LLAMA_7B, 524_288),
        (PASTA, {"specials": 3}, BERT_LARGE, 73_728),
        (PASTA, {"specials": 2}, BERT_LARGE, 49_152),
        (PASTA, {"specials": 4}, BERT_LARGE, 98_304),
        (ContextIA3, {}, PAPER_LM, 110_592),
    ],
)
def test_counts(cls: Any, options: dict[str, Any], facts: Facts, total: int) -> None:
    assert cls.count(options, facts) == total

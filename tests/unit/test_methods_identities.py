"""Methods that must equal each other, and invariances of shapes, padding and rows."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from backbones.fold import FoldCache, Folded
from backbones.tuned import Tuned
from methods.accept import ACCEPT
from methods.adept import ADePT
from methods.apt import APT
from methods.base import InputMethod
from methods.dept import DePT
from methods.prefix import Prefix
from methods.pt import PT
from methods.residual_pt import ResidualPT
from methods.source import Source
from methods.spot import SPoT
from tests.contract import rig
from tests.sizes import tiny

INPUT = [PT, SPoT, DePT, ADePT, ACCEPT, ResidualPT]
M, S, D = 3, 7, 8


def stirred(method: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Every tensor away from its start, so that nothing is zero by luck."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in method.parameters():
            p.add_(torch.randn(p.shape, generator=generator))
    return method


def make(cls: type[InputMethod], m: int = M, s: int = S) -> InputMethod:
    options = {"prompt_length": m} | ({"max_source_length": s} if cls.position_indexed else {})
    options |= {"budget_vectors": 0, "prompt_codewords": 3, "offset_codewords": 2} if cls is ACCEPT else {}
    method = stirred(cls(tiny(), generator=torch.Generator().manual_seed(0), **options)).eval()
    assert isinstance(method, InputMethod)
    return method


def text(batch: int = 2, length: int = 5, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A table, embeddings, a mask with right padding, ids."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(11, D, generator=generator)
    ids = torch.randint(0, 11, (batch, length), generator=generator)
    mask = torch.ones(batch, length, dtype=torch.long)
    mask[0, length - 1] = 0
    return table, table[ids], mask, ids


def test_dept_with_b_zero_equals_pt() -> None:
    dept, (_, embeds, mask, ids) = make(DePT), text()
    assert isinstance(dept, DePT) and dept.offset_b is not None and dept.prompt is not None
    dept.offset_b.data.zero_()
    pt = PT(tiny(), prompt_length=M, init_rows=dept.prompt)
    for ours, theirs in zip(dept(Source(embeds, ids, mask)), pt(Source(embeds, ids, mask)), strict=True):
        assert torch.equal(ours, theirs)


def test_adept_with_w2_and_b2_zero_equals_pt() -> None:
    adept, (_, embeds, mask, ids) = make(ADePT), text()
    assert isinstance(adept, ADePT) and adept.prompt is not None
    adept.w2.data.zero_()
    adept.b2.data.zero_()
    pt = PT(tiny(), prompt_length=M, init_rows=adept.prompt)
    assert torch.equal(adept(Source(embeds, ids, mask))[0], pt(Source(embeds, ids, mask))[0])


def test_accept_with_one_hot_weights_equals_pt_of_its_codewords() -> None:
    accept = ACCEPT(tiny(), prompt_length=M, prompt_width=4, prompt_codewords=3, scap=False, budget_vectors=0)
    assert accept.prompt_weights is not None and accept.prompt_codebooks is not None
    picks = torch.tensor([[0, 2], [1, 1], [2, 0]])  # (m, K): which codeword each sub-space takes
    accept.prompt_weights.data = torch.nn.functional.one_hot(picks, 3).float()
    rows = torch.stack([torch.cat([accept.prompt_codebooks[k, picks[i, k]] for k in range(2)]) for i in range(M)])
    _, embeds, mask, ids = text()
    pt = PT(tiny(), prompt_length=M, init_rows=rows)
    assert torch.equal(accept(Source(embeds, ids, mask))[0], pt(Source(embeds, ids, mask))[0])


def test_accept_with_one_subspace_is_the_low_rank_offset_of_dept() -> None:
    accept = ACCEPT(tiny(), scpp=False, max_source_length=S, offset_width=D, offset_codewords=2, budget_vectors=0)
    dept = DePT(tiny(), prompt_length=0, rank=2, max_source_length=S, offset_scale="none")
    assert accept.offset_weights is not None and accept.offset_codebooks is not None
    dept.load_state_dict({"offset_a": accept.offset_weights[:, 0], "offset_b": accept.offset_codebooks[0]})
    _, embeds, mask, ids = text()
    assert torch.allclose(accept(Source(embeds, ids, mask))[0], dept(Source(embeds, ids, mask))[0])


@pytest.mark.parametrize("family, stack", [("t5", "decoder"), ("llama", "decoder"), ("encoder", "encoder")])
def test_apt_with_gates_at_one_equals_prefix(family: str, stack: str) -> None:
    facts, summary = tiny(family), torch.randn(2, D)
    prefix = Prefix(facts, prefix_length=4).eval()
    off = APT(facts, prefix_length=4, token_gate="none", layer_gate=False).eval()
    wide = APT(facts, prefix_length=4, gate_bias=True).eval()
    for gates in (off, wide):
        gates.load_state_dict(prefix.state_dict(), strict=False)
    for bias in wide.gate_biases.values():
        bias.data.fill_(200.0)  # sigmoid is exactly one there
    for layer in range(2):
        expected = prefix.prefix(stack, layer, 2)
        for gates in (off, wide):
            for ours, theirs in zip(gates.prefix(stack, layer, 2, summary), expected, strict=True):
                assert torch.equal(ours, theirs)


@pytest.mark.parametrize("cls", [DePT, ACCEPT])
def test_sliced_short_batches_equal_full_padding(cls: type[InputMethod]) -> None:
    method, (_, embeds, mask, ids) = make(cls), text(length=4)
    wide_mask, wide_ids = (torch.nn.functional.pad(t, (0, S - 4)) for t in (mask, ids))
    full, full_mask = method(Source(torch.nn.functional.pad(embeds, (0, 0, 0, S - 4)), wide_ids, wide_mask))
    short, short_mask = method(Source(embeds, ids, mask))
    torch.testing.assert_close(short, full[:, : M + 4], rtol=0, atol=1e-6)
    assert torch.equal(short_mask, full_mask[:, : M + 4]) and not full_mask[:, M + 4 :].any()


@settings(max_examples=25, deadline=None)
@given(m=st.integers(1, 4), batch=st.integers(1, 3), length=st.integers(1, 7), seed=st.integers(0, 99))
def test_adept_folded_table_equals_unfolded(m: int, batch: int, length: int, seed: int) -> None:
    adept, (table, embeds, mask, ids) = make(ADePT, m), text(batch, length, seed)
    folded = FoldCache()(adept, lambda: table)
    assert isinstance(folded, Folded)
    pt = PT(tiny(), prompt_length=m, init_rows=adept.prompt)
    torch.testing.assert_close(
        pt(Source(folded.shift(embeds, ids), ids, mask))[0], adept(Source(embeds, ids, mask))[0], rtol=0, atol=1e-5
    )


def test_wrong_shapes_are_told_under_the_methods_own_name() -> None:
    """An evaluation folds offsets: what is wrong with a method is not wrong with `Folded`."""
    adept, (table, embeds, mask, ids) = make(ADePT), text()
    adept.prompts = lambda source: torch.zeros(M, D + 1)  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r"ADePT gave prompts of shape"):
        FoldCache()(adept, lambda: table).read(Source(embeds, ids, mask))
    adept.prompts = lambda source: None  # type: ignore[method-assign,assignment,return-value]
    with pytest.raises(ValueError, match=r"prompts gave NoneType.*`return` missing"):
        FoldCache()(adept, lambda: table).read(Source(embeds, ids, mask))
    adept.token_offset = lambda tokens: tokens[..., 1:]  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r"ADePT\.token_offset gave shape"):
        FoldCache()(adept, lambda: table)


@settings(max_examples=60, deadline=None)
@given(
    cls=st.sampled_from(INPUT),
    m=st.integers(1, 4),
    batch=st.integers(1, 3),
    length=st.integers(1, S),
    seed=st.integers(0, 99),
)
def test_input_methods_shapes_masks_and_batch_order(
    cls: type[InputMethod], m: int, batch: int, length: int, seed: int
) -> None:
    method, (_, embeds, mask, ids) = make(cls, m), text(batch, length, seed)
    before = embeds.clone()
    out, out_mask = method(Source(embeds, ids, mask))
    assert out.shape == (batch, m + length, D) and out_mask.shape == (batch, m + length)
    assert torch.equal(embeds, before), "the frozen embeddings were changed in place"
    assert torch.equal(out_mask[:, m:], mask) and bool((out_mask[:, :m] == 1).all())
    assert torch.equal(out[:, :m], method.prompts(Source(embeds, ids, mask)).expand(batch, m, D))
    assert torch.equal(out[:, m:], method.shift(embeds, ids))
    order = torch.randperm(batch, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(method(Source(embeds[order], ids[order], mask[order]))[0], out[order])


@pytest.mark.parametrize("cls", INPUT)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_output_has_the_backbones_precision(cls: type[InputMethod], dtype: torch.dtype) -> None:
    method, (table, embeds, mask, ids) = make(cls), text()
    out, _ = method(Source(embeds.to(dtype), ids, mask))
    assert out.dtype == dtype and bool(torch.isfinite(out).all())
    assert FoldCache()(method, lambda: table.to(dtype)).shift(embeds.to(dtype), ids).dtype == dtype


@pytest.mark.parametrize("cls", [DePT, ACCEPT])
@settings(max_examples=25, deadline=None)
@given(length=st.integers(1, 9), shift=st.integers(0, 6), seed=st.integers(0, 99))
def test_rows_choose_offsets_and_minus_one_chooses_none(
    cls: type[InputMethod], length: int, shift: int, seed: int
) -> None:
    method = make(cls)
    _, embeds, _, ids = text(2, length, seed)
    rows = torch.arange(length).expand(2, -1).clone() - shift
    rows[rows >= S] = -1
    rows = rows.clamp_min(-1)
    moved = method.shift(embeds, ids, rows) - embeds
    whole = method.shift(torch.zeros(1, S, D), torch.zeros(1, S, dtype=torch.long))[0]
    for b in range(2):
        for t in range(length):
            row = int(rows[b, t])
            expected = whole[row] if row >= 0 else torch.zeros(D)
            torch.testing.assert_close(moved[b, t], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("cls", [DePT, ACCEPT])
def test_a_batch_longer_than_the_rows_is_refused(cls: type[InputMethod]) -> None:
    _, embeds, mask, ids = text(length=S + 1)
    with pytest.raises(ValueError, match=f"method.max_source_length={S}"):
        make(cls)(Source(embeds, ids, mask))


def test_prefix_network_folds_to_a_plain_prefix() -> None:
    facts = tiny("llama")
    network = stirred(Prefix(facts, prefix_length=3, reparameterisation="mlp", mlp_width=5)).eval()
    plain = Prefix(facts, prefix_length=3).eval()
    hidden = torch.tanh(network.tables["decoder"] @ network.w1["decoder"].T + network.b1["decoder"])  # type: ignore[index]
    plain.tables["decoder"].data = hidden @ network.w2["decoder"].T + network.b2["decoder"]  # type: ignore[index]
    for layer in range(facts.layers):
        for ours, theirs in zip(network.prefix("decoder", layer, 2), plain.prefix("decoder", layer, 2), strict=True):  # type: ignore[operator]
            assert ours.shape == (2, 3, facts.kv_heads, facts.head_dim)
            torch.testing.assert_close(ours, theirs)


def test_dropout_acts_in_training_only_and_per_example() -> None:
    method = Prefix(tiny(dropout=0.5), prefix_length=16)
    keys, _ = method.prefix("encoder", 0, 2)
    assert (keys == 0).any() and not torch.equal(keys[0], keys[1])
    method.eval()
    keys, _ = method.prefix("encoder", 0, 2)
    assert torch.equal(keys[0], keys[1]) and not (keys == 0).any()
    adept, (_, embeds, mask, ids) = make(ADePT), text()
    calm = adept(Source(embeds, ids, mask))[0]
    assert torch.equal(calm, adept(Source(embeds, ids, mask))[0])
    assert not torch.equal(calm, adept.train()(Source(embeds, ids, mask))[0])


def test_gates_read_the_summary_of_their_own_example() -> None:
    method = stirred(APT(tiny("encoder"), prefix_length=4)).eval()
    summary = torch.randn(3, D)
    keys, values = method.prefix("encoder", 1, 3, summary)  # type: ignore[operator]
    alone, _ = method.prefix("encoder", 1, 1, summary[2:])  # type: ignore[operator]
    torch.testing.assert_close(keys[2:], alone)
    assert not torch.allclose(keys[0], keys[1]) and keys.shape == values.shape == (3, 4, 4, 2)
    with pytest.raises(ValueError, match="summary"):
        method.prefix("encoder", 1, 3)  # type: ignore[operator]


@pytest.mark.parametrize("detach", [False, True])
def test_gate_detach_stops_the_gradient_at_the_summary(detach: bool) -> None:
    method = stirred(APT(tiny("encoder"), prefix_length=4, gate_detach=detach))
    summary = torch.randn(2, D, requires_grad=True)
    torch.cat(method.prefix("encoder", 0, 2, summary)).sum().backward()  # type: ignore[operator]
    assert (summary.grad is None) is detach
    assert method.gate_weights["encoder"].grad is not None  # type: ignore[index, union-attr]


@pytest.mark.parametrize("cls", INPUT)
def test_every_tensor_gets_a_gradient(cls: type[InputMethod]) -> None:
    method, (_, embeds, mask, ids) = make(cls), text(length=S)
    out, _ = method.train()(Source(embeds, ids, mask))
    (out * torch.randn(out.shape)).sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in method.parameters())


@pytest.mark.parametrize("cls", INPUT)
def test_copies_stack(cls: type[InputMethod]) -> None:
    copies, (_, embeds, mask, ids) = [make(cls), stirred(make(cls), seed=7)], text()
    parameters, buffers = torch.func.stack_module_state(copies)  # type: ignore[arg-type]
    assert not buffers

    def one(own: dict[str, Tensor]) -> Tensor:
        out = torch.func.functional_call(copies[0], own, (Source(embeds, ids, mask),))
        assert isinstance(out, tuple)
        return out[0]

    together = torch.func.vmap(one)(parameters)
    for k, method in enumerate(copies):
        torch.testing.assert_close(together[k], method(Source(embeds, ids, mask))[0], rtol=1e-5, atol=1e-5)


def test_a_prefix_of_a_prompts_keys_and_values_equals_the_prompt() -> None:
    bare = rig.backbone("tiny_llama")
    rows = torch.randn(5, bare.facts.width, generator=torch.Generator().manual_seed(0))
    examples = rig.examples("tiny_llama")
    prefix = Prefix(bare.facts, prefix_length=5, init_rows=bare.keys_and_values(rows))
    prompted = rig.answers(Tuned(bare, PT(bare.facts, prompt_length=5, init_rows=rows)).eval(), examples)
    prefixed = rig.answers(Tuned(rig.backbone("tiny_llama"), prefix).eval(), examples)
    assert rig.close(prefixed, prompted, within=1e-5)

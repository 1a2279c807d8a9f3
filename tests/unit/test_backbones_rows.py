"""Rows, candidates and padding: the parts of a batch that are easy to get wrong by one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backbones.batch import Batch, answers, pad, places_of
from backbones.log_probs import cut, edge_log_probs, summed_losses
from backbones.positions import offset_rows, positions_of
from backbones.trie import pack, trie
from backbones.tuned import Tuned
from methods.dept import DePT
from methods.pt import PT
from tasks.encode import Encoded
from tests.contract import rig

CANDIDATES = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=1, max_size=6)


@given(CANDIDATES)
def test_trie_paths_spell_the_candidates(choices: list[list[int]]) -> None:
    tokens, parents, paths = trie(choices)
    for choice, path in zip(choices, paths, strict=True):
        assert len(path) == len(choice) and path[0] == 0
        for before, slot, token in zip(path, path[1:], choice, strict=False):
            assert tokens[slot - 1] == token and parents[slot - 1] == before - 1
    assert len(tokens) == len({tuple(c[: i + 1]) for c in choices for i in range(len(c) - 1)})


def test_shared_beginnings_are_fed_once() -> None:
    rows = [[[216, 32, 2], [216, 33, 2]], [[216, 32]]]
    packed = pack(rows)
    assert packed.ids.tolist() == [[216, 32, 33], [216, 0, 0]]
    assert packed.depth.tolist()[0] == [0, 1, 1]
    assert packed.visible[0].tolist() == [[True, False, False], [True, True, False], [True, False, True]]
    # of each token the slot that predicts it, four in an example: 0 = the source's last, 1 + i = node i
    assert packed.used[packed.edges].tolist() == [0, 1, 2, 0, 1, 3, 4 + 0, 4 + 1]
    places = answers([Encoded("a", choices=rows[0]), Encoded("b", choices=rows[1])], candidates=True)["places"]
    assert places.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]


@given(st.lists(st.lists(st.integers(0, 9), max_size=5), min_size=1, max_size=4), st.booleans())
def test_padding_is_told_by_lengths_not_by_ids(rows: list[list[int]], left: bool) -> None:
    ids, mask = pad(rows, left=left, value=2)  # 2 may also be a real token
    assert mask.sum(1).tolist() == [len(row) for row in rows]
    assert [ids[i][mask[i].bool()].tolist() for i in range(len(rows))] == rows


def test_positions_count_from_the_first_real_token() -> None:
    assert positions_of(torch.tensor([[0, 0, 1, 1], [1, 1, 1, 0]])).tolist() == [[0, 0, 0, 1], [0, 1, 2, 2]]


def rows(alignment: str, fed: int, target_lengths: list[int] | None) -> list[list[int]]:
    source, source_mask = pad([[5, 6], [5, 6, 7]], left=True)
    batch = Batch(["a", "b"], source, source_mask)
    if target_lengths:
        batch.target, batch.target_mask = pad([[9] * n for n in target_lengths])
    facts = rig.backbone_config("tiny_llama").sizes()
    made = offset_rows(batch, DePT(facts, max_source_length=10, row_alignment=alignment), fed)
    assert made is not None
    return made.tolist()


def test_source_end_gives_the_last_source_token_the_last_row_and_targets_none() -> None:
    assert rows("source_end", 0, None) == [[-1, 8, 9], [7, 8, 9]]
    assert rows("source_end", 2, [3, 2]) == [[-1, 8, 9, -1, -1], [7, 8, 9, -1, -1]]


def test_right_edge_counts_the_target_in_training_and_not_in_generation() -> None:
    assert rows("right_edge", 0, None) == [[-1, 8, 9], [7, 8, 9]]
    # three target tokens (EOS included) behind the source: its last token stands four from the right edge
    assert rows("right_edge", 2, [3, 2]) == [[-1, 5, 6, 7, 8], [5, 6, 7, 8, 9]]
    facts = rig.backbone_config("tiny_llama").sizes()
    assert offset_rows(Batch([], torch.zeros(1, 2), torch.ones(1, 2)), PT(facts), 0) is None


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_scores_are_log_softmax_whatever_the_slices(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(11, 6, generator=generator)
    hidden = torch.randn(1100, 6, generator=generator)
    slots = torch.randint(1100, (50,), generator=generator)
    tokens = torch.randint(11, (50,), generator=generator)
    exact = (hidden @ weight.T).log_softmax(-1)
    assert torch.allclose(
        edge_log_probs(hidden, slots, tokens, lambda x: x @ weight.T), exact[slots, tokens], atol=1e-5
    )
    targets = torch.randint(11, (2, 550), generator=generator)
    mask = torch.arange(550)[None] < torch.tensor([[550], [7]])
    hidden.requires_grad_(True)
    sums, counts = summed_losses(hidden.view(2, 550, 6), targets, mask, places_of(mask), lambda x: x @ weight.T)
    nll = -exact.view(2, 550, 11).gather(-1, targets[..., None])[..., 0]
    assert counts.tolist() == [550, 7] and torch.allclose(sums, (nll * mask).sum(1), rtol=1e-4)
    sums.sum().backward()
    assert hidden.grad is not None and int((hidden.grad.abs().sum(-1) > 0).sum()) == 557


def test_decoded_tokens_end_before_eos() -> None:
    assert cut([5, 6, 1, 7], {1}) == [5, 6] and cut([5], {1}) == [5]


def test_prompt_is_run_once_per_evaluation_and_again_when_it_changed() -> None:
    whole = rig.tuned("pt", "tiny_llama")
    examples = rig.examples("tiny_llama")
    runs: list[int] = []
    whole.backbone.model.model.register_forward_hook(lambda *_: runs.append(1))
    first = rig.answers(whole, examples)
    again = rig.answers(whole, examples[::-1]).flip(0)
    assert len(runs) == 3 and rig.close(first, again)  # the prompt, then two batches
    with torch.no_grad():
        whole.method.prompt += 1.0
    assert not rig.close(rig.answers(whole, examples), first) and len(runs) == 5


def test_checkpointing_really_recomputes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in rig.BACKBONES:
        whole = rig.tuned("prefix", name).train()
        whole.backbone.gradient_checkpointing(True)
        assert not whole.backbone.model.training  # no dropout wakes up in the frozen model
        calls: list[int] = []
        layer = next(m for m in whole.backbone.model.modules() if hasattr(m, "prefix_slot"))
        layer.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        whole.losses(rig.batch(whole, rig.examples(name)))[0].sum().backward()
        assert len(calls) == 2, name


def test_the_head_never_sees_a_whole_row() -> None:
    for name in ("tiny_llama", "tiny_t5"):
        whole, examples = rig.tuned("pt", name), rig.examples(name)
        seen: list[int] = []
        whole.backbone.model.lm_head.register_forward_hook(lambda _, args, __, seen=seen: seen.append(len(args[0])))
        whole.losses(rig.batch(whole, examples))
        assert seen == [sum(len(e.target) for e in examples)]


def test_frozen_weights_have_no_gradients_and_wrong_states_are_refused() -> None:
    whole: Tuned = rig.tuned("pt", "tiny_t5")
    assert not any(p.requires_grad for p in whole.backbone.model.parameters())
    with pytest.raises(ValueError, match="missing \\['prompt'\\]"):
        whole.load_state({"other": torch.zeros(1)})
    with pytest.raises(ValueError, match="other shapes"):
        whole.load_state({"prompt": torch.zeros(2, 2)})

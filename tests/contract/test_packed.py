"""A run in a pack is the run alone: same data order, same losses, same predictions, same saved tensors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from conf.grid import Chosen
from conf.packing import has_dropout, pack_key
from conf.plan import Point, make_plan, point_of
from methods.pt import PT
from methods.source import Source
from results.ledger import Ledger
from runners.cut import PassCost
from runners.job import run_point
from runners.packed import run_packs
from runners.packed_inputs import draws
from tests.sizes import tiny

COMMON = [
    "task=demo/movie_reviews", "data=fixture", "protocol=carved", "runner=smoke", "runner.max_steps=5",
    "runner.eval_every=2", "runner.log_every=1", "runner.device=cpu", "pack=8",
]  # fmt: skip
FEW = {  # the fast set: three runs that differ in everything
    "pt": ["method=pt", "method.prompt_length=2,7", "method.lr.prompt=0.5", "seed=1"],
    "dept": ["+sweep.pairs={method.prompt_length:[0,5],method.rank:[2,3],seed:[1,2]}", "method=dept"],
}
# mixed lengths, ranks, rates and seeds
GRIDS = {
    "pt": ["method=pt", "method.prompt_length=2,7", "method.lr.prompt=0.05,0.5", "seed=1,2"],
    "dept": ["method=dept", "method.prompt_length=0,5", "method.rank=2,3", "method.lr.offset=0.01,0.1"],
    "adept": ["method=adept", "method.prompt_length=3,6", "method.rank=2,4", "method.bottleneck_dropout=0", "seed=1,2"],
    "accept": ["method=accept", "method.prompt_length=40,60", "method.prompt_codewords=2", "method.offset_codewords=1",
               "method.lr.prompt=0.1,0.3"],
    "residual_pt": ["method=residual_pt", "method.prompt_length=2,3", "method.bottleneck=4,5"],
}  # fmt: skip


def points_in(root: Path, overrides: list[str], backbone: str, *more: str) -> list[Point]:
    plan = make_plan([*COMMON, *overrides, f"backbone={backbone}", f"ledger.root={root}", *more])
    assert plan.problems == []
    return plan.points


def losses(root: Path, run_id: str) -> list[float]:
    rows = [json.loads(line) for line in (root / run_id / "metrics.jsonl").read_text().splitlines()]
    return [row["loss"] for row in rows if "loss" in row]


def assert_equal_runs(alone: Path, packed: Path, run_id: str) -> None:
    one, other = Ledger(alone).run(run_id), Ledger(packed).run(run_id)
    assert losses(alone, run_id) == pytest.approx(losses(packed, run_id), abs=1e-4)
    assert len(losses(alone, run_id)) == 5
    for split in ("validation", "test"):
        assert one.predictions(split) == other.predictions(split)
    first, second = one.record(), other.record()
    assert first is not None and second is not None
    assert first["metrics"] == second["metrics"]
    assert first["untrained_metrics"] == second["untrained_metrics"]
    assert first["selected_step"] == second["selected_step"]
    assert "packed" not in first
    tensors = load_file(other / "method.safetensors")
    for name, tensor in load_file(one / "method.safetensors").items():
        torch.testing.assert_close(tensors[name], tensor, atol=2e-3, rtol=1e-3)


def both(tmp_path: Path, overrides: list[str], backbone: str, *more: str) -> list[str]:
    """Run a grid alone and packed; the run ids."""
    alone, packed = tmp_path / "alone", tmp_path / "packed"
    for point in points_in(alone, overrides, backbone, *more):
        assert run_point(point.resolved).status == "done"
    points = points_in(packed, overrides, backbone, *more)
    outcomes = run_packs(points)
    assert {outcome.status for outcome in outcomes.values()} == {"done"}
    return [point.run_id for point in points]


@pytest.mark.parametrize(("backbone", "method"), [("tiny_llama", "dept"), ("tiny_t5", "pt")])
def test_packed_runs_equal_the_same_runs_alone(tmp_path: Path, backbone: str, method: str) -> None:
    ids = both(tmp_path, FEW[method], backbone)
    assert len(ids) == 2
    for run_id in ids:
        assert_equal_runs(tmp_path / "alone", tmp_path / "packed", run_id)
    record = Ledger(tmp_path / "packed").run(ids[0]).record()
    assert record is not None and record["packed"] == {"with": ids[1:], "size": len(ids)}


def test_rows_of_several_runs_cut_for_length_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass that costs nothing is made for every length: each run still is what it is alone."""
    monkeypatch.setattr("runners.cut.pass_cost", lambda *_: PassCost(0.0))
    for run_id in both(tmp_path, FEW["dept"], "tiny_t5"):
        assert_equal_runs(tmp_path / "alone", tmp_path / "packed", run_id)


@pytest.mark.slow
@pytest.mark.parametrize("scoring", ["rank", "generate"])
@pytest.mark.parametrize("method", sorted(GRIDS))
@pytest.mark.parametrize("backbone", ["tiny_llama", "tiny_t5"])
def test_every_input_level_method_packs(tmp_path: Path, backbone: str, method: str, scoring: str) -> None:
    for run_id in both(tmp_path, GRIDS[method], backbone, f"protocol.scoring={scoring}"):
        assert_equal_runs(tmp_path / "alone", tmp_path / "packed", run_id)


@pytest.mark.slow
def test_different_budgets_batches_and_patience_stay_each_runs_own(tmp_path: Path) -> None:
    grid = ["method=pt", "method.prompt_length=3", "runner.batch_size=2,5", "runner.patience=1,9", "seed=1,2"]
    ids = both(tmp_path, grid, "tiny_t5", "runner.max_steps=7")
    steps = set()
    for run_id in ids:
        one, other = (Ledger(tmp_path / where).run(run_id).record() for where in ("alone", "packed"))
        assert one is not None and other is not None
        assert (one["steps"], one["selected_step"]) == (other["steps"], other["selected_step"])
        assert losses(tmp_path / "alone", run_id) == pytest.approx(losses(tmp_path / "packed", run_id), abs=1e-4)
        steps.add(one["steps"])
    assert len(steps) > 1, "early stopping was not exercised"


@pytest.mark.slow
def test_a_run_that_fails_leaves_the_others_alone(tmp_path: Path) -> None:
    alone, packed = tmp_path / "alone", tmp_path / "packed"
    # a rate at which the optimiser's step overflows
    grid = ["method=pt", "method.prompt_length=3", "runner.clip_norm=0"]
    outcomes = run_packs(points_in(packed, [*grid, "method.lr.prompt=0.1,1e38"], "tiny_llama"))
    assert sorted(outcome.status for outcome in outcomes.values()) == ["done", "failed"]
    failed = next(outcome for outcome in outcomes.values() if outcome.status == "failed")
    record = Ledger(packed).run(str(failed.run_id)).record()
    assert record is not None and record["status"] == "failed" and record["reason"]
    (survivor,) = points_in(alone, [*grid, "method.lr.prompt=0.1"], "tiny_llama")
    assert run_point(survivor.resolved).status == "done"
    assert_equal_runs(alone, packed, survivor.run_id)


def test_packing_is_part_of_the_id_only_where_random_numbers_are_drawn(tmp_path: Path) -> None:
    def ids(*more: str) -> tuple[str, str]:
        own = [*COMMON, "method=adept", "backbone=tiny_t5", f"ledger.root={tmp_path}", *more]
        (alone,) = make_plan(own).points
        (packed,) = make_plan([*own, "hydra/launcher=packed"]).points
        return alone.run_id, packed.run_id

    assert len(set(ids("method.bottleneck_dropout=0", "runner.backbone_dropout=false"))) == 1
    assert len(set(ids("method.bottleneck_dropout=0.1", "runner.backbone_dropout=false"))) == 2
    assert len(set(ids("method.bottleneck_dropout=0", "runner.backbone_dropout=true"))) == 2
    assert len(set(ids("method=smop", "method.router_noise=0", "runner.backbone_dropout=false"))) == 1
    assert len(set(ids("method=smop", "method.router_noise=1", "runner.backbone_dropout=false"))) == 2


def test_unnamed_random_numbers_are_found() -> None:
    class Drawing(PT):
        def prompts(self, source: Source) -> torch.Tensor:
            made = super().prompts(source)
            return made + torch.randn_like(made) if self.training else made

    source = Source(torch.zeros(1, 2, 8), torch.zeros(1, 2).long(), torch.ones(1, 2).long())
    assert draws(Drawing(tiny(), prompt_length=2), source)
    assert not draws(PT(tiny(), prompt_length=2), source)


def test_what_may_share_a_pass() -> None:
    def key(**chosen: str) -> str | None:
        overrides: Chosen = {"method": "dept", "backbone": "tiny_t5", "runner": "smoke", "data": "fixture", **chosen}
        point = point_of(overrides)
        return pack_key(point.resolved, point.config)

    base = key()
    assert base is not None
    assert base == key(**{"method.prompt_length": "3", "method.rank": "1", "seed": "7", "method.lr.prompt": "0.7"})
    assert base != key(**{"runner.precision": "bf16"})
    assert base != key(task="superglue/cb")
    assert base != key(method="pt")
    assert key(method="prefix") is None
    assert key(backbone="tiny_bert") is None
    assert not has_dropout(point_of({"method": "pt", "backbone": "tiny_llama", "runner": "smoke"}).config)


def test_runs_of_a_pack_read_texts_that_are_cut_as_their_own(tmp_path: Path) -> None:
    """A protocol that cuts [prompt; source] as one leaves another text for another prompt."""
    grid = ["method=pt", "method.prompt_length=2,40", "protocol=residual_pt", "protocol.whole_length=52"]
    ids = both(tmp_path, grid, "tiny_t5")
    for run_id in ids:
        assert_equal_runs(tmp_path / "alone", tmp_path / "packed", run_id)
    cut = [Ledger(tmp_path / "packed").run(run_id).record()["truncated"]["train"] for run_id in ids]  # type: ignore[index]
    assert cut[0] < cut[1], "the lengths of the prompts made no difference"
    [none_left] = points_in(tmp_path, ["method=pt", "method.prompt_length=52", *grid[2:]], "tiny_t5")
    outcome = run_point(none_left.resolved)
    assert outcome.status == "refused" and "leaves none for the source" in str(outcome.reason)


def test_what_has_changed_since_a_pack_was_planned_is_not_run_under_the_old_name(tmp_path: Path) -> None:
    rows = tmp_path / "data" / "superglue" / "boolq"
    rows.mkdir(parents=True)
    for split in ("train", "validation"):
        lines = [{"question": f"q {split} {i}", "passage": "p", "label": i % 2, "idx": i} for i in range(20)]
        (rows / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    own = tmp_path / "own_pt.py"
    shipped = (Path(__file__).parents[2] / "methods" / "pt.py").read_text(encoding="utf-8")
    own.write_text(shipped, encoding="utf-8")
    chosen = ["task=superglue/boolq", "data=local", f"data.root={tmp_path / 'data'}", "seed=1,2"]
    methods = {"file": [f"method.path={own}", "method.capabilities.packs=true"], "rows": []}
    planned = {
        name: points_in(tmp_path / "runs", [*chosen, f"method={'own' if more else 'pt'}", *more], "tiny_t5")
        for name, more in methods.items()
    }
    own.write_text(shipped.replace("return self.prompt", "return 2 * self.prompt"), encoding="utf-8")
    assert own.read_text(encoding="utf-8") != shipped
    outcomes = run_packs(planned["file"])
    assert {o.status for o in outcomes.values()} == {"refused"} and len(outcomes) == 2
    with (rows / "train.jsonl").open("a") as file:
        file.write(json.dumps({"question": "one more", "passage": "p", "label": 0, "idx": 99}) + "\n")
    outcomes = run_packs(planned["rows"])
    assert {o.status for o in outcomes.values()} == {"refused"} and len(outcomes) == 2
    assert all("changed since" in str(o.reason) for o in outcomes.values())

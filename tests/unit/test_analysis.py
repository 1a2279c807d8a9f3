"""Learned prompts: norms, similarity, nearest tokens."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from results.analysis import (
    LearnedPrompt,
    clusters,
    main,
    nearest,
    norms,
    page,
    prompt_of,
    similarity_of_means,
    similarity_of_tokens,
)
from results.records import read_runs
from tests.unit.results_fixtures import write_run


def drawn(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def test_norms() -> None:
    found = norms(np.array([[3.0, 4.0], [0.0, 0.0], [6.0, 8.0]]))
    assert (found["vectors"], found["mean"], found["least"], found["greatest"]) == (3.0, 5.0, 0.0, 10.0)
    assert found["sd"] == pytest.approx(5.0)
    assert norms(np.ones((1, 4)))["sd"] == 0.0


def test_similarity_from_loops() -> None:
    a, b = drawn(1, 5, 8), drawn(2, 3, 8)
    cosines = [float(x @ y / np.linalg.norm(x) / np.linalg.norm(y)) for x in a for y in b]
    assert similarity_of_tokens(a, b) == pytest.approx(sum(cosines) / len(cosines))
    x, y = a.mean(0), b.mean(0)
    assert similarity_of_means(a, b) == pytest.approx(float(x @ y / np.linalg.norm(x) / np.linalg.norm(y)))
    assert similarity_of_means(a, 3.0 * a) == pytest.approx(1.0) and similarity_of_means(a, -a) == pytest.approx(-1.0)
    assert similarity_of_tokens(a, np.zeros((2, 8))) == 0.0


def test_nearest_by_cosine_not_by_length_or_distance() -> None:
    table = np.array([[100.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, -2.0]])
    found = nearest(np.array([[0.5, 0.1], [0.0, 9.0]]), table, top=2)
    assert [[token for token, _ in picks] for picks in found] == [[0, 2], [1, 2]]
    assert found[1][0][1] == pytest.approx(1.0) and found[1][1][1] == pytest.approx(1 / math.sqrt(2))
    picks = nearest(drawn(3, 6, 4), drawn(4, 50, 4), top=50)
    assert all([c for _, c in row] == sorted((c for _, c in row), reverse=True) for row in picks)
    assert all(sorted(token for token, _ in row) == list(range(50)) for row in picks)
    with pytest.raises(ValueError, match="wide"):
        nearest(np.ones((1, 3)), table)


def test_repeats_of_neighbours() -> None:
    found = [[(0, 0.9), (1, 0.8)], [(0, 0.7), (2, 0.6)], [(3, 0.5), (1, 0.4)]]
    seen = clusters(found, ["Good", " good", "bad", "x"])
    assert seen["shared first neighbour"] == pytest.approx(2 / 3)
    assert seen["distinct words"] == pytest.approx(3 / 6)  # good, bad, x


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    root = tmp_path / "runs"
    for method, task, seed in (
        ("pt", "glue/mrpc", 1),
        ("pt", "glue/mrpc", 2),
        ("pt", "glue/qqp", 1),
        ("prefix", "glue/qqp", 1),
    ):
        run_id = write_run(root, method, task, seed)
        tensors = (
            {"prefix_keys": drawn(seed, 4, 8)}
            if method == "prefix"
            else {"prompt": drawn(seed, 6, 8).astype("float32")}
        )
        save_file(tensors, root / run_id / "method.safetensors")
    write_run(root, "majority", "glue/qqp")
    return root


def test_the_page(ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"ledger.root={ledger}"]) == 0
    text = capsys.readouterr().out
    assert text.count("pt, glue/mrpc") == 4 and "2 runs have no prompt vectors" in text
    same = similarity_of_means(drawn(1, 6, 8), drawn(2, 6, 8))
    assert f"| glue/mrpc | 1 | {same:+.3f} |" in text  # one pair within the task
    assert "| glue/mrpc and glue/qqp | 2 |" in text
    assert main([f"ledger.root={ledger}", "task=glue/mrpc", f"out={tmp_path / 'p.md'}"]) == 0
    assert "qqp" not in (tmp_path / "p.md").read_text()
    assert main([f"ledger.root={ledger}", "method=prefix"]) == 2 and main(["method"]) == 2
    assert main([f"ledger.root={tmp_path / 'nowhere'}"]) == 2


def test_only_a_prompt_of_its_own_is_read(ledger: Path) -> None:
    found = {run.get("method"): prompt_of(run) for run in read_runs(ledger).runs}
    assert found["prefix"] is None and found["majority"] is None
    assert found["pt"] is not None and found["pt"].shape == (6, 8) and found["pt"].dtype == np.float64


def test_prompts_of_two_backbones_have_no_cosine(tmp_path: Path) -> None:
    for backbone in ("smollm2_135m", "minilm_l6"):
        run_id = write_run(tmp_path, config={"backbone": {"name": backbone}})
        save_file({"prompt": np.ones((2, 4), dtype=np.float32)}, tmp_path / run_id / "method.safetensors")
    found = [(run, prompt_of(run)) for run in read_runs(tmp_path).runs]
    prompts = [LearnedPrompt(run, vectors) for run, vectors in found if vectors is not None]
    assert len(prompts) == 2 and "Similarity" not in page(prompts, 0)
    assert "## Similarity, minilm_l6, width 4" in page([*prompts, *prompts], 0)

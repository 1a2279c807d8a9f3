"""Contrasts declared beforehand: their file, its hash and date, Holm among themselves, and what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from results.records import read_runs
from results.tables import contrasts
from results.tables.build import build
from results.tables.checked import LayoutError
from results.tables.contests import pairs_text
from results.tables.layout import Layout, load
from tests.unit.results_fixtures import answers, write_run


@pytest.fixture()
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(contrasts, "FOLDER", tmp_path)
    (tmp_path / "contrasts").mkdir()
    return tmp_path / "contrasts"


def declare(folder: Path, pairs: str, head: str = "declared: 2026-11-01\n") -> Layout:
    (folder / "offline_v1.yaml").write_text(f"{head}tables:\n  reviews: {pairs}\n", encoding="utf-8")
    return load("offline_v1", "reviews")


def runs(root: Path) -> Path:
    settings = {"runner": {"name": "offline_text", "max_steps": 20, "test_rows": 300}}
    for method, accuracy, length in (("pt", 0.6, 20), ("dept", 0.8, 12), ("adept", 0.8, 12)):
        for seed in (1, 2, 3):
            rows = answers(accuracy, seed=seed, flip=len(method))
            score = sum(row["prediction"] == row["reference"] for row in rows) / len(rows)
            write_run(root, method, seed=seed, test=score, predictions=rows,
                      config={**settings, "method": {"name": method, "prompt_length": length}})  # fmt: skip
    return root


def test_declared_contrasts_stand_in_the_caption_with_date_and_hash(folder: Path, tmp_path: Path) -> None:
    layout = declare(folder, "[[DePT, PT], [ADePT, DePT], ['APT, gates after the abstract', PT]]")
    reading = read_runs(runs(tmp_path / "runs"))
    caption = " ".join(build(layout, reading).caption)
    digest = hashlib.sha256((folder / "offline_v1.yaml").read_bytes()).hexdigest()[:12]
    assert f"declared on 2026-11-01 (file sha256 {digest}), Holm among these 2 at 5%" in caption
    assert "DePT less PT +" in caption and ", different" in caption
    assert "not tested: APT, gates after the abstract less PT" in caption
    assert "Everything else here is exploratory" in caption and digest in pairs_text(layout, reading)
    assert "declared on" not in " ".join(build(load("offline_v1", "filings"), reading).caption)


@pytest.mark.parametrize(
    ("pairs", "head", "said"),
    [
        ("[[DePT, Nobody]]", "declared: 2026-11-01\n", "Nobody"),
        ("[[DePT, PT]]", "", "no date"),
        (f"[{', '.join(['[DePT, PT]'] * 9)}]", "declared: 2026-11-01\n", "at most 8"),
        ("[[DePT, PT, APT]]", "declared: 2026-11-01\n", "no pair of rows"),
    ],
)
def test_what_cannot_be_declared_is_refused(folder: Path, pairs: str, head: str, said: str) -> None:
    with pytest.raises(LayoutError, match=said):
        contrasts.load(declare(folder, pairs, head))

"""Every architecture, method and question against plain transformers (scripts/walk.py)."""

from __future__ import annotations

from typing import Any

import pytest

import scripts.walk_sides
from backbones.specimens import SPECIMENS
from scripts import walk, walk_docs

FAST = ("gemma2", "byt5", "deberta")


def outcomes(cells: Any, *methods: str) -> set[str]:
    return {cell.outcome for cell in cells if cell.method in methods}


@pytest.mark.parametrize("name", FAST)
def test_methods_equal_plain_transformers(name: str) -> None:
    cells = list(walk.walk(name))
    assert len(cells) == len(walk.METHODS) * 3
    assert outcomes(cells, *walk.METHODS) == {"admitted"}, [cell for cell in cells if cell.outcome != "admitted"]


def test_what_is_wrong_is_called_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt that is scaled, a prefix that lacks a position: the other side is plain transformers, not our own."""
    monkeypatch.setattr(walk, "METHODS", ("pt", "prefix"))
    build = scripts.walk_sides.build

    def other(method: str, backbone: Any) -> Any:
        made = build(method, backbone)
        if method == "prefix":
            own = made.prefix
            made.prefix = lambda *given: tuple(t * (1.1 if given[1] == 1 else 1.0) for t in own(*given))
        else:
            whole = type(made).prompts
            made.prompts = lambda source: whole(made, source) * (1.0 if len(source) == 1 else 1.1)
        return made

    monkeypatch.setattr(scripts.walk_sides, "build", other)
    plain = scripts.walk_sides.EagerPrefix.__init__

    def unscaled(self: Any, backbone: Any, method: Any) -> None:
        plain(self, backbone, method)
        self.method = type("Own", (), {"prefix": staticmethod(lambda *given: type(method).prefix(method, *given))})

    monkeypatch.setattr(scripts.walk_sides.EagerPrefix, "__init__", unscaled)
    cells = list(walk.walk("bert"))
    assert outcomes(cells, "pt") == {"wrong"} and outcomes(cells, "prefix") == {"wrong"}
    assert all("differs from plain transformers by" in cell.says for cell in cells)


def test_a_method_that_does_not_act_is_wrong() -> None:
    said = walk.judged({"loss": (0.0, 0.0), "idle": []}, "loss")
    assert said[0] == "wrong" and "does not act" in said[1]
    assert walk.judged({"loss": (0.0, 1.0), "idle": ["prompt"]}, "loss") == ("wrong", "no gradient reaches prompt")
    assert walk.judged({"loss": (1e-6, 1.0), "idle": []}, "loss") == ("admitted", "")


@pytest.mark.slow
def test_the_whole_walk_has_nothing_wrong_and_is_what_the_page_says(capsys: pytest.CaptureFixture[str]) -> None:
    cells = [cell for name in SPECIMENS for cell in walk.walk(name)]
    bad = [cell for cell in cells if cell.outcome in ("wrong", "traceback")]
    assert bad == []
    wanted = [c for c in cells if SPECIMENS[c.architecture].wanted and c.method in ("pt", "dept", "adept", "accept")]
    assert {c.outcome for c in wanted} == {"admitted"}
    assert all(c.says for c in cells if c.outcome == "refused")
    assert walk_docs.page(cells) == walk_docs.FILE.read_text(encoding="utf-8"), "python scripts/walk.py --docs"

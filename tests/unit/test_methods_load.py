"""From a config to a class: dotted targets, files outside the tree, unknown options, bad combinations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backbones.config import Facts
from methods import load
from methods.dept import DePT
from tests.sizes import BERT_BASE, T5_BASE, tiny, wide

OWN = """
import torch
from torch import nn
from methods.base import InputMethod
from methods.pt import PT  # imported, so not counted as the file's own

class Mine(InputMethod):
    def __init__(self, facts, *, prompt_length: int = 2, init_rows=None, generator=None):
        super().__init__()
        self.prompt_slots = prompt_length
        self.prompt = nn.Parameter(torch.ones(prompt_length, facts.width))

    @classmethod
    def count(cls, options, facts):
        return cls.complete(options)["prompt_length"] * facts.width

    def groups(self):
        return {"prompt": [self.prompt]}

    def prompts(self, source):
        return self.prompt
"""


def config(**values: Any) -> dict[str, Any]:
    return {"name": "dept", "target": "methods.dept.DePT", "version": 1, "path": None, "init_from": None} | values


def test_target_and_own_options() -> None:
    assert load.method_class("methods.dept.DePT") is DePT
    given = config(rank=4, lr={"prompt": 0.3}, init="text", init_text="x", init_text_eos=True, offset_scale=None)
    assert load.options_of(given) == {"rank": 4}
    method = load.build(given, tiny())
    assert isinstance(method, DePT) and method.offset_a is not None and method.offset_a.shape == (256, 4)


@pytest.mark.parametrize(
    "target, said",
    [
        ("methods.dpt.DePT", "no module 'methods.dpt'"),
        ("methods.dept.Dept", "did you mean DePT"),
        (None, "has no class"),
    ],
)
def test_wrong_targets(target: str | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        load.method_class(target)


def test_a_file_outside_the_tree(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(OWN)
    given = config(name="mine", target=None, path=str(file), prompt_length=3)
    assert load.method_class(None, str(file)).__name__ == "Mine"
    assert load.check(given, tiny()) == []
    assert load.count(given, tiny()) == 24 == sum(p.numel() for p in load.build(given, tiny()).parameters())
    with pytest.raises(ValueError, match=r"no such file"):
        load.method_class(None, str(tmp_path / "missing.py"))
    file.write_text(OWN + "\nclass Second(Mine):\n    pass\n")
    with pytest.raises(ValueError, match=r"exactly one subclass.*found Mine, Second"):
        load.method_class(None, str(file))
    file.write_text("x = 1\n")
    with pytest.raises(ValueError, match="found none"):
        load.method_class(None, str(file))
    assert "found none" in load.check(given, tiny())[0]  # run.py: a sentence, no traceback
    file.write_text(OWN + "\ndef half(:\n    pass\n")
    at = OWN.count("\n") + 2
    assert f"mine.py, line {at}: cannot be loaded (SyntaxError" in load.check(given, tiny())[0]
    file.write_text("import torch\nimport not_installed_anywhere\n")
    assert "mine.py, line 2: cannot be loaded (ModuleNotFoundError: No module named" in load.check(given, tiny())[0]


def test_an_error_inside_a_users_module_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_method.py").write_text("import not_installed_anywhere\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        load.method_class("broken_method.Mine")


@pytest.mark.parametrize(
    "target, options, facts, said",
    [
        ("methods.dept.DePT", {"rnak": 3}, T5_BASE, "method.rnak: DePT has no such option; did you mean rank?"),
        ("methods.dept.DePT", {"rnak": None}, T5_BASE, "did you mean rank?"),
        ("methods.dept.DePT", {"rank": "30"}, T5_BASE, "method.rank='30': a value of type int is wanted"),
        ("methods.dept.DePT", {"rank": True}, T5_BASE, "method.rank=True"),
        ("methods.dept.DePT", {"offset_scale": "alpha_over_rank"}, T5_BASE, "did you mean alpha_over_sqrt_rank?"),
        ("methods.dept.DePT", {"rank": 0, "prompt_length": 0}, T5_BASE, "nothing is left to train"),
        ("methods.dept.DePT", {"rank": -1}, T5_BASE, "method.rank=-1"),
        ("methods.dept.DePT", {"max_source_length": 0}, T5_BASE, "method.max_source_length=0"),
        ("methods.pt.PT", {"prompt_length": 0}, T5_BASE, "method.prompt_length=0"),
        ("methods.adept.ADePT", {"rank": 0}, T5_BASE, "method.rank=0"),
        ("methods.adept.ADePT", {"bottleneck_dropout": 1.0}, T5_BASE, "bottleneck_dropout=1.0"),
        ("methods.accept.ACCEPT", {"prompt_width": 50}, T5_BASE, "does not divide the width 768; allowed: 1, 2, 3"),
        ("methods.accept.ACCEPT", {"offset_width": 256}, wide(576), "offset_width=256 does not divide the width 576"),
        ("methods.accept.ACCEPT", {"prompt_codewords": 21}, T5_BASE, "at most 20 fit"),
        ("methods.accept.ACCEPT", {"offset_codewords": 21}, T5_BASE, "budget, 30,720; at most 20 fit"),
        ("methods.accept.ACCEPT", {"prompt_length": 100}, T5_BASE, "leaves SCAP nothing"),
        ("methods.accept.ACCEPT", {"scpp": False, "scap": False}, T5_BASE, "nothing is left to train"),
        ("methods.accept.ACCEPT", {"budget_vectors": 0}, T5_BASE, "offset_codewords is not set"),
        ("methods.prefix.Prefix", {"prefix_length": 0}, BERT_BASE, "method.prefix_length=0"),
        (
            "methods.prefix.Prefix",
            {"prefix_length": 512, "position_shift": True},
            BERT_BASE,
            "no position for the text",
        ),
        ("methods.prefix.Prefix", {"reparameterisation": "lstm"}, BERT_BASE, "allowed are none, mlp"),
        ("methods.apt.APT", {"prefix_length": 0}, BERT_BASE, "gates need a prefix"),
        ("methods.apt.APT", {"gate_bias": True, "token_gate": "free"}, BERT_BASE, "needs method.token_gate=hidden"),
        ("methods.residual_pt.ResidualPT", {"bottleneck": 0}, T5_BASE, "method.bottleneck=0"),
        ("methods.spot.SPoT", {}, T5_BASE, "method.init_from=<run id"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_made(
    target: str, options: dict[str, Any], facts: Facts, said: str
) -> None:
    problems = load.check({"name": "x", "target": target, "version": 1, **options}, facts)
    assert any(said in problem for problem in problems), problems


def test_all_problems_at_once_and_build_refuses() -> None:
    given = config(rnak=3, prompt_lenght=4, offset_scale="b")
    assert len(load.check(given, T5_BASE)) == 3
    with pytest.raises(ValueError, match=r"(?s)rnak.*prompt_lenght.*offset_scale"):
        load.build(given, T5_BASE)


@pytest.mark.parametrize("target", ["methods.dept.DePT", "methods.accept.ACCEPT"])
def test_a_source_length_above_the_rows_is_refused(target: str) -> None:
    given = {"name": "x", "target": target, "max_source_length": 256}
    assert load.check(given, T5_BASE, 256) == []
    assert "348" in load.check(given, T5_BASE, 348)[0] and "256" in load.check(given, T5_BASE, 348)[0]
    assert load.check({"target": "methods.pt.PT"}, T5_BASE, 4096) == []


@pytest.mark.parametrize("target", ["prefix.Prefix", "apt.APT", "accept.ACCEPT", "dept.DePT", "adept.ADePT"])
def test_published_defaults_have_no_problems(target: str) -> None:
    assert load.check({"name": "x", "target": f"methods.{target}"}, T5_BASE, 256) == []


def test_an_option_under_a_name_that_others_read_is_refused_and_not_left_at_its_default(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(OWN.replace("prompt_length: int = 2,", "prompt_length: int = 2, init: str = 'zeros',"))
    own = {"name": "own", "path": str(file)}
    said = ["method.init is read by the bench itself and never given to Mine: call that option otherwise"]
    assert load.check(own | {"options": {"prompt_length": 3, "init": "ones"}}, T5_BASE) == said
    assert load.check(own, T5_BASE) == said
    file.write_text(OWN)
    assert load.check(own | {"options": {"lr": 1}}, T5_BASE) == [said[0].replace("init", "lr")]
    assert load.check(own | {"options": {"prompt_length": 3}}, T5_BASE) == []

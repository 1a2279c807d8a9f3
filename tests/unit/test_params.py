"""scripts/params.py: tensors, formula and budget of a method on a backbone, without weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import params

CONF = Path(__file__).resolve().parents[2] / "conf"
KNOWN = [
    ("method=dept/m60_r30 backbone=t5_base", 76_800, "(exactly)"),
    ("method=adept backbone=t5_base", 76_051, "(749 under)"),
    ("method=apt backbone=deberta_xlarge", 2_949_168, "head, counted apart"),
    ("method=lora backbone=bert_base_cased", 294_912, "and 8 more tensors"),
    ("method=none", 0, "trains nothing"),
]


@pytest.mark.parametrize(("arguments", "total", "said"), KNOWN)
def test_known_totals(arguments: str, total: int, said: str) -> None:
    lines = params.lines(arguments.split())
    assert lines[-1] == f"trainable_parameters={total}"
    assert said in "\n".join(lines)


def test_a_wrong_choice_is_refused_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert params.main(["method=head_only", "backbone=t5_base"]) == 2
    assert "choose an encoder" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["t5_base", "t5_xxl_lm", "llama_3_8b", "bert_large_uncased", "deberta_xlarge"])
def test_the_tensors_hold_what_the_formula_says_at_real_sizes(backbone: str) -> None:
    counted = 0
    for name in sorted(p.stem for p in (CONF / "method").glob("*.yaml")):
        try:
            lines = params.lines([f"method={name}", f"backbone={backbone}"])
        except ValueError as refused:
            assert len(str(refused)) > 30  # a sentence: no head on T5, IA3 on DeBERTa, ...
            continue
        counted += int(lines[-1].removeprefix("trainable_parameters=")) > 0
    assert counted >= 10

"""runner.hidden_dropout is what the architecture itself does with `hidden_dropout_prob`, or it is refused."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from backbones.dropout import set_hidden_dropout
from backbones.specimens import SPECIMENS, settings_of_specimen, specimen_model


def rates(model: nn.Module) -> dict[str, float]:
    return {name: m.p for name, m in model.named_modules() if isinstance(m, nn.Dropout)}


@pytest.mark.parametrize("name", ["bert", "roberta", "electra", "albert", "mpnet", "deberta", "deberta_v3"])
def test_it_is_the_rate_that_the_architecture_would_have_been_made_with(name: str) -> None:
    settings: Any = settings_of_specimen(SPECIMENS[name])
    settings.hidden_dropout_prob = 0.37
    ours: Any = specimen_model(name)
    before = rates(ours)
    set_hidden_dropout(ours, 0.37)
    assert rates(ours) == rates(type(ours)(settings)) != before
    set_hidden_dropout(ours, 0.2)
    set_hidden_dropout(ours, None)
    assert rates(ours) == before


@pytest.mark.parametrize("name", ["t5", "gpt2", "llama", "distilbert"])
def test_a_model_without_such_a_rate_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="has no hidden_dropout_prob"):
        set_hidden_dropout(specimen_model(name), 0.2)


def test_a_head_has_it_in_all_its_dropout() -> None:
    head = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1))
    set_hidden_dropout(head, 0.4)
    assert rates(head) == {"1": 0.4}
    set_hidden_dropout(head, None)
    assert rates(head) == {"1": 0.1}

"""Backbones of a user's choice through run.py: found, admitted, refused with a sentence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from backbones.specimens import save_specimen
from conf.compose import compose
from conf.resolve import ConfigError
from results.ledger import Ledger
from tests.running import overrides, record, run_here


def test_a_folder_finds_its_family_and_its_admission_is_in_the_record(tmp_path: Path) -> None:
    folder = save_specimen("byt5", tmp_path / "my-bytes")
    outcome = run_here(tmp_path, "backbone=hub", f"backbone.path={folder}", "method.prompt_length=3")
    assert outcome.exit_code == 0
    seen = record(tmp_path)
    assert re.fullmatch(r"my-bytes-[0-9a-f]{6}", seen["backbone"]) and seen["config"]["backbone"]["family"] == "t5"
    admission = seen["backbone_admission"]
    assert admission["architecture"] == "T5ForConditionalGeneration" and admission["attention"] == "sdpa"
    assert max(admission["differences"].values()) <= admission["bound"] == 1e-4
    assert "candidate scores with a prompt" in admission["differences"]


def test_two_models_never_share_a_name(tmp_path: Path) -> None:
    names = []
    for place, seed in (("a", 0), ("b", 0), ("c", 1)):
        folder = tmp_path / place / "ckpt"
        save_specimen("gpt2", folder, seed)
        chosen = overrides(tmp_path, "backbone=hub", f"backbone.path={folder}")
        names.append(compose(chosen)["backbone"]["name"])
        assert compose([*chosen[:-2], "backbone=hub_llama", f"backbone.path={folder}"])["backbone"]["name"] == names[-1]
    assert names[0] == names[1] != names[2] and all(name.startswith("ckpt-") for name in names)
    hub = compose(overrides(tmp_path, "backbone=hub_llama", "backbone.hub=owner/model", "backbone.revision=abc"))
    assert hub["backbone"]["name"] == "owner/model@abc"
    named = compose(overrides(tmp_path, "backbone=hub_llama", "backbone.hub=owner/model", "backbone.name=mine"))
    assert named["backbone"]["name"] == "mine"


def test_what_cannot_be_used_is_refused_in_a_sentence(tmp_path: Path) -> None:
    fnet = save_specimen("fnet", tmp_path / "fnet")
    refused = run_here(tmp_path, "backbone=hub", f"backbone.path={fnet}", "method.prompt_length=3")
    assert refused.exit_code == 2 and "FNetModel" in str(refused.reason) and "by" in str(refused.reason)
    llama = save_specimen("llama", tmp_path / "llama")
    refused = run_here(tmp_path, "backbone=hub_encoder", f"backbone.path={llama}", "method.prompt_length=3")
    assert refused.exit_code == 2 and "backbone=hub_llama" in str(refused.reason)
    electra = save_specimen("albert", tmp_path / "albert")
    refused = run_here(tmp_path, "backbone=hub", f"backbone.path={electra}", "method=prefix")
    assert refused.exit_code == 2 and "share 1 set(s) of weights" in str(refused.reason)
    (llama / "model.safetensors").write_bytes(b"?")
    refused = run_here(tmp_path, "backbone=hub", f"backbone.path={llama}", "method.prompt_length=3")
    assert refused.exit_code == 2 and "could not be loaded" in str(refused.reason)


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ([], "backbone.hub=<owner/name>"),
        (["backbone.path=/nowhere"], "that of '/nowhere' could not be read"),
        (["backbone.hub=no-one/nothing"], "that of 'no-one/nothing' could not be read"),
    ],
)
def test_a_checkpoint_that_is_not_there_is_a_sentence(tmp_path: Path, chosen: list[str], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose(overrides(tmp_path, "backbone=hub", *chosen))
    assert says in str(caught.value)


def test_a_start_from_another_backbone_must_be_asked_for(tmp_path: Path) -> None:
    source = run_here(tmp_path, "backbone=tiny_t5", "method.prompt_length=3")
    assert source.exit_code == 0
    start = ["method.prompt_length=3", f"method.init_from={source.run_id}"]
    refused = run_here(tmp_path, "backbone=tiny_llama", *start)
    assert refused.exit_code == 2 and "that run had backbone tiny_t5" in str(refused.reason)
    assert "method.init_across=true" in str(refused.reason)
    assert run_here(tmp_path, "backbone=tiny_t5", "seed=7", *start).exit_code == 0
    across = run_here(tmp_path, "backbone=tiny_llama", *start, "method.init_across=true")
    assert across.exit_code == 0 and across.run_id != refused.run_id
    assert len(list(Ledger(tmp_path / "runs").records())) == 4

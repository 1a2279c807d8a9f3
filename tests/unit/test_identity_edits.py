"""Whatever can move a score and is edited, each in a copy of the tree, gives a new id or a refusal."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
Namer = Callable[..., str]
BASE = ("method=pt", "task=superglue/boolq", "backbone=tiny_llama", "protocol=carved", "data=fixture")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a run is made of."""
    copy = tmp_path_factory.mktemp("tree")
    left_out = shutil.ignore_patterns("runs", "__pycache__", "*.png", "*.tar.xz")
    for name in ("conf", "methods", "tasks", "backbones", "runners", "results", "hydra_plugins"):
        shutil.copytree(ROOT / name, copy / name, ignore=left_out)
    return copy


SERVER = """
import hydra, omegaconf, yaml, numpy, json, os, sys  # what is not of the tree is read once for all names
for line in sys.stdin:
    tree, overrides = json.loads(line)
    answer, told = os.pipe()
    if os.fork() == 0:
        os.chdir(tree)
        sys.path.insert(0, tree)
        try:
            from conf.compose import compose, name_run, typed
            resolved = compose(overrides)
            said = name_run(resolved, typed(resolved))[0]
        except Exception as error:
            said = f"refused: {error}".replace(chr(10), " ")
        os.write(told, said.encode())
        os._exit(0)
    os.close(told)
    os.wait()
    print(os.read(answer, 65536).decode(), flush=True)
    os.close(answer)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[str]]:
    """A process that names runs of any tree, each in a fresh child."""
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean, cwd="/"
    )
    yield process
    process.communicate(timeout=30)


@pytest.fixture(scope="module")
def name(server: subprocess.Popen[str]) -> Callable[..., str]:
    def ask(tree: Path, *more: str) -> str:
        groups = {text.split("=")[0] for text in more}
        overrides = [text for text in BASE if text.split("=")[0] not in groups] + list(more)
        assert server.stdin and server.stdout
        print(json.dumps([str(tree), overrides]), file=server.stdin, flush=True)
        return server.stdout.readline().strip()

    return ask


def replaced(path: str, old: str, new: str) -> Callable[[Path], None]:
    def edit(tree: Path) -> None:
        text = (tree / path).read_text(encoding="utf-8")
        assert old in text
        (tree / path).write_text(text.replace(old, new, 1), encoding="utf-8")

    return edit


PT, BOOLQ, CARVED = "conf/method/pt.yaml", "conf/task/superglue/boolq.yaml", "conf/protocol/carved.yaml"
EDITS = {
    "a rate by family": replaced(PT, " llama: {init: text, lr.prompt: 0.01}", " llama: {init: text, lr.prompt: 7.0}"),
    "an equation": replaced("methods/pt.py", "return self.prompt", "return 2 * self.prompt"),
    "a protocol's value": replaced(CARVED, "split_seed: 42", "split_seed: 43"),
    "a template": replaced(BOOLQ, "{question}", "Q {question}"),
    "a default of the schema": replaced(
        "runners/config.py", "clip_norm: float = ranged(1.0", "clip_norm: float = ranged(2.0"
    ),
}
MORE = {
    "a length": replaced(PT, "prompt_length: 100", "prompt_length: 20"),
    "a default of a runner": replaced("conf/runner/quick.yaml", "batch_size:", "batch_size: 3 #"),
    "an equation below it": replaced("methods/base.py", "generator=generator) - 0.5", "generator=generator) - 0.4"),
    "the optimiser": replaced("runners/optim.py", "return ", "return 1 and "),
    "a prepared column": replaced("tasks/prepare.py", "return ", "return 1 and "),
    "a protocol's switch": replaced(CARVED, "\ninvalid_output: null", "\ninvalid_output: opposite"),
    "a label word": replaced(BOOLQ, "labels:", "labels: [yes, no] #"),
    "a fixture's row": replaced("tasks/fixtures/superglue/boolq.jsonl", "the", "teh"),
    "a tiny model": replaced("conf/backbone/tiny_llama.yaml", "layers: 2", "layers: 3"),
}
SAME = {
    "comments": replaced("methods/pt.py", "return self.prompt", "return self.prompt  # P"),
    "words": replaced("conf/backbone/tiny_llama.yaml", "random weights, for tests", "for tests"),
}
SLOW = [pytest.param(what, marks=pytest.mark.slow) for what in (*MORE, *SAME)]


@pytest.fixture(scope="module")
def before(name: Namer, tree: Path) -> str:
    found = name(tree)
    assert len(found) == 16, found
    return found


@pytest.mark.parametrize("what", [*EDITS, *SLOW])
def test_an_edit_is_seen(name: Namer, tree: Path, before: str, tmp_path: Path, what: str) -> None:
    copy = tmp_path / "edited"
    shutil.copytree(tree, copy)
    (EDITS | MORE | SAME)[what](copy)
    after = name(copy)
    if what in SAME:
        assert after == before
    else:
        assert after != before and (len(after) == 16 or after.startswith("refused: ")), after


def test_a_scaffolded_method_is_named_by_its_text(name: Namer, tree: Path, before: str, tmp_path: Path) -> None:
    from scripts.new import new_method

    copy = tmp_path / "own"
    shutil.copytree(tree, copy)
    new_method("my_pt", copy)
    own = name(copy, "method=my_pt")
    replaced("methods/my_pt.py", "torch.zeros(facts.width)", "torch.ones(facts.width)")(copy)
    edited = name(copy, "method=my_pt")
    replaced("conf/method/my_pt.yaml", "lr.prompt: 0.01", "lr.prompt: 0.02")(copy)
    assert len({own, edited, name(copy, "method=my_pt")}) == 3
    assert name(copy) == before  # nobody else's runs are renamed


def test_local_rows_and_the_weights_of_a_checkpoint_count(name: Namer, tree: Path, tmp_path: Path) -> None:
    rows = tmp_path / "data" / "superglue" / "boolq"
    rows.mkdir(parents=True)
    local = ("data=local", f"data.root={tmp_path / 'data'}")
    seen = []
    for label in (0, 1):
        text = json.dumps({"idx": 0, "question": "q", "passage": "p", "label": label})
        (rows / "train.jsonl").write_text(text + "\n", encoding="utf-8")
        seen.append(name(tree, *local))
    facts = (
        '{"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 9, '
        '"intermediate_size": 8, "max_position_embeddings": 64}'
    )
    for weights in ("one", "two"):
        folder = tmp_path / weights / "checkpoint-500"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(facts)
        (folder / "model.safetensors").write_text(weights)
        seen.append(name(tree, "backbone=hub_llama", f"backbone.path={folder}"))
    assert len(set(seen)) == 4 and all(len(one) == 16 for one in seen), seen

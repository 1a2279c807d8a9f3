"""How much the points of docs/fidelity.md that are not agreed would change: `python scripts/fidelity_sizes.py DATA`.

DATA is a folder with local data (../shared/data; data/tokenizers/t5/spiece.model in it is T5's tokenizer). One line a
point: rows counted in those files, a tiny T5 of random weights trained both ways, SmolLM2-135M scored both ways.
`--rows N` of BoolQ for the latter (64; 0 leaves it out, since it loads the model).
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT), *(p for p in sys.path if p != str(ROOT / "scripts"))]  # scripts/ names some packages

from results.command_line import command  # noqa: E402

STEPS, Z_LOSS, LENGTH = (1, 10), 1e-4, 20


def rows_of(data: Path, task: str, split: str) -> list[dict[str, Any]]:
    """The rows of one local split."""
    plain = data / task / f"{split}.jsonl"
    packed = plain.with_suffix(".jsonl.gz")
    text = plain.read_text(encoding="utf-8") if plain.is_file() else gzip.decompress(packed.read_bytes()).decode()
    return [json.loads(line) for line in text.splitlines()]


def share(name: str, rows: Sequence[Any], holds: Callable[[Any], bool]) -> None:
    """Print how many rows a point touches."""
    count = sum(map(holds, rows))
    print(f"{name}: {count:,} of {len(rows):,} ({100 * count / len(rows):.1f}%)")


def residual(data: Path) -> None:
    """Residual Prompt Tuning: WSC's target is one word, targets have a limit of pieces, ReCoRD's answers are joined."""
    from transformers import T5Tokenizer

    true = [row for row in rows_of(data, "superglue/wsc", "train") if row["label"]]
    share("residual_pt, WSC's span has more words than its target", true, lambda r: " " in r["span1_text"].strip())
    share(
        "residual_pt, the target is an article, scored as nothing", true, lambda r: first_word(r) in ("a", "an", "the")
    )
    record = [r for s in ("train", "validation") for r in rows_of(data, "superglue/record", s)]
    share("residual_pt, ReCoRD's rows with several answers", record, lambda r: len(set(texts(r["answers"]))) > 1)
    tokenizer = T5Tokenizer.from_pretrained(str(data / "tokenizers/t5"))
    for word, limit in (("not_entailment", 5), ("not_equivalent", 5), ("not_acceptable", 5), ("contradiction", 5)):
        pieces = tokenizer.tokenize(word)
        kept = tokenizer.convert_tokens_to_string(pieces[: limit - 1])
        print(f"residual_pt, {word}: {len(pieces)} pieces and EOS in {limit}: trained and scored as {kept!r}")


def first_word(row: dict[str, Any]) -> str:
    """The word at which WSC's first span begins."""
    return str(row["text"].split(" ")[int(row["span1_index"])]).lower()


def attempt(data: Path) -> None:
    """ATTEMPT: a row of its own for each answer of ReCoRD, targets of SQuAD's class joined, answers over 19 tokens."""
    from transformers import T5Tokenizer

    tokenizer = T5Tokenizer.from_pretrained(str(data / "tokenizers/t5"))
    for task in ("mrqa/squad", "mrqa/hotpotqa"):
        rows = rows_of(data, task, "validation")
        share(f"attempt, {task}'s rows with several answers", rows, lambda r: len(set(texts(r["answers"]))) > 1)
        share(
            f"attempt, {task}'s first answers over 19 tokens", rows,
            lambda r: len(tokenizer(texts(r["answers"])[0])["input_ids"]) > 19,
        )  # fmt: skip


def texts(answers: Any) -> list[str]:
    """Accepted answers, in whichever of the published forms."""
    return list(answers["text"] if isinstance(answers, dict) else answers)


def macro_f1(data: Path) -> None:
    """CB: macro-F1 over the words that occur, where ours is over the three classes."""
    from sklearn.metrics import f1_score

    from tasks.splits import permutation

    rows = [r["label"] for r in rows_of(data, "superglue/cb", "validation")]
    half = [rows[i] for i in permutation(len(rows), 0, "numpy")[: len(rows) // 2]]
    for name, gold in (("whole", rows), ("half of residual_pt", half)):
        for what, got in (
            ("one wrong class", [(gold[0] + 1) % 3, *gold[1:]]),
            ("one word of no class", [9, *gold[1:]]),
        ):
            ours = f1_score(gold, got, labels=range(3), average="macro", zero_division=0)
            theirs = f1_score(gold, got, average="macro", zero_division=0)
            print(f"CB {name}, {what}: {100 * ours:.1f} over three classes, {100 * theirs:.1f} over those that occur")


def lester(data: Path) -> None:
    """T5X's z-loss, and its sum where ours is a mean: where a prompt goes on a tiny T5, for the same rows and steps."""
    import torch
    from torch.nn.utils.rnn import pad_sequence as pad

    from conf.compose import compose, typed
    from runners.assemble import assemble
    from runners.data import load_data
    from runners.optim import build_optimizer

    words = ["method=pt", "method.prompt_length=20", "protocol=lester", "fidelity=author", "runner.precision=fp32"]
    words += ["backbone=tiny_t5", "task=superglue/cb", "data=local", f"data.root={data}", "runner.max_source_length=64"]
    config = typed(compose([*words, "runner=paper"]))
    data_read = load_data(config)

    def trained(z_loss: float, summed: bool) -> tuple[dict[int, Any], float, float]:
        parts = assemble(config, torch.device("cpu"), data_read)
        model, encoded = parts.tuned.backbone.model.eval().double(), parts.splits["train"].encoded
        start = torch.randn(LENGTH, model.config.d_model, generator=torch.Generator().manual_seed(1))
        prompt, seen = torch.nn.Parameter(start.double()), {}
        optimizer = build_optimizer({"prompt": {"p": prompt}}, {"prompt": 0.3}, config.runner.optimizer)
        for step in range(max(STEPS)):
            rows = [encoded[(32 * step + i) % len(encoded)] for i in range(32)]
            ids = pad([torch.tensor(r.source) for r in rows], batch_first=True)
            targets = pad([torch.tensor(r.target) for r in rows], batch_first=True, padding_value=-100)
            embeds = torch.cat([prompt.expand(len(rows), -1, -1), model.shared(ids)], 1)
            mask = torch.cat([torch.ones(len(rows), LENGTH), (ids > 0).float()], 1)
            logits = model(inputs_embeds=embeds, attention_mask=mask, labels=targets).logits[targets >= 0]
            log_z, entropy = logits.logsumexp(-1), torch.nn.functional.cross_entropy(logits, targets[targets >= 0])
            loss = entropy + z_loss * (log_z**2).mean()
            optimizer.zero_grad()
            (loss * len(log_z) if summed else loss).backward()
            optimizer.step()
            if step + 1 in STEPS:
                seen[step + 1] = prompt.detach().clone()
        return seen, float(entropy.detach()), float(log_z.detach().mean())

    plain, loss, log_z = trained(0.0, False)
    for name, z_loss, summed in (("z-loss", Z_LOSS, False), ("sum for mean", 0.0, True)):
        seen, other, _ = trained(z_loss, summed)
        apart = ", ".join(f"{100 * float((seen[n] - plain[n]).norm() / plain[n].norm()):.2g}%" for n in STEPS)
        steps = ", ".join(map(str, STEPS))
        print(
            f"lester, {name}: after {steps} steps the prompts are {apart} apart, cross-entropy at last {loss:.3f} "
            f"without and {other:.3f} with it (log Z {log_z:.1f})"
        )


def cue(count: int) -> None:
    """A second BOS between the cue and the answer, which a decoder-only tokenizer may add: SmolLM2-135M on BoolQ."""
    import torch

    from conf.compose import compose, typed
    from runners.assemble import assemble
    from runners.data import load_data

    words = ["method=none", "protocol=dept", "fidelity=author", "backbone=smollm2_135m", "task=superglue/boolq"]
    config = typed(compose([*words, "protocol.label_words=words", f"runner.test_rows={count}", "runner=paper"]))
    parts = assemble(config, torch.device("cpu"), load_data(config))
    backbone, split = parts.tuned.backbone, parts.splits["test"]
    heads = [backbone.tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in ("no", "yes")]
    right, changed = [0, 0], 0
    with torch.no_grad():
        for example, row in zip(split.examples, split.encoded, strict=True):
            logits = backbone.model(torch.tensor([[*row.source, backbone.tokenizer.bos_token_id]])).logits[
                0, -2:, heads
            ]
            without, with_bos = logits.argmax(-1).tolist()
            right[0] += without == example.label
            right[1] += with_bos == example.label
            changed += without != with_bos
    print(
        f"dept on a decoder, BOS before the answer: {changed} of {count} answers change, accuracy "
        f"{100 * right[0] / count:.1f} without and {100 * right[1] / count:.1f} with it"
    )
    cut = len(split.encoded.cut_from)
    print(f"dept on a decoder, sources over 256 tokens (theirs lose the target): {cut} of {count}")


@command
def main(arguments: list[str] | None = None) -> int:
    """0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=64)
    options = parser.parse_args(arguments)
    for measure in (residual, attempt, macro_f1, lester):
        measure(options.data.resolve())
    if options.rows:
        cue(options.rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())

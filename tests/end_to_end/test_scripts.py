"""predict, export and doctor on runs of tiny models."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
import torch

from scripts import doctor, export, predict
from tests.running import folder, overrides, record, run_here


@pytest.mark.parametrize("backbone", ["tiny_llama", "tiny_t5", "tiny_bert"])
def test_predict_answers_as_the_run_did(backbone: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(tmp_path, f"backbone={backbone}", "task=demo/movie_reviews").status == "done"
    lines = tmp_path / "lines.txt"
    lines.write_text("a fine film\n\nwhat a bore\n" + json.dumps({"text": "neither good nor bad"}) + "\n")
    kept = record(tmp_path)
    capsys.readouterr()
    assert predict.main([f"run={kept['run_id'][:6]}", f"ledger={tmp_path / 'runs'}", str(lines)]) == 0
    answers = [line.split("\t") for line in capsys.readouterr().out.strip().splitlines()]
    assert len(answers) == 3
    for answer, *chances in answers:
        values = [float(chance.rsplit("=", 1)[1]) for chance in chances]
        assert len(values) == 2 and sum(values) == pytest.approx(1, abs=2e-4)
        assert answer in chances[values.index(max(values))]


def test_predict_gives_the_recorded_predictions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from results.files import read_lines

    run_here(tmp_path, "method.lr.prompt=0.3")
    rows = {str(row["idx"]): row for row in read_lines(Path("tasks/fixtures/superglue/boolq.jsonl")) if "idx" in row}
    told = read_lines(folder(tmp_path) / "predictions.test.jsonl")
    wanted = [row for row in told if row["id"] in rows]
    text = "".join(json.dumps({k: rows[row["id"]][k] for k in ("question", "passage")}) + "\n" for row in wanted)
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    capsys.readouterr()
    assert predict.main([f"run={record(tmp_path)['run_id']}", f"ledger={tmp_path / 'runs'}"]) == 0
    answers = [line.split("\t")[0] for line in capsys.readouterr().out.strip().splitlines()]
    assert wanted and answers == [{"0": "False", "1": "True"}[row["prediction"]] for row in wanted]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_a_table_comes_back_with_its_rows_and_columns_and_the_answers(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tasks.reading import read_rows

    run_here(tmp_path, "task=demo/movie_reviews")
    rows = [{"number": str(i), "text": text} for i, text in enumerate(("a fine film", 'what, "a" bore', "so so"))]
    given, to = tmp_path / f"given{suffix}", tmp_path / f"answered{suffix}"
    with given.open("w", newline="") as handle:
        if suffix == ".jsonl":
            handle.writelines(json.dumps(row) + "\n" for row in rows)
        else:
            how = {"delimiter": ","} if suffix == ".csv" else {"delimiter": "\t", "quoting": 3, "quotechar": None}
            writer = csv.DictWriter(handle, ["number", "text"], **how)
            writer.writeheader()
            writer.writerows(rows)
    where = [f"run={record(tmp_path)['run_id']}", f"ledger={tmp_path / 'runs'}"]
    assert predict.main([*where, str(given), f"to={to}"]) == 0
    answered = read_rows(to)
    assert [{name: row[name] for name in ("number", "text")} for row in answered] == rows
    for row in answered:
        chances = {name: float(value) for name, value in row.items() if name.startswith("p(")}
        assert set(chances) == {"p(negative)", "p(positive)"} and sum(chances.values()) == pytest.approx(1, abs=2e-4)
        assert f"p({row['prediction']})" == max(chances, key=lambda name: chances[name])
    assert predict.main([*where, str(to)]) == 2
    assert "has a column 'p(" in capsys.readouterr().err


def test_predict_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_here(tmp_path)
    where = [f"run={record(tmp_path)['run_id']}", f"ledger={tmp_path / 'runs'}"]
    (tmp_path / "lines.txt").write_text("one column only\n")
    assert predict.main([*where, str(tmp_path / "lines.txt")]) == 2
    assert "1 of 2 columns" in capsys.readouterr().err
    assert predict.main(["run=ffff", where[1]]) == 2
    assert "0 runs begin so" in capsys.readouterr().err
    assert predict.main([*where, "colour=red"]) == 2
    assert "colour=red: known are run=<id>" in capsys.readouterr().err


@pytest.mark.parametrize(
    "choice",
    [("backbone=tiny_llama", "method=pt"), ("backbone=tiny_t5", "method=pt"), ("backbone=tiny_llama", "method=prefix")],
    ids=" ".join,
)
def test_an_exported_run_has_equal_logits_in_peft(choice: tuple[str, ...], tmp_path: Path) -> None:
    from peft import PeftModel

    from backbones.load import load_backbone
    from runners.finished import load_finished

    assert run_here(tmp_path, *choice, "runner.schedule.name=constant").status == "done"
    run_id = record(tmp_path)["run_id"]
    assert export.main([f"run={run_id}", f"ledger={tmp_path / 'runs'}", f"to={tmp_path / 'peft'}"]) == 0
    assert {path.name for path in (tmp_path / "peft").iterdir()} >= {"adapter_config.json", "adapter_model.safetensors"}

    finished = load_finished(tmp_path / "runs", run_id)
    base = load_backbone(finished.config.backbone, cache_root=tmp_path).model
    theirs = PeftModel.from_pretrained(base, str(tmp_path / "peft")).eval()
    from tasks.encode import Encoded

    ids, answer = [5, 9, 11, 40, 7], [8, 3, 2]
    with torch.inference_mode():
        batch = finished.tuned.backbone.collate([Encoded("a", source=ids, target=answer)])
        ours = finished.tuned.losses(batch)[0]
        if choice[0].endswith("t5"):
            logits = theirs(input_ids=torch.tensor([ids]), labels=torch.tensor([answer])).logits[0]
        else:
            logits = theirs(input_ids=torch.tensor([ids + answer])).logits[0, -4:-1]
    expected = torch.nn.functional.cross_entropy(logits.float(), torch.tensor(answer), reduction="sum")
    torch.testing.assert_close(ours[0], expected, rtol=1e-5, atol=1e-5)


def test_what_peft_cannot_express_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_here(tmp_path, "method=dept")
    assert export.main([f"run={record(tmp_path)['run_id']}", f"ledger={tmp_path / 'runs'}"]) == 2
    assert "offset to every source token by its position" in capsys.readouterr().err


def test_prompt_embeds_of_rows_come_as_a_server_takes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import base64

    run_here(tmp_path, "method=dept", "runner.max_steps=2")
    (tmp_path / "rows.csv").write_text("question,passage\nis it so,it is so\n")
    where = [f"run={record(tmp_path)['run_id']}", f"ledger={tmp_path / 'runs'}", f"to={tmp_path / 'embeds.jsonl'}"]
    assert export.main([*where, "form=prompt_embeds", str(tmp_path / "rows.csv")]) == 0
    (line,) = (tmp_path / "embeds.jsonl").read_text().splitlines()
    row = json.loads(line)
    vectors = torch.load(io.BytesIO(base64.b64decode(row.pop("prompt_embeds"))), weights_only=True)
    assert row == {"question": "is it so", "passage": "it is so"}
    assert vectors.shape[1] == 64 and len(vectors) > record(tmp_path)["config"]["method"]["prompt_length"]
    assert export.main([where[0], where[1], "form=prompt_embeds"]) == 2
    assert "a file of rows" in capsys.readouterr().err


def test_doctor_takes_one_batch_of_every_grid_point(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main(overrides(tmp_path, "method=pt,dept", "backbone=tiny_llama,tiny_t5")) == 0
    out = capsys.readouterr().out
    assert "4 grid points" in out and "of 4 points: forward, backward, scored" in out
    assert out.strip().splitlines()[-1] == "doctor: ok"
    assert "backbone tiny_t5: T5ForConditionalGeneration (sdpa attention, float32) equals its own forward: " in out
    assert not (tmp_path / "runs").exists()


def test_doctor_says_what_is_missing_and_what_brings_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main(overrides(tmp_path, "backbone=t5_base", "backbone.path=/no/model/here")) == 1
    out = capsys.readouterr().out
    assert "backbone.path=/no/model/here: no config.json there" in out
    assert out.strip().splitlines()[-1] == "doctor: 1 problem"
    assert doctor.main(overrides(tmp_path, "method=dpet")) == 1
    assert "Did you mean dept" in capsys.readouterr().out


@pytest.mark.parametrize("backbone", ["tiny_llama", "tiny_t5"])
def test_runs_of_several_tasks_answer_one_file_as_each_would_alone(
    backbone: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prompts of two lengths, offsets by token beside none, two tasks, mixed rows: the same answers, in their order."""
    where = [f"ledger={tmp_path / 'runs'}"]
    few = (f"backbone={backbone}", "runner.max_steps=2")
    boolq = run_here(tmp_path, *few, "method.prompt_length=7", "method.lr.prompt=0.5").run_id
    film = run_here(tmp_path, *few, "method=adept", "method.prompt_length=3", "task=demo/movie_reviews").run_id
    rows = [
        {"task": "boolq", "question": "is it so", "passage": "it is so"},
        {"task": "movie_reviews", "text": "a fine film"},
        {"task": str(film), "text": "what a bore, and so very long that its row is the longest of them all"},
        {"task": "superglue/boolq", "question": "is it", "passage": "no"},
    ]
    mixed = tmp_path / "mixed.jsonl"
    mixed.write_text("".join(json.dumps(row) + "\n" for row in rows))
    capsys.readouterr()
    assert predict.main([f"run={boolq},{film}", *where, str(mixed)]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for run, places in ((boolq, (0, 3)), (film, (1, 2))):
        alone = tmp_path / f"{run}.jsonl"
        alone.write_text("".join(json.dumps(rows[i]) + "\n" for i in places))
        assert predict.main([f"run={run}", *where, str(alone)]) == 0
        for i, line in zip(places, capsys.readouterr().out.splitlines(), strict=True):
            wanted = json.loads(line)
            assert told[i].keys() == wanted.keys() and told[i]["prediction"] == wanted["prediction"]
            chances = [key for key in wanted if key.startswith("p(")]
            assert len(chances) == 2
            assert [told[i][k] for k in chances] == pytest.approx([wanted[k] for k in chances], abs=2e-5)
    mixed.write_text(json.dumps({"task": "rte", "text": "a"}) + "\n")
    assert predict.main([f"run={boolq},{film}", *where, str(mixed)]) == 2
    assert "task='rte': no run has that name; there are superglue/boolq (" in capsys.readouterr().err


def test_a_reader_who_has_enough_is_no_error(tmp_path: Path) -> None:
    """predict | head: exit code 0 and nothing on standard error."""
    import subprocess
    import sys

    from tests.running import ROOT, environment

    run_here(tmp_path, "task=demo/movie_reviews", "runner.max_steps=2")
    (tmp_path / "rows.jsonl").write_text('{"text": "a fine film"}\n' * 3000)
    words = [sys.executable, str(ROOT / "scripts/predict.py"), f"run={record(tmp_path)['run_id']}"]
    process = subprocess.Popen(
        [*words, f"ledger={tmp_path / 'runs'}", str(tmp_path / "rows.jsonl")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    assert "prediction" in process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=120) == 0 and process.stderr.read() == ""


def test_a_run_of_a_method_or_model_that_has_changed_since_answers_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its tensors would go through another equation, and the answers stand under the old run's score."""
    from backbones.build import random_model
    from backbones.tiny_tokenizer import tiny_tokenizer
    from conf.compose import compose, typed
    from scripts import evaluate

    mine, model = tmp_path / "mine.py", tmp_path / "model"
    mine.write_text("from methods.pt import PT\n\n\nclass Mine(PT):\n    '''As PT.'''\n")
    config = typed(compose(["backbone=tiny_llama"]))
    random_model(config.backbone, 0, "sdpa", torch.float32).save_pretrained(model)
    tiny_tokenizer("llama").save_pretrained(model)
    words = ["method=own", f"method.path={mine}", "backbone=hub_llama", f"backbone.path={model}"]
    assert run_here(tmp_path, *words, "task=demo/movie_reviews").status == "done"
    given = [f"run={record(tmp_path)['run_id']}", f"ledger={tmp_path / 'runs'}"]
    lines = tmp_path / "lines.txt"
    lines.write_text("a fine film\n")
    uses = (
        lambda: predict.main([*given, str(lines)]),
        lambda: export.main([*given, f"to={tmp_path / 'adapter'}"]),
        lambda: evaluate.main([*given, "task=demo/movie_reviews"]),
    )
    assert [use() for use in uses][:2] == [0, 0]
    mine.write_text(mine.read_text() + "\n    # a comment changes nothing\n")
    assert uses[0]() == 0
    mine.write_text(mine.read_text() + "\n    offset_generated = True\n")
    capsys.readouterr()
    assert [use() for use in uses] == [2, 2, 2]
    assert capsys.readouterr().err.count("mine.py; bring that back") == 3
    mine.write_text("from methods.pt import PT\n\n\nclass Mine(PT):\n    '''As PT.'''\n")
    random_model(config.backbone, 1, "sdpa", torch.float32).save_pretrained(model)
    assert [use() for use in uses[:1]] == [2]
    assert "the backbone's files; bring that back" in capsys.readouterr().err


def test_probabilities_are_of_what_was_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where candidates are ranked by character, the answer is the most probable one, alone and mixed."""
    where = [f"ledger={tmp_path / 'runs'}"]
    piqa = run_here(tmp_path, "task=mc/piqa", "protocol.rank_per=character").run_id
    boolq = run_here(tmp_path).run_id
    long, texts = "and so on and on and on until all of it is done at last", ("cut", "wait", "stir", "pour it")
    rows = [{"question": f"to {a}", "choices": [a, f"{b} {long}"]} for a in texts for b in texts]
    given = tmp_path / "rows.jsonl"
    for runs, more in ((piqa, {}), (f"{piqa},{boolq}", {"task": "piqa"})):
        given.write_text("".join(json.dumps(row | more) + "\n" for row in rows))
        capsys.readouterr()
        assert predict.main([f"run={runs}", *where, str(given)]) == 0
        told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert len(told) == len(rows)
        for row in told:
            chances = {key: float(value) for key, value in row.items() if key.startswith("p(")}
            assert len(chances) == 2 and sum(chances.values()) == pytest.approx(1, abs=2e-4)
            assert f"p({row['prediction']})" == max(chances, key=lambda name: chances[name])

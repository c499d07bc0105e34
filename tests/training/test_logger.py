import io
import json

import spacy

from spacy_skd.training.logger import distill_logger


def info(step):
    return {
        "epoch": 1, "step": step, "score": 0.5, "losses": {}, "seconds": 3, "words": 100,
        "other_scores": {"ents_f": 0.5}, "checkpoints": [(0.5, step)],
    }  # fmt: skip


def log(path, steps):
    nlp = spacy.blank("xx")
    nlp.config["training"]["score_weights"] = {"ents_f": 1.0}
    console = io.StringIO()
    log_step, finalize = distill_logger(path=path)(nlp, console, io.StringIO())
    for step in steps:
        log_step(info(step))
        log_step(None)
    finalize()
    return console.getvalue()


def test_a_line_for_each_evaluation_is_added(tmp_path):
    path = tmp_path / "logs" / "log.jsonl"
    log(path, [0, 100])
    console = log(path, [200])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 100, 200]
    assert lines[0] == {
        "step": 0, "epoch": 1, "score": 0.5, "losses": {}, "scores": {"ents_f": 0.5},
        "seconds": 3, "words": 100,
    }  # fmt: skip
    assert "200" in console


def test_without_a_file():
    assert "100" in log(None, [100])

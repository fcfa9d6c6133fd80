"""What a test reports."""

import shutil
from pathlib import Path

import pytest
import torch
from helpers import reports
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fewshot.checkpoints import read_checkpoint
from fewshot.cli import main
from fewshot.evaluation import Report
from fewshot.evaluation.fingerprint import fingerprint
from fewshot.evaluation.load import load


def test_a_test_reports_what_a_figure_needs(maml, tmp_path, capsys):
    main(["test", f"--ckpt_path={maml}", f"--trainer.default_root_dir={tmp_path}", "--data.test_shots=4",
          "--model.test_adaptation_steps=5", "--data.test_episodes=6", "--data.meta_batch_size=4"])  # fmt: skip
    (report,) = reports(tmp_path)
    expected = {
        "algorithm": "MAMLModule", "episodes": 6, "ways": 5, "shots": 4, "queries": 5, "adaptation_steps": 5,
        "batch_norm": "transductive", "split": "glyphs/random", "rotations": False, "checkpoint": str(maml),
        "transductive": True,
    }  # fmt: skip
    assert {key: report[key] for key in expected} == expected
    assert report["ci95"] == pytest.approx(1.96 * report["std"] / 6**0.5)
    assert 0 <= report["accuracy_before"] <= 1
    screen = capsys.readouterr().out
    assert f"{report['accuracy']:.2%} ± {report['ci95']:.2%}" in screen
    assert "test.json" in screen
    events = EventAccumulator(str(tmp_path / "logs" / "glyphs_maml" / "test" / "version_0")).Reload()
    assert events.Scalars("test/accuracy")[0].value == pytest.approx(report["accuracy"])


def test_a_report_counts_what_was_evaluated(maml, tmp_path, capsys):
    words = ["test", f"--ckpt_path={maml}", f"--trainer.default_root_dir={tmp_path}", "--data.test_episodes=50"]
    main([*words, "--data.meta_batch_size=2", "--trainer.limit_test_batches=1"])
    screen = capsys.readouterr().out
    assert "2 with 5 queries per class" in screen
    assert "together (transductive)" in screen
    main([*words, "--data.meta_batch_size=1", "--trainer.limit_test_batches=1"])
    assert "±" not in capsys.readouterr().out
    two, one = reports(tmp_path)
    assert (two["episodes"], two["transductive"]) == (2, True)
    assert (one["episodes"], one["std"], one["ci95"]) == (1, None, None)
    events = EventAccumulator(str(tmp_path / "logs" / "glyphs_maml" / "test" / "version_1")).Reload()
    assert not [name for name in events.Tags()["scalars"] if name.endswith(("_std", "_ci95"))]


def test_a_print_that_fails_loses_no_result(maml, tmp_path, capsys, monkeypatch):
    odd = tmp_path / "a [" / "red] :smile:" / "best.ckpt"  # "[/red]" would end rich's red
    odd.parent.mkdir(parents=True)
    odd.write_bytes(maml.read_bytes())
    words = ["test", f"--ckpt_path={odd}", f"--trainer.default_root_dir={tmp_path}"]
    main(words)
    assert "[/red] :smile:" in capsys.readouterr().out

    def fails(report: dict) -> None:
        raise UnicodeError(f"cannot print {report['accuracy']}")

    monkeypatch.setattr(Report, "_table", staticmethod(fails))
    with pytest.raises(SystemExit):
        main(words)
    assert len(reports(tmp_path)) == 2


def fingerprint_of(path: Path, *options: str) -> dict[str, str | None]:
    _, module, data, _ = load(path, options)
    data.setup("test")
    module.load_state_dict(read_checkpoint(path)["state_dict"])
    return fingerprint(module, data, data.episodes["test"], "32-true")


def test_a_fingerprint_tells_what_differs(maml, tmp_path):
    """And nothing else: not where the files are, nor how fast or how the learner was trained."""
    expected = fingerprint_of(maml)
    assert all(len(part) == 16 for part in expected.values())
    shutil.copy(maml, tmp_path / "copy.ckpt")
    idle = ["--data.meta_batch_size=3", "--data.val_episodes=7", "--model.meta_lr=0.5", "--model.optimizer=SGD"]
    assert fingerprint_of(tmp_path / "copy.ckpt", *idle) == expected
    checkpoint = torch.load(maml, weights_only=True)
    checkpoint["state_dict"]["network.head.bias"][0] += 1e-6
    torch.save(checkpoint, tmp_path / "other.ckpt")
    for part, found in {
        "data": fingerprint_of(maml, "--data.seed=1"),
        "options": fingerprint_of(maml, "--model.test_adaptation_steps=7"),
        "weights": fingerprint_of(tmp_path / "other.ckpt"),
    }.items():
        assert [name for name in expected if found[name] != expected[name]] == [part]

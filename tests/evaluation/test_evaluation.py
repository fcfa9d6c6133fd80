"""Sweeps, paired comparisons, training curves and exported checkpoints, by the commands that a user types."""

import csv
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from conftest import REPOSITORY, TINY
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from fewshot.cli import main
from fewshot.evaluation import measure, read_curve
from fewshot.plots import smoothed


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MAML, and a prototypical network trained on twice as many ways, each for two steps on glyphs."""
    root = tmp_path_factory.mktemp("runs")
    for algorithm in ("maml", "protonet"):
        main(["fit", f"--config=configs/glyphs_{algorithm}.yaml", f"--trainer.default_root_dir={root}", *TINY])
    return root


@pytest.fixture
def both(runs: Path) -> str:
    """The option that names both checkpoints."""
    return f"--ckpt_paths=[{maml(runs)},{runs}/checkpoints/glyphs_protonet/best.ckpt]"


def maml(runs: Path) -> Path:
    return runs / "checkpoints" / "glyphs_maml" / "best.ckpt"


def rows(folder: Path, file: str = "results.json") -> list[dict]:
    return json.loads((folder / file).read_text())


def count_tests(monkeypatch: pytest.MonkeyPatch, interrupt_at: int | None = None) -> list[str]:
    """The labels of the checkpoints that are really tested, in order."""
    tested: list[str] = []
    really = measure._test

    def test(point, accelerator):
        if len(tested) == interrupt_at:
            raise KeyboardInterrupt
        tested.append(point.name)
        return really(point, accelerator)

    monkeypatch.setattr(measure, "_test", test)
    return tested


# --- sweep


def test_a_sweep_says_what_tests_say(runs, both, tmp_path, capsys):
    folder = tmp_path / "sweep"
    main(["sweep", both, "--shots=[4,1]", f"--folder={folder}", "--data.test_episodes=6"])
    screen = capsys.readouterr().out
    swept = rows(folder)
    assert [(row["name"], row["value"]) for row in swept] == [
        ("glyphs_maml", 1), ("glyphs_protonet", 1), ("glyphs_maml", 4), ("glyphs_protonet", 4),
    ]  # fmt: skip
    for row in swept:
        main(["test", f"--ckpt_path={row['checkpoint']}", f"--data.test_shots={row['value']}",
              f"--trainer.default_root_dir={tmp_path}", "--data.test_episodes=6"])  # fmt: skip
        report = rows(max((tmp_path / "logs" / row["name"]).glob("test/*"), key=lambda place: place.name), "test.json")
        for name in ("accuracy", "std", "ci95", "episodes", "ways", "shots", "split_digest", "adaptation_steps"):
            assert row[name] == pytest.approx(report[name], abs=1e-6)
        assert len(row["scores"]) == 6
        assert sum(row["scores"]) / 6 == pytest.approx(row["accuracy"], abs=1e-6)
        assert f"{row['accuracy']:.2%}" in screen
    with (folder / "results.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [float(line["score"]) for line in table] == [row["accuracy"] for row in swept]
    assert {"algorithm", "knob", "std", "ci95", "episodes", "split", "seconds"} <= table[0].keys()
    assert (folder / "accuracy.png").stat().st_size > 10_000
    events = EventAccumulator(str(folder / "tensorboard" / "glyphs_maml")).Reload()
    assert [(event.step, pytest.approx(event.value)) for event in events.Scalars("test/accuracy_over_shots")] == [
        (row["value"], row["accuracy"]) for row in swept if row["name"] == "glyphs_maml"
    ]
    assert events.Tags()["images"] == ["test/accuracy_over_shots/figure"]


def test_every_knob_turns(runs, tmp_path):
    protonet = runs / "checkpoints" / "glyphs_protonet" / "best.ckpt"
    for knob, path in {"adaptation_steps": maml(runs), "ways": protonet, "queries": maml(runs)}.items():
        main(["sweep", f"--ckpt_paths=[{path}]", f"--{knob}=[2,3]", f"--folder={tmp_path / knob}"])
        assert [row[knob] for row in rows(tmp_path / knob)] == [2, 3]


def test_an_interrupted_sweep_goes_on_with_what_is_missing(runs, both, tmp_path, monkeypatch, fails):
    words = ["sweep", both, "--shots=[1,2]", f"--folder={tmp_path}"]
    with monkeypatch.context() as patch:
        count_tests(patch, interrupt_at=3)
        assert fails(*words) == "interrupted; the same command goes on with what is missing"
    assert len(rows(tmp_path, "tested.json")) == 3
    assert not (tmp_path / "results.json").exists()
    tested = count_tests(monkeypatch)
    main(words)
    assert tested == ["glyphs_protonet"]
    main(words)
    assert len(tested) == 1
    assert len(rows(tmp_path)) == 4


def test_other_options_and_other_weights_are_tested_anew(runs, tmp_path, monkeypatch):
    path = tmp_path / "copy.ckpt"
    path.write_bytes(maml(runs).read_bytes())
    tested = count_tests(monkeypatch)
    words = ["sweep", f"--ckpt_paths=[{path}]", "--shots=[1]", f"--folder={tmp_path}"]
    main(words)
    main([*words, "--model.batch_norm=inductive"])
    assert len(tested) == 2
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["state_dict"]["network.head.bias"] += 1
    torch.save(checkpoint, path)
    main(words)
    assert len(tested) == 3


def test_classes_that_were_trained_on_are_refused(runs, tmp_path, fails):
    message = fails(
        "sweep", f"--ckpt_paths=[{maml(runs)}]", "--shots=[1]", f"--folder={tmp_path}", "--data.split_seed=1"
    )
    assert re.search(r"\d+ of the \d+ test classes of split glyphs/random were trained on", message)


def test_a_sweep_leaves_other_logs_alone(runs, tmp_path):
    shutil.copytree(runs / "logs", tmp_path / "logs")
    main(["sweep", f"--ckpt_paths=[{maml(runs)}]", "--shots=[1]", f"--folder={tmp_path / 'logs'}"])
    assert read_curve(tmp_path / "logs" / "glyphs_maml", "val/accuracy").steps == [2]


# --- compare


def test_a_comparison_is_paired(runs, both, tmp_path, capsys):
    main(["compare", both, "--shots=[1,4]", f"--folder={tmp_path}", "--data.test_episodes=8"])
    ours, theirs = (row["scores"] for row in rows(tmp_path)[:2])
    first, second = rows(tmp_path, "compare.json")
    assert (first["first"], first["second"], first["value"], second["value"]) == (
        "glyphs_maml",
        "glyphs_protonet",
        1,
        4,
    )
    differences = [a - b for a, b in zip(ours, theirs)]
    mean = sum(differences) / 8
    error = (sum((d - mean) ** 2 for d in differences) / 7 / 8) ** 0.5
    assert first["difference"] == pytest.approx(mean)
    assert first["t"] == pytest.approx(mean / error)
    assert first["ci95"] == pytest.approx(2.364624 * error)  # the 97.5 % quantile of Student's t with 7 degrees
    assert first["verdict"] == ("undecided" if abs(mean) < first["ci95"] else
                                f"glyphs_{'maml' if mean > 0 else 'protonet'} is ahead")  # fmt: skip
    assert f"{100 * mean:+.2f}" in capsys.readouterr().out
    assert (tmp_path / "difference.png").exists()


def test_a_learner_is_not_ahead_of_itself(runs, tmp_path):
    copy = tmp_path / "copy.ckpt"
    copy.write_bytes(maml(runs).read_bytes())
    main(["compare", f"--ckpt_paths=[{maml(runs)},{copy}]", f"--folder={tmp_path}"])
    (pair,) = rows(tmp_path, "compare.json")
    assert (pair["first"], pair["second"]) == ("glyphs_maml/best", "glyphs_maml/copy")  # the name is the same
    assert (pair["difference"], pair["t"], pair["p"], pair["verdict"]) == (0, 0, 1, "undecided")


def test_a_sweep_is_not_tested_again_to_be_compared(runs, both, tmp_path, monkeypatch):
    tested = count_tests(monkeypatch)
    for command in ("sweep", "compare"):
        main([command, both, "--shots=[1]", f"--folder={tmp_path}"])
    assert len(tested) == 2


# --- curves


def test_curves_go_on_over_a_resumed_run(tmp_path, capsys):
    place = [f"--trainer.default_root_dir={tmp_path}", *TINY, "--trainer.val_check_interval=2"]
    main(["fit", "--config=configs/glyphs_protonet.yaml", *place, "--trainer.max_steps=2"])
    main(["fit", "--config=configs/glyphs_protonet.yaml", *place, "--trainer.max_steps=5"])
    checkpoints = tmp_path / "checkpoints" / "glyphs_protonet"
    main(["fit", f"--ckpt_path={checkpoints / 'last.ckpt'}", *place, "--trainer.max_steps=8"])
    log = tmp_path / "logs" / "glyphs_protonet"
    curve = read_curve(log, "val/accuracy")
    assert curve.steps == [2, 4, 6, 8]  # the second start's, and those of the one that resumed it
    assert curve.minutes == sorted(curve.minutes)
    assert curve.minutes[0] > 0
    main(["curves", f"--runs=[{log}]", f"--folder={tmp_path / 'drawn'}"])
    with (tmp_path / "drawn" / "curves.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [int(line["step"]) for line in table] == curve.steps
    assert [float(line["value"]) for line in table] == curve.values
    assert (tmp_path / "drawn" / "curves.png").stat().st_size > 10_000
    assert "glyphs_protonet" in capsys.readouterr().out


def write_start(run: Path, number: int, started_at: int, validated: list[int], resumed: str | None) -> None:
    """The log of one start of a run that takes a minute per outer step."""
    folder = run / "fit" / f"version_{number}"
    with SummaryWriter(str(folder)) as writer:
        for step in range(started_at, validated[-1] + 1, 50):
            writer.add_scalar("train/loss" if step > started_at else "train/started_at", step, step, walltime=60 * step)
        for step in validated:
            writer.add_scalar("val/accuracy", number, step, walltime=60 * step)
    (folder / "config.yaml").write_text(yaml.safe_dump({"name": run.name, "ckpt_path": resumed}))


def test_what_a_resumed_run_gave_up_is_left_out(tmp_path):
    run = tmp_path / "mine"
    write_start(run, 0, started_at=0, validated=[500], resumed=None)  # an older run of the same name
    write_start(run, 1, started_at=0, validated=[100, 200, 300, 400], resumed=None)  # killed after 400,
    write_start(run, 2, started_at=250, validated=[350, 450], resumed="checkpoints/mine/last.ckpt")  # resumed at 250,
    write_start(run, 10, started_at=450, validated=[550], resumed="checkpoints/mine/last.ckpt")  # and again at 450
    (run / "fit" / "version_2_old").mkdir()
    curve = read_curve(run, "val/accuracy")
    assert curve.steps == [100, 200, 350, 450, 550]
    assert curve.minutes == pytest.approx([100, 200, 350, 450, 550])
    assert curve.values == [1, 1, 2, 2, 10]
    write_start(run, 11, started_at=250, validated=[300], resumed="checkpoints/another/last.ckpt")
    assert read_curve(run, "val/accuracy").steps == [300]  # another run's past is not this one's


def test_smoothing_is_an_unbiased_moving_average():
    assert smoothed([1, 0, 0], 0.5).tolist() == pytest.approx([1, 0.5 / 1.5, 0.25 / 1.75])
    assert smoothed([3, 1, 2], 0.0).tolist() == [3, 1, 2]


# --- export


def test_an_exported_checkpoint_is_small_and_tests_the_same(runs, tmp_path, fails):
    small = tmp_path / "given" / "away.ckpt"
    main(["export", f"--ckpt_path={maml(runs)}", f"--to={small}"])
    assert small.stat().st_size < maml(runs).stat().st_size / 2
    whole = torch.load(maml(runs), weights_only=True)
    assert torch.load(small, weights_only=True)["GlyphsDataModule"]["train"] == whole["GlyphsDataModule"]["train"]
    main(["compare", f"--ckpt_paths=[{maml(runs)},{small}]", f"--folder={tmp_path}"])
    ours, theirs = rows(tmp_path)
    assert ours["scores"] == theirs["scores"]
    assert ours["loss"] == theirs["loss"]
    assert "can be tested, but its training cannot go on" in fails("fit", f"--ckpt_path={small}")
    assert "exists: give another name" in fails("export", f"--ckpt_path={maml(runs)}", f"--to={small}")
    assert "is a folder" in fails("export", f"--ckpt_path={maml(runs)}", f"--to={tmp_path}")


def test_an_exported_checkpoint_names_no_folder_of_its_maker(omniglot, tmp_path):
    place = f"--trainer.default_root_dir={tmp_path}"
    main(["fit", "--config=configs/omniglot_protonet.yaml", "--data.ways=5", f"--data.root={omniglot}", place, *TINY])
    whole = tmp_path / "checkpoints" / "omniglot_protonet" / "best.ckpt"
    main(["export", f"--ckpt_path={whole}", f"--to={tmp_path / 'away.ckpt'}"])
    assert str(omniglot).encode() in whole.read_bytes()
    assert str(omniglot).encode() not in (tmp_path / "away.ckpt").read_bytes()


# --- mistakes


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        ("sweep", [], "nothing to vary: give the values of one, as in --shots [1,4,6,8,10]"),
        ("sweep", ["--shots=[]"], "--shots has no values"),
        ("sweep", ["--shots=[1,x]"], "--shots"),
        ("sweep", ["--shots=[0]"], "shots must be at least 1, not 0"),
        ("sweep", ["--shots=[1]", "--ways=[5]"], "--shots and --ways vary at once"),
        ("sweep", ["--shots=[1]", "--shot=3"], "--shot"),
        ("sweep", ["--shots=[1]", "--data.test_shot=3"], "test_shot"),
        ("sweep", ["--adaptation_steps=[3]"], "test_adaptation_steps"),
        ("sweep", ["--ways=[7]"], "MAML's head has 5 outputs and cannot judge 7-way episodes"),
        ("sweep", ["--shots=[1,30]"], "shots + queries = 30 + 5"),
        ("sweep", ["--shots=[1]", "--data.test_shots=3"], "--shots and --data.test_shots are the same option"),
        ("sweep", ["--shots=1"], "give a list, as in [a,b]"),
        ("sweep", ["--shots=[1]", "--accelerator=abacus"], "--accelerator"),
        ("sweep", ["--shots=[1]", "--name=x"], "fewshot sweep --help lists the options"),
        ("compare", ["--data.test_episodes=1"], "one episode tells nothing"),
    ],
)
def test_a_mistake_takes_one_line(both, tmp_path, fails, command, words, message):
    assert message in fails(command, both, *words, f"--folder={tmp_path}")


def test_checkpoints_of_different_episodes_are_not_compared(runs, tmp_path, fails):
    main(["fit", "--config=configs/glyphs_maml.yaml", f"--trainer.default_root_dir={tmp_path}", *TINY,
          "--data.seed=7"])  # fmt: skip
    words = [
        "compare", f"--ckpt_paths=[{maml(runs)},{maml(tmp_path)}]", f"--folder={tmp_path / 'compare'}",
    ]  # fmt: skip
    message = "would not be tested on the same episodes: --data.seed is 0 for one and 7 for the other. Set it for both"
    assert message in fails(*words)
    assert not (tmp_path / "compare").exists()
    main([*words, "--data.seed=0"])


def test_what_is_missing_is_named(runs, tmp_path, fails):
    assert "at least two checkpoints" in fails("compare", f"--ckpt_paths=[{maml(runs)}]")
    assert "no checkpoint to test" in fails("sweep", "--ckpt_paths=[]", "--shots=[1]")
    assert "there is no checkpoint file 'nowhere.ckpt'" in fails("sweep", "--ckpt_paths=[nowhere.ckpt]", "--shots=[1]")
    assert "there are no logs of a training in" in fails("curves", f"--runs=[{tmp_path}]")
    assert "has no log of nonsense" in fails("curves", f"--runs=[{runs}/logs/glyphs_maml]", "--tag=nonsense")
    assert "smoothing must be" in fails("curves", f"--runs=[{runs}/logs/glyphs_maml]", "--smoothing=1")
    assert "no runs to draw" in fails("curves", "--runs=[]")
    twice = f"[{maml(runs)},{maml(runs)}]"
    assert "is given twice" in fails("compare", f"--ckpt_paths={twice}", f"--folder={tmp_path}")
    (tmp_path / "tested.json").write_text("[{")
    words = ["sweep", f"--ckpt_paths=[{maml(runs)}]", "--shots=[1]"]
    assert "tested.json is damaged: delete it" in fails(*words, f"--folder={tmp_path}")
    assert "cannot be used" in fails(*words, f"--folder={tmp_path / 'tested.json'}")
    assert "there is no command 'swep', but fit, test, sweep" in fails("swep")


@pytest.mark.parametrize("command", ["sweep", "compare", "curves", "export"])
def test_every_command_explains_its_options(command, capsys):
    with pytest.raises(SystemExit) as status:
        main([command, "--help"])
    assert status.value.code == 0
    screen = capsys.readouterr().out
    assert f"usage: fewshot {command}" in screen
    assert "Args:" not in screen
    assert (REPOSITORY / "README.md").read_text().count(f"fewshot {command}") > 0

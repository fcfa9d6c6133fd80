"""The pretrained baseline against plain torch: its training loss, and the new head that it trains for a task."""

import pytest
import torch
from conftest import TINY
from torch import nn

from fewshot.algorithms import PretrainedModule
from fewshot.data import SinusoidDataModule
from fewshot.episodes import Episode, Examples, ImageEpisodes
from fewshot.errors import FewShotError
from fewshot.networks import MLP, Conv4

CLASSES = 9


def classifier(**options: object) -> PretrainedModule:
    network = Conv4(channels=4, running_statistics=True)
    return PretrainedModule(network, outputs=3, train_classes=CLASSES, **options).double()


def tasks(count: int = 2) -> Episode:
    images = torch.randint(256, (CLASSES, 6, 16, 16), dtype=torch.uint8)
    drawn = ImageEpisodes(images, split="train", ways=3, shots=2, queries=3, length=count).__getitems__(range(count))
    support, query = (Examples(part.x.double() / 255, part.y) for part in (drawn.support, drawn.query))
    return Episode(support, query, drawn.classes)


def test_it_learns_to_tell_the_classes_of_all_tasks_apart():
    module, episode = classifier().eval(), tasks()
    loss, outputs = module.outer_loss(episode)
    total = 0.0
    for task in range(2):
        for x, y in ((part.x[task], part.y[task]) for part in (episode.support, episode.query)):
            logits = module.train_head(module.network.features(x))
            total += nn.functional.cross_entropy(logits, episode.classes[task][y], reduction="sum").item()
    assert loss.item() == pytest.approx(total / (2 * 3 * 5))
    queries = module.train_head(module.network.features(episode.query.x[1]))
    torch.testing.assert_close(outputs[1], queries[:, episode.classes[1]])  # among the three classes of the task


def test_a_task_of_a_test_gets_a_new_head_trained_on_its_support_set():
    module, episode = classifier(inner_lr=0.5, test_adaptation_steps=7).eval(), tasks(1)
    head = nn.Linear(4, 3).double()
    nn.init.zeros_(head.weight), nn.init.zeros_(head.bias)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.5)
    features = module.network.features(episode.support.x[0]).detach()
    for _ in range(7):
        optimizer.zero_grad()
        nn.functional.cross_entropy(head(features), episode.support.y[0]).backward()
        optimizer.step()
    prediction = module.evaluate(episode)
    torch.testing.assert_close(prediction.outputs[0], head(module.network.features(episode.query.x[0])).detach())
    assert not prediction.before.any()


def test_all_layers_can_be_fine_tuned():
    for adapt, same in (("head", True), ("all", False)):
        module, episode = classifier(adapt=adapt, inner_lr=0.5, test_adaptation_steps=3).eval(), tasks(1)
        *_, learners = module.adapt(episode.support, 3, "none")
        assert ("features.convolutions.0.weight" not in learners.weights) == same
        assert not torch.equal(learners.weights["weight" if same else "head.weight"][0], module.network.head.weight)


def test_a_regression_pools_the_tasks():
    episode = SinusoidDataModule(meta_batch_size=3).dataset("train").__getitems__(range(3))
    module = PretrainedModule(MLP(), outputs=1, loss="mse", adapt="all")
    x, y = (torch.cat([one, other], dim=1).flatten(0, 1) for one, other in zip(episode.support, episode.query))
    torch.testing.assert_close(module.outer_loss(episode)[0], nn.functional.mse_loss(module.network(x), y))


def test_mistakes_are_told(fails, tmp_path):
    with pytest.raises(FewShotError, match="give the number of classes"):
        PretrainedModule(Conv4(running_statistics=True))
    with pytest.raises(FewShotError, match="needs batch norm with running statistics"):
        PretrainedModule(Conv4(), train_classes=9)
    options = ["--model=PretrainedModule", "--model.network=Conv4", "--model.network.running_statistics=true"]
    place = f"--trainer.default_root_dir={tmp_path}"
    message = fails("fit", *options, "--model.train_classes=10", "--data=GlyphsDataModule", *TINY, place)
    assert "classes, rotations included, and the head tells 10 apart: --model.train_classes " in message

"""The baseline against plain torch: its training loss, and the new head that it trains for a task."""

from types import SimpleNamespace

import pytest
import torch
from helpers import image_tasks
from torch import nn

from fewshot.algorithms import BaselineModule
from fewshot.data import SinusoidDataModule
from fewshot.episodes import DataSpec
from fewshot.errors import FewShotError
from fewshot.networks import MLP, Conv4


def classifier(**options: object) -> BaselineModule:
    network = Conv4(channels=4, running_statistics=True)
    return BaselineModule(network, outputs=3, train_classes=9, **options).double()


def test_it_learns_to_tell_the_classes_of_all_tasks_apart():
    module, episode = classifier().eval(), image_tasks()
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
    module, episode = classifier(inner_lr=0.5, test_adaptation_steps=7).eval(), image_tasks(1)
    head = nn.Linear(4, 3).double()
    nn.init.zeros_(head.weight), nn.init.zeros_(head.bias)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.5)
    features = module.network.features(episode.support.x[0]).detach()
    for _ in range(7):
        optimizer.zero_grad()
        nn.functional.cross_entropy(head(features), episode.support.y[0]).backward()
        optimizer.step()
    prediction = module.predict(episode)
    torch.testing.assert_close(prediction.outputs[0], head(module.network.features(episode.query.x[0])).detach())
    assert not prediction.before.any()


@pytest.mark.parametrize(
    ("adapt", "body"), [("head", []), (["features.convolutions.3", "head"], [3]), ("all", [0, 1, 2, 3])]
)
def test_more_than_the_head_can_be_fine_tuned(adapt, body):
    module, episode = classifier(adapt=adapt, inner_lr=0.5, test_adaptation_steps=3).eval(), image_tasks(1)
    *_, learners = module.adapt(episode.support, 3, "none")
    before = dict(module.network.named_parameters())
    moved = [name for name, weight in learners.weights.items() if not torch.equal(weight[0], before[name])]
    assert [f"features.convolutions.{i}.weight" in moved for i in range(4)] == [i in body for i in range(4)]
    assert "head.weight" in moved


def test_a_regression_pools_the_tasks():
    episode = SinusoidDataModule(meta_batch_size=3).dataset("train").__getitems__(range(3))
    module = BaselineModule(MLP(), outputs=1, loss="mse", adapt="all")
    x, y = (torch.cat([one, other], dim=1).flatten(0, 1) for one, other in zip(episode.support, episode.query))
    torch.testing.assert_close(module.outer_loss(episode).loss, nn.functional.mse_loss(module.network(x), y))


def test_mistakes_are_told():
    with pytest.raises(FewShotError, match="give the number of classes"):
        BaselineModule(Conv4(running_statistics=True))
    with pytest.raises(FewShotError, match="needs batch norm with running statistics"):
        BaselineModule(Conv4(), train_classes=9)


def test_other_training_classes_than_the_head_tells_apart_are_refused():
    module, names = classifier(), tuple("abcdefghij")
    spec = DataSpec(outputs=3, test_outputs=3, loss="cross-entropy", class_names={"train": names})
    module._trainer = SimpleNamespace(datamodule=SimpleNamespace(spec=spec), precision="32-true")
    message = (
        "^the training split has 10 classes, rotations included, and the head tells 9 apart: --model.train_classes 10"
    )
    with pytest.raises(FewShotError, match=message):
        module.setup("fit")
    module.setup("test")  # the classes of training do not matter


def test_episodes_that_do_not_say_their_classes_are_refused():
    with pytest.raises(FewShotError, match=r"set Episode\.classes"):
        classifier().outer_loss(image_tasks()._replace(classes=None))

"""What adapts and what does not: prefixes of names, frozen weights, and the statistics of training."""

from collections.abc import Callable

import pytest
import torch
from helpers import agree, conv4, image_tasks, outer_gradients, quiet_trainer
from torch import nn
from torch.utils.data import DataLoader

from fewshot.algorithms import MAMLModule
from fewshot.errors import FewShotError
from fewshot.inner_loop import adapted_parameters
from fewshot.networks import Classifier, per_step

LAST_LAYERS = ["features.convolutions.3", "features.norms.3", "head"]


def maml(body: nn.Module, **options: object) -> MAMLModule:
    return MAMLModule(body, outputs=3, **{"inner_lr": 0.3, "adaptation_steps": 2, **options}).double()


def names(adapt: object) -> list[str]:
    return list(adapted_parameters(Classifier(conv4(), 3), adapt))


def test_weights_adapt_whose_names_begin_with_the_words_of_a_prefix():
    assert len(names("all")) == 4 * 3 + 2
    assert names("head") == names(["head"]) == names(["head."]) == ["head.weight", "head.bias"]
    assert names(["features.convolutions.3", "head.bias"]) == ["features.convolutions.3.weight", "head.bias"]
    assert names(["features", "head"]) == names("all")
    assert names(["head", "features.convolutions.3"]) == names(["features.convolutions.3", "head"])


@pytest.mark.parametrize("prefix", ["tail", "hea", "features.convolutions.4"])
def test_a_prefix_of_no_name_is_refused_with_the_names_there_are(prefix):
    message = rf"adapt: no weight's name starts with '{prefix}'; there are features.convolutions.0, .*norms.3, head$"
    with pytest.raises(FewShotError, match=message):
        maml(conv4(), adapt=["head", prefix])


def test_tables_per_inner_step_never_adapt():
    network = Classifier(conv4(), 3)
    per_step(network, steps=2)
    assert [name for name in adapted_parameters(network, "all") if "norms" in name] == []
    with pytest.raises(FewShotError, match=r"no weight's name starts with 'features\.norms'"):
        adapted_parameters(network, ["features.norms"])


def frozen_body() -> nn.Module:
    return conv4().requires_grad_(False)


def frozen_but_for_the_last_block() -> nn.Module:
    body = conv4().requires_grad_(False)
    body.convolutions[3].requires_grad_(True), body.norms[3].requires_grad_(True)
    return body


FROZEN = pytest.mark.parametrize(
    ("freeze", "adapt", "learned"),
    [(frozen_body, "head", 2), (frozen_body, ["head"], 2), (frozen_but_for_the_last_block, LAST_LAYERS, 5)],
)


@FROZEN
def test_frozen_weights_that_do_not_adapt_agree_between_the_loops(
    freeze: Callable[[], nn.Module], adapt: object, learned: int
):
    body = freeze()
    ours = maml(body, adapt=adapt)
    theirs = maml(body, adapt=adapt, inner_loop="sequential")
    theirs.load_state_dict(ours.state_dict())
    episode = image_tasks()
    agree(ours, theirs, episode)
    gradients = outer_gradients(ours, episode)
    assert sum(gradient is not None for gradient in gradients.values()) == learned


@FROZEN
@pytest.mark.parametrize("inner_loop", ["vectorized", "sequential"])
def test_a_partly_frozen_learner_trains_what_is_not_frozen(freeze, adapt, learned, inner_loop):
    module = maml(freeze(), adapt=adapt, inner_loop=inner_loop, learn_inner_lr="meta-sgd")
    before = {name: value.clone() for name, value in module.named_parameters()}
    train(module)
    moved = {name for name, value in module.named_parameters() if not torch.equal(before[name], value)}
    assert moved == {name for name, value in module.named_parameters() if value.requires_grad}
    assert len(moved) == 2 * learned  # the weights and their rates


def train(module: MAMLModule) -> None:
    """Three outer steps under Lightning."""
    train, val = (DataLoader([image_tasks()] * steps, batch_size=None) for steps in (3, 1))
    quiet_trainer(max_steps=3).fit(module, train, val)


@pytest.mark.parametrize("adapt", ["all", ["features.norms", "head"]])
def test_a_frozen_weight_that_would_adapt_is_refused_by_name(adapt):
    body = conv4()
    body.norms[0].bias.requires_grad_(False)
    with pytest.raises(FewShotError, match=r"MAML adapts features\.norms\.0\.bias, which is frozen: leave"):
        maml(body, adapt=adapt)
    assert maml(body, adapt="head")


# --- the statistics of training


@pytest.mark.parametrize("inner_loop", ["vectorized", "sequential"])
@pytest.mark.parametrize("adapt", ["all", "head"])
def test_running_statistics_serve_and_stay_as_they_are(inner_loop, adapt):
    body = conv4("running")
    module = maml(body, batch_norm="running", inner_loop=inner_loop, adapt=adapt)
    before = {name: value.clone() for name, value in module.named_buffers()}
    assert len(before) == 3 * 4
    episode = image_tasks()
    train(module)
    assert all(torch.equal(before[name], value) for name, value in module.named_buffers())
    module.train()  # as whoever trains without Lightning says
    assert not any(norm.training for norm in body.norms)
    # They do serve: with other statistics the predictions are others.
    one = module.predict(episode).outputs
    for norm in body.norms:
        norm.running_var.fill_(9.0)
    assert not torch.allclose(one, module.predict(episode).outputs)


def test_what_is_normalised_by_running_statistics_is_each_image_on_its_own():
    module = maml(conv4("running"), batch_norm="running")
    x = image_tasks().query.x[0]
    torch.testing.assert_close(module.network(x), torch.cat([module.network(image[None]) for image in x]))


@pytest.mark.parametrize(
    ("has", "mode", "way_out"),
    [("running", "transductive", "running_statistics false"), ("inductive", "running", "running_statistics true")],
)
def test_a_network_with_the_other_kind_of_statistics_is_refused_with_the_option_to_set(has, mode, way_out):
    with pytest.raises(FewShotError, match=f"--model.network.{way_out}$"):
        maml(conv4(has), batch_norm=mode)

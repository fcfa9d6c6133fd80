"""Parts of a network frozen while it adapts, and classification without a head."""

import pytest
import torch
from helpers import conv4, image_tasks

from fewshot.algorithms import IMAMLModule, MAMLModule, ReptileModule
from fewshot.algorithms.protonet import distances, prototypes
from fewshot.errors import FewShotError
from fewshot.evaluation.freezing import blocks, frozen_parts, nil, partial_loop
from fewshot.evaluation.layers import before_and_after
from fewshot.networks import MLP, Classifier, Embedding, ResNet12


def test_what_has_the_same_first_number_is_a_block():
    parts = blocks(Classifier(conv4(), 3))
    assert list(parts) == ["block 1", "block 2", "block 3", "block 4", "head"]
    assert sorted(parts["block 2"]) == [
        "features.convolutions.1.weight", "features.norms.1.bias", "features.norms.1.weight"
    ]  # fmt: skip
    assert parts["head"] == ["head.weight", "head.bias"]
    assert list(blocks(Classifier(MLP(), 1))) == ["block 1", "block 2", "head"]
    assert len(blocks(Classifier(ResNet12((1, 1, 1, 1)), 5))) == 5


def test_a_network_without_numbers_has_no_blocks():
    class Line(Embedding):
        def __init__(self) -> None:
            super().__init__()
            self.out_features = 1
            self.layer = torch.nn.Linear(1, 1)

        def forward(self, x, support_size=None):
            return self.layer(x)

    with pytest.raises(FewShotError, match="is of no block"):
        blocks(Classifier(Line(), 1))


PARTS = {"block 1": ["a"], "block 2": ["b", "c"], "head": ["d"]}


def test_ever_more_blocks_are_frozen_and_the_head_alone():
    assert frozen_parts(PARTS, ["a", "b", "c", "d"]) == {
        "nothing": ["a", "b", "c", "d"], "block 1": ["b", "c", "d"], "blocks 1 to 2": ["d"], "head": ["a", "b", "c"]
    }  # fmt: skip


def test_what_does_not_adapt_anyway_is_not_frozen_again():
    assert frozen_parts(PARTS, ["d"]) == {"nothing": ["d"]}
    assert frozen_parts(PARTS, ["c", "d"]) == {"nothing": ["c", "d"], "blocks 1 to 2": ["d"], "head": ["c"]}


LEARNERS = {
    "fixed rate": lambda: MAMLModule(conv4(), outputs=3, inner_lr=0.3),
    "per-step rates": lambda: MAMLModule(conv4(), outputs=3, learn_inner_lr="per-step"),
    "meta-sgd": lambda: MAMLModule(conv4(), outputs=3, learn_inner_lr="meta-sgd"),
    "adam": lambda: ReptileModule(conv4(), outputs=3, inner_lr=0.1),
    "proximal": lambda: IMAMLModule(conv4(), outputs=3),
}


@pytest.mark.parametrize("learner", LEARNERS)
def test_the_first_step_of_what_adapts_is_that_of_the_whole_learner(learner):
    """Its gradients and rates are the same; later ones are not, since the frozen part stays behind."""
    module, episode = LEARNERS[learner]().double(), image_tasks()
    for number, learned in enumerate(module.inner_loop.optimizer.parameters()):
        learned.data.fill_(0.1 + 0.05 * number)  # so that a mixed-up rate shows
    for number, buffer in enumerate(module.inner_loop.optimizer.buffers()):
        buffer.fill_(1 + number)
    names = frozen_parts(blocks(module.network), list(module.adapted_parameters()))["blocks 1 to 3"]
    assert [name.partition(".3")[0] for name in names] == ["features.convolutions", "features.norms", "features.norms",
                                                           "head.weight", "head.bias"]  # fmt: skip
    whole = module.adapted(episode.support, 1, "none", module.test_inner_loop).weights
    partly = module.adapted(episode.support, 1, "none", partial_loop(module, names)).weights
    assert list(partly) == names
    for name, weight in partly.items():
        assert not torch.equal(weight, dict(module.network.named_parameters())[name].expand_as(weight))
        torch.testing.assert_close(weight, whole[name], rtol=1e-9, atol=1e-12)  # float64; grouped convolutions


def test_nil_with_one_support_example_is_the_nearest_by_cosine():
    module, episode = MAMLModule(conv4("inductive"), outputs=3, batch_norm="inductive").double(), image_tasks(shots=1)
    said = nil(module, episode)
    assert said.shape == (2, 9, 3)
    for task in range(2):
        images = torch.cat([episode.support.x[task], episode.query.x[task]])
        embedded = module.network.features(images, 3).detach()
        support = episode.support._replace(x=embedded[None, :3], y=episode.support.y[task][None])
        expected = 1 - distances(embedded[None, 3:], prototypes(support), "cosine")
        torch.testing.assert_close(said[task][None], expected)


def test_the_similarities_to_all_examples_of_a_class_count_together():
    module, episode = MAMLModule(MLP(289, (4,)), outputs=3).double(), image_tasks(tasks=1, shots=2)
    support, query = (module.network.features(part.x[0]).detach() for part in (episode.support, episode.query))
    cosines = torch.nn.functional.cosine_similarity(query[:, None], support[None], dim=-1)  # [9, 6]
    by_class = [cosines[:, episode.support.y[0] == label].sum(1) for label in range(3)]
    torch.testing.assert_close(nil(module, episode)[0], torch.stack(by_class, dim=1))


@pytest.mark.parametrize("batch_norm", ["transductive", "inductive"])
def test_representations_are_what_each_block_gives_to_the_next(batch_norm):
    module, episode = MAMLModule(conv4(), outputs=3, batch_norm=batch_norm).double(), image_tasks(tasks=1)
    ((before, after),) = before_and_after(module, episode, blocks(module.network))
    assert list(before) == list(after) == ["block 1", "block 2", "block 3", "block 4", "head"]
    body = module.network.features
    inductive = batch_norm == "inductive"
    x = torch.cat([episode.support.x[0], episode.query.x[0]]) if inductive else episode.query.x[0]
    for number, (convolution, norm) in enumerate(zip(body.convolutions, body.norms), start=1):
        x = torch.relu(norm(convolution(x), 6 if inductive else None))
        expected = x.mean(dim=(2, 3)) if number == 4 else x
        torch.testing.assert_close(before[f"block {number}"], expected.detach()[-9:])
    outputs = module.predict(episode)
    torch.testing.assert_close(before["head"], outputs.before[0])
    torch.testing.assert_close(after["head"], outputs.outputs[0])

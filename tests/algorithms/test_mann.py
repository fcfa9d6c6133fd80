"""A memory network's addressing by hand, on a memory of three rows; and what it may know when."""

import math

import pytest
import torch
import torch.nn.functional as F
from helpers import PLACES, SMALL_NETWORK, TINY, Identity, conv4, image_tasks
from torch import Tensor

from fewshot.algorithms import MANNModule
from fewshot.algorithms.mann import attend, take, write
from fewshot.episodes import Episode, Examples
from fewshot.errors import FewShotError

MEMORY = torch.tensor([[[3.0, 4.0], [0.0, 2.0], [0.0, 0.0]]])  # one memory of three rows


def mann(ways: int = 3, **options: object) -> MANNModule:
    small = {"hidden": 8, "rows": 6, "width": 5, "heads": 2}
    return MANNModule(conv4("running"), outputs=ways, **{**small, **options}).double().eval()


def test_a_head_reads_where_the_cosine_with_its_key_is_high():
    weights = attend(MEMORY, torch.tensor([[[0.0, 7.0], [-1.0, 0.0]]]), strength=1.0)
    # Cosines of (0, 7) are 4/5, 1 and, with an empty row, 0; of (-1, 0) they are -3/5, 0 and 0.
    first, second = (torch.tensor(cosines).softmax(0) for cosines in ([0.8, 1.0, 0.0], [-0.6, 0.0, 0.0]))
    torch.testing.assert_close(weights, torch.stack([first, second])[None])
    sharper = attend(MEMORY, torch.tensor([[[0.0, 7.0]]]), strength=math.log(2) / 0.2)
    torch.testing.assert_close(sharper[0, 0, 1] / sharper[0, 0, 0], torch.tensor(2.0))


def test_it_writes_to_the_emptied_least_used_row_and_to_where_it_read_last():
    reads, usage = torch.tensor([[[0.25, 0.5, 0.25]]]), torch.tensor([[0.3, 0.9, 0.4]])  # the first row is least used
    memory, weights = write(MEMORY, reads, usage, gates=torch.tensor([[0.8]]), added=torch.tensor([[[10.0, 20.0]]]))
    torch.testing.assert_close(weights, torch.tensor([[[0.2 + 0.2, 0.4, 0.2]]]))
    torch.testing.assert_close(memory, torch.tensor([[[4.0, 8.0], [4.0, 10.0], [2.0, 4.0]]]))


def test_usage_decays_and_counts_what_is_read_and_written():
    module = mann(rows=3, usage_decay=0.5)
    state = module._empty(torch.zeros(1, 1).double())
    state = state._replace(usage=torch.tensor([[8.0, 4.0, 2.0]]).double())
    _, after = module._present(torch.zeros(1, 4).double(), torch.zeros(1, 3).double(), state)
    # Nothing was read yet, so each of the two heads writes its share to the third row; each reads weights of sum one.
    told = torch.cat([after.hidden, torch.zeros(1, 7).double()], dim=1)
    written = (1 - module.gates(told).sigmoid()).sum()
    expected = torch.tensor([4.0, 2.0, 1.0]).double() + after.reads[0].sum(0) + torch.tensor([0, 0, 1]) * written
    torch.testing.assert_close(after.usage[0], expected)


def test_a_label_is_shown_one_presentation_late():
    module, x, y = mann(), torch.randn(1, 6, 4).double(), torch.tensor([[0, 1, 2, 0, 1, 2]])
    said = module.sequence(x, y)
    other = y.clone()
    other[0, 3] = 2
    moved = (module.sequence(x, other) - said).abs().amax(-1)[0]
    assert moved[:4].max() == 0  # not even at the fourth itself
    assert moved[4:].min() > 0


def test_a_query_is_the_presentation_after_the_support_set():
    module, x, y = mann(), torch.randn(1, 4, 4).double(), torch.tensor([[0, 1, 2]])
    order = torch.randperm(3, generator=torch.Generator().manual_seed(0))
    sequence = torch.cat([x[:, order], x[:, 3:]], dim=1)
    expected = module.sequence(sequence, torch.cat([y[:, order], y[:, :1]], dim=1))[:, 3:]
    torch.testing.assert_close(module.compare(Examples(x[:, :3], y), x[:, 3:]), expected)


def test_it_begins_by_writing_each_example_with_its_label_in_a_row_of_its_own():
    module, x, y = mann(ways=3, rows=6, width=8, strength=100.0), torch.randn(1, 4, 4).double(), [2, 0, 1]
    with torch.no_grad():
        shown, state = module._shown(torch.tensor([y])), module._empty(x)
        for number in range(4):
            _, state = module._present(x[:, number], shown[:, number], state)
        new, late = (module.gates.bias.sigmoid() @ torch.tensor(half).double() for half in ([1, 0], [0, 1]))
        written = module.added.weight.view(2, 8, -1)
        for number, label in enumerate(y):
            example, its_label = written[0, :, 8:12] @ x[0, number], written[1, :, 12 + label]
            expected = (1 - new) * example + late * its_label
            assert F.cosine_similarity(state.memory[0, number], expected, dim=0) > 0.9


def clusters(tasks: int, ways: int = 3, shots: int = 1, queries: int = 2) -> Episode:
    """Numbers in clusters around a centre for each class."""
    centres, labels = torch.randn(tasks, ways, 8), torch.arange(ways).expand(tasks, -1)
    parts = [labels.repeat_interleave(count, dim=1) for count in (shots, queries)]
    return Episode(*(Examples(take(centres, y) + 0.3 * torch.randn(*y.shape, 8), y) for y in parts))


def test_it_learns_to_remember():
    module = MANNModule(Identity(8), outputs=3, hidden=16, rows=12, width=16)
    optimizer = torch.optim.Adam(module.parameters(), 0.01)
    for _ in range(30):
        optimizer.zero_grad()
        module.outer_loss(clusters(tasks=16)).loss.backward()
        optimizer.step()
    episode = clusters(tasks=50)
    right = module.eval()(episode).outputs.argmax(-1) == episode.query.y
    assert right.float().mean() > 0.6  # 300 queries, of which a third is chance


def test_each_presentation_of_an_episode_is_learned_from():
    module, episode = mann().train(), image_tasks(ways=3, shots=1, queries=2)
    loss, outputs = module.outer_loss(episode)
    loss.backward()
    assert outputs.shape == (2, 6, 3)
    assert all(parameter.grad.abs().max() > 0 for parameter in module.parameters())


def test_the_accuracy_at_each_instance_of_a_class(monkeypatch):
    module, episode = mann(), image_tasks(tasks=4, ways=3, shots=1, queries=3)

    def right_from_the_second_on(x: Tensor, y: Tensor) -> Tensor:
        said = [[label if label in labels[:number] else (label + 1) % 3 for number, label in enumerate(labels)]
                for labels in y.tolist()]  # fmt: skip
        return F.one_hot(torch.tensor(said), 3)

    monkeypatch.setattr(module, "sequence", right_from_the_second_on)
    assert module.instances(episode).tolist() == [[0, 1, 1, 1]] * 4


def test_other_ways_are_refused(tmp_path, fails):
    place = [f"--trainer.default_root_dir={tmp_path}", "--trainer.logger=false"]
    message = "MANN's head has 5 outputs and cannot judge 7-way episodes: train and test it at the same number"
    words = ["--model=MANNModule", "--model.network=Conv4", *PLACES, *SMALL_NETWORK, "--data=GlyphsDataModule"]
    assert message in fails("fit", *words, *place, *TINY, "--data.test_ways=7")


def test_numbers_that_cannot_be_are_refused():
    with pytest.raises(FewShotError, match=r"^rows must be at least 1, not 0$"):
        mann(rows=0)
    with pytest.raises(FewShotError, match=r"^heads must be at least 2, not 1: one begins by writing examples"):
        mann(heads=1)
    with pytest.raises(FewShotError, match=r"^usage_decay must be at most 1, not 2$"):
        mann(usage_decay=2)

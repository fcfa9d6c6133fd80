"""Matching networks against a plain softmax of cosines, and their context by the paper's equations, one by one."""

import pytest
import torch
import torch.nn.functional as F
from helpers import conv4, image_tasks
from torch import Tensor, nn

from fewshot.algorithms import MatchingModule
from fewshot.algorithms.matching import FullContext
from fewshot.errors import FewShotError


def matching(**options: object) -> MatchingModule:
    return MatchingModule(conv4("running"), **options).double().eval()


def attention_by_hand(support: Tensor, labels: Tensor, query: Tensor, temperature: float = 1) -> list[float]:
    """What each of three classes gets of a softmax of cosines: one query, example after example."""
    weights = [torch.exp(F.cosine_similarity(query, example, dim=0) / temperature) for example in support]
    return [sum(w for w, label in zip(weights, labels) if label == n) / sum(weights) for n in range(3)]


@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_the_probabilities_are_the_softmax_of_the_cosines(temperature):
    module, episode = matching(temperature=temperature), image_tasks(tasks=2, ways=3, shots=2, queries=1)
    with torch.no_grad():
        support, queries = module.embed(episode)
        for task, outputs in enumerate(module(episode).outputs):
            for query, logits in zip(queries[task], outputs):
                expected = attention_by_hand(support.x[task], support.y[task], query, temperature)
                torch.testing.assert_close(logits.softmax(-1), torch.stack(expected))


def test_queries_attend_as_the_paper_says():
    """Appendix A.1: the recurrent weights take the hidden state and what was read as one vector."""
    context, support, query = FullContext(4, steps=3).double(), torch.randn(5, 4).double(), torch.randn(4).double()
    cell, paper = context.over_steps, nn.LSTMCell(4, 8).double()  # of [h, r], whose half is taken
    gates = torch.arange(32).view(4, 8)[:, :4].flatten()  # those of h, among the gates of the longer state
    paper.weight_ih.data[gates], paper.bias_ih.data[gates] = cell.weight_ih.data[:, :4], cell.bias_ih.data
    paper.weight_hh.data[gates] = torch.cat([cell.weight_hh.data, cell.weight_ih.data[:, 4:]], dim=1)
    paper.bias_hh.data[gates] = cell.bias_hh.data
    hidden, memory = torch.zeros(4).double(), torch.zeros(8).double()
    for _ in range(3):
        attention = torch.softmax(torch.stack([hidden @ example for example in support]), dim=0)
        read = sum(a * example for a, example in zip(attention, support))
        long, memory = (part[0] for part in paper(query[None], (torch.cat([hidden, read])[None], memory[None])))
        hidden = long[:4] + query
    torch.testing.assert_close(context._attend(support[None], query[None, None])[0, 0], hidden)


def test_supports_are_read_there_and_back():
    context, support = FullContext(4, steps=1).double(), torch.randn(1, 5, 4).double()
    embedded, _ = context(support, support)
    lstm = context.over_supports
    there, back = nn.LSTM(4, 4, batch_first=True).double(), nn.LSTM(4, 4, batch_first=True).double()
    for own in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
        getattr(there, own).data, getattr(back, own).data = (
            getattr(lstm, own).data,
            getattr(lstm, f"{own}_reverse").data,
        )
    torch.testing.assert_close(embedded, support + there(support)[0] + back(support.flip(1))[0].flip(1))


def test_full_context_is_learned_and_each_query_is_still_judged_on_its_own():
    module, episode = matching(full_context=True, processing_steps=2), image_tasks(ways=3, shots=2)
    module.outer_loss(episode).loss.backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in module.context.parameters())
    one = episode._replace(query=episode.query._replace(x=episode.query.x[:, :1], y=episode.query.y[:, :1]))
    torch.testing.assert_close(module(one).outputs, module(episode).outputs[:, :1])
    assert module(image_tasks(ways=7, shots=1, queries=2)).outputs.shape == (2, 14, 7)


def test_numbers_that_cannot_be_are_refused():
    with pytest.raises(FewShotError, match=r"^temperature must be positive, not 0$"):
        matching(temperature=0)
    with pytest.raises(FewShotError, match=r"^processing_steps must be at least 1, not 0$"):
        matching(processing_steps=0)

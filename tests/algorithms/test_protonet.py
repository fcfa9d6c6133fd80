"""Prototypical networks against scikit-learn's nearest centroid, and by hand."""

import pytest
import torch
from helpers import image_tasks
from sklearn.neighbors import NearestCentroid

from fewshot.algorithms import ProtoNetModule
from fewshot.algorithms.metric import prototypes
from fewshot.algorithms.protonet import distances
from fewshot.episodes import Examples
from fewshot.errors import FewShotError
from fewshot.networks import Conv4


def protonet(**options: object) -> ProtoNetModule:
    return ProtoNetModule(Conv4(channels=4, running_statistics=True), **options).double().eval()


def test_prototypes_are_class_means_in_any_order():
    x = torch.tensor([[[0.0, 0.0], [5.0, 1.0], [2.0, 4.0], [7.0, 3.0]]])
    y = torch.tensor([[0, 1, 0, 1]])
    assert prototypes(Examples(x, y)).tolist() == [[[1.0, 2.0], [6.0, 2.0]]]


def test_distances_by_hand():
    x, centres = torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[0.0, 0.0], [3.0, 0.0], [6.0, 8.0]]])
    assert distances(x, centres, "euclidean").tolist() == [[[25.0, 16.0, 25.0]]]
    # Cosines with (3, 4): none for the origin, 3/5, and 1 for the parallel vector.
    torch.testing.assert_close(distances(x, centres, "cosine"), torch.tensor([[[1.0, 0.4, 0.0]]]))


def test_logits_are_minus_the_distance_over_the_temperature():
    support = Examples(torch.tensor([[[0.0, 0.0], [3.0, 0.0]]]), torch.tensor([[0, 1]]))
    queries = torch.tensor([[[3.0, 4.0]]])
    assert protonet(temperature=2.0).compare(support, queries).tolist() == [[[-12.5, -8.0]]]
    cosine = protonet(distance="cosine", temperature=0.1).compare(support, queries)
    torch.testing.assert_close(cosine, torch.tensor([[[-10.0, -4.0]]]))
    with pytest.raises(FewShotError, match="temperature must be positive, not 0"):
        protonet(temperature=0)


@pytest.mark.parametrize("shots", [1, 5])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # one shot has no variance
def test_predictions_are_those_of_the_nearest_centroid(shots):
    module, episode = protonet(), image_tasks(tasks=8, ways=5, shots=shots)
    predicted = module(episode).outputs.argmax(-1)
    with torch.no_grad():
        for task, (support, labels, queries) in enumerate(zip(*episode.support, episode.query.x)):
            reference = NearestCentroid().fit(module.network(support), labels)
            assert predicted[task].tolist() == reference.predict(module.network(queries)).tolist()

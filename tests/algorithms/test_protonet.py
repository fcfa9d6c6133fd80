"""Prototypical networks against scikit-learn's nearest centroid, and by hand."""

import pytest
import torch
from sklearn.neighbors import NearestCentroid

from fewshot.algorithms import ProtoNetModule
from fewshot.algorithms.protonet import distances, prototypes
from fewshot.data import GlyphsDataModule
from fewshot.episodes import Episode, Examples
from fewshot.networks import Conv4


def test_prototypes_are_class_means_in_any_order():
    x = torch.tensor([[[0.0, 0.0], [5.0, 1.0], [2.0, 4.0], [7.0, 3.0]]])
    y = torch.tensor([[0, 1, 0, 1]])
    assert prototypes(Examples(x, y)).tolist() == [[[1.0, 2.0], [6.0, 2.0]]]


def test_distances_by_hand():
    x, centres = torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[0.0, 0.0], [3.0, 0.0], [6.0, 8.0]]])
    assert distances(x, centres, "euclidean").tolist() == [[[25.0, 16.0, 25.0]]]
    # Cosines with (3, 4): none for the origin, 3/5, and 1 for the parallel vector.
    torch.testing.assert_close(distances(x, centres, "cosine"), torch.tensor([[[1.0, 0.4, 0.0]]]))


@pytest.mark.parametrize("shots", [1, 5])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # one shot has no variance
def test_predictions_are_those_of_the_nearest_centroid(shots):
    data = GlyphsDataModule(shots=shots, meta_batch_size=8)
    data.setup("fit")
    support, query, _ = data.on_after_batch_transfer(data.dataset("val").__getitems__(range(8)), 0)
    module = ProtoNetModule(Conv4(running_statistics=True)).eval()
    predicted = module(Episode(support, query)).outputs.argmax(-1)
    with torch.no_grad():
        for task in range(8):
            reference = NearestCentroid().fit(module.network(support.x[task]), support.y[task])
            assert predicted[task].tolist() == reference.predict(module.network(query.x[task])).tolist()


def test_a_query_is_judged_on_its_own():
    data = GlyphsDataModule(meta_batch_size=1)
    data.setup("fit")
    episode = data.on_after_batch_transfer(data.dataset("val")[0], 0)
    module = ProtoNetModule(Conv4(running_statistics=True)).eval()
    one = episode._replace(query=Examples(episode.query.x[:, :1], episode.query.y[:, :1]))
    # Convolutions over another number of images may add up in another order.
    torch.testing.assert_close(module(one).outputs, module(episode).outputs[:, :1], rtol=1e-4, atol=1e-5)

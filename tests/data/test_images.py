"""Episodes: shapes, purity, and what stays the same when K changes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fewshot.episodes import Episode, ImageEpisodes
from fewshot.errors import FewShotError

CLASSES, DRAWINGS = 30, 20
# Every image says which class and drawing it is, in its first two pixels.
IMAGES = torch.zeros(CLASSES, DRAWINGS, 4, 4, dtype=torch.uint8)
IMAGES[:, :, 0, 0] = torch.arange(CLASSES, dtype=torch.uint8)[:, None]
IMAGES[:, :, 0, 1] = torch.arange(DRAWINGS, dtype=torch.uint8)


def episodes(**options: object) -> ImageEpisodes:
    return ImageEpisodes(IMAGES, **{"split": "train", "ways": 5, "shots": 1, "queries": 5, "length": 100, **options})


def equal(one: Episode, other: Episode) -> bool:
    return all(torch.equal(a, b) for part in (0, 1) for a, b in zip(one[part], other[part]))


@settings(deadline=None)
@given(ways=st.integers(1, CLASSES), shots=st.integers(1, 10), queries=st.integers(1, 10), tasks=st.integers(1, 4))
def test_an_episode_has_n_classes_with_k_supports_and_q_queries_each(ways, shots, queries, tasks):
    support, query, classes = episodes(ways=ways, shots=shots, queries=queries).__getitems__(range(tasks))
    assert support.x.shape == (tasks, ways * shots, 1, 4, 4)
    assert query.x.shape == (tasks, ways * queries, 1, 4, 4)
    for task in range(tasks):
        assert support.y[task].bincount().tolist() == [shots] * ways
        assert query.y[task].bincount().tolist() == [queries] * ways
        image_class = torch.cat([support.x, query.x], dim=1)[task, :, 0, 0, 0]
        label = torch.cat([support.y, query.y], dim=1)[task]
        # One class per label, one label per class; and no drawing twice, so none in both support and query.
        assert len(set(zip(image_class.tolist(), label.tolist()))) == len(set(image_class.tolist())) == ways
        assert torch.equal(image_class, classes[task][label])
        drawings = torch.cat([support.x, query.x], dim=1)[task, :, 0, 0, :2]
        assert len(drawings.unique(dim=0)) == ways * (shots + queries)


def test_an_episode_is_a_function_of_seed_split_and_number_alone():
    whole = episodes()
    assert equal(whole[7], episodes()[7])
    assert equal(
        whole[7], Episode(*(type(part)(part.x[2:3], part.y[2:3]) for part in whole.__getitems__([5, 6, 7])[:2]))
    )
    assert equal(whole[7], episodes(first=5, length=10)[2])
    np.random.seed(1), torch.manual_seed(1)  # no global state comes in
    assert equal(whole[7], episodes()[7])
    for other in (episodes(seed=1)[7], episodes(split="val")[7], whole[8]):
        assert not torch.equal(whole[7].query.x, other.query.x)


def test_the_stream_is_the_published_one():
    """These numbers may not change: results are comparable across versions, of fewshot and of NumPy."""
    classes, drawings = episodes(seed=3, split="test").draw(1000)
    assert classes.tolist() == [26, 20, 23, 22, 19]
    assert drawings[0].tolist() == [0, 11, 14, 3, 12, 5]


def test_more_shots_change_the_support_set_alone_and_keep_the_smaller_one():
    one, five = episodes(shots=1)[3], episodes(shots=5)[3]
    assert equal(Episode(one.query, one.query), Episode(five.query, five.query))
    assert torch.equal(one.support.x[0], five.support.x[0].unflatten(0, (5, 5))[:, 0])


def test_too_many_ways_or_images_are_refused_with_the_numbers():
    with pytest.raises(FewShotError, match="31-way episodes need 31 classes, but the train split has 30"):
        episodes(ways=31)
    with pytest.raises(FewShotError, match=r"1 \+ 20 = 21 images per class, but a class of the train split has 20"):
        episodes(queries=20)

"""Episodes of images: shapes, purity, what stays the same when K changes; and the data modules that serve them."""

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import store
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import CenterCrop

from fewshot.data import ImageDataModule, ImageEpisodes, ImageStore
from fewshot.data.augment import RandomAffine, RandomFlip
from fewshot.episodes import SPLITS, Episode
from fewshot.errors import FewShotError

CLASSES, IMAGES = 30, 20


def labelled(counts: Sequence[int], names: Sequence[str] | None = None) -> ImageStore:
    """Images that say which class they are of and which image of it they are, in their first two pixels."""
    images = torch.zeros(sum(counts), 1, 4, 4, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    images[:, 0, 0, 1] = torch.cat([torch.arange(count) for count in counts])
    return ImageStore.of_rows(images, counts, names or [f"class{number}" for number in range(len(counts))])


EVEN = labelled([IMAGES] * CLASSES)
UNEVEN = labelled([20 + number % 7 for number in range(CLASSES)])  # from 20 to 26


def episodes(images: ImageStore = EVEN, **options: object) -> ImageEpisodes:
    return ImageEpisodes(images, **{"split": "train", "ways": 5, "shots": 1, "queries": 5, "length": 100, **options})


def equal(one: Episode, other: Episode) -> bool:
    return all(torch.equal(a, b) for part in (0, 1) for a, b in zip(one[part], other[part]))


@settings(deadline=None)
@given(
    images=st.sampled_from([EVEN, UNEVEN]),
    ways=st.integers(1, CLASSES),
    shots=st.integers(1, 10),
    queries=st.integers(1, 10),
    tasks=st.integers(1, 4),
)
def test_an_episode_has_n_classes_with_k_supports_and_q_queries_each(images, ways, shots, queries, tasks):
    support, query, classes = episodes(images, ways=ways, shots=shots, queries=queries).__getitems__(range(tasks))
    assert support.x.shape == (tasks, ways * shots, 1, 4, 4)
    assert query.x.shape == (tasks, ways * queries, 1, 4, 4)
    for task in range(tasks):
        assert support.y[task].bincount().tolist() == [shots] * ways
        assert query.y[task].bincount().tolist() == [queries] * ways
        image_class = torch.cat([support.x, query.x], dim=1)[task, :, 0, 0, 0]
        label = torch.cat([support.y, query.y], dim=1)[task]
        # One class per label, one label per class; and no image twice, so none in both support and query.
        assert len(set(zip(image_class.tolist(), label.tolist()))) == len(set(image_class.tolist())) == ways
        assert torch.equal(image_class, classes[task][label])
        drawn = torch.cat([support.x, query.x], dim=1)[task, :, 0, 0, :2]
        assert len(drawn.unique(dim=0)) == ways * (shots + queries)


def test_every_image_of_a_class_is_drawn_whatever_other_classes_have():
    drawer = episodes(labelled([6, 9, 40]), ways=3)
    seen: list[set[int]] = [set(), set(), set()]
    for number in range(200):
        for index, members in zip(*drawer.draw(number)):
            seen[index] |= set(members.tolist())
    assert seen == [set(range(6)), set(range(9)), set(range(40))]


@pytest.mark.parametrize("images", [EVEN, UNEVEN], ids=["even", "uneven"])
def test_an_episode_is_a_function_of_seed_split_and_number_alone(images):
    whole = episodes(images)
    assert equal(whole[7], episodes(images)[7])
    assert equal(
        whole[7], Episode(*(type(part)(part.x[2:3], part.y[2:3]) for part in whole.__getitems__([5, 6, 7])[:2]))
    )
    assert equal(whole[7], episodes(images, first=5, length=10)[2])
    np.random.seed(1), torch.manual_seed(1)  # no global state comes in
    assert equal(whole[7], episodes(images)[7])
    for other in (episodes(images, seed=1)[7], episodes(images, split="val")[7], whole[8]):
        assert not torch.equal(whole[7].query.x, other.query.x)


def test_the_stream_is_the_published_one():
    """These numbers may not change: results are comparable across versions, of fewshot and of NumPy."""
    classes, members = episodes(seed=3, split="test").draw(1000)
    assert classes.tolist() == [26, 20, 23, 22, 19]
    assert members[0].tolist() == [0, 11, 14, 3, 12, 5]


def test_the_stream_over_uneven_classes_and_within_groups_is_the_published_one():
    """Nor these."""
    classes, members = episodes(UNEVEN, seed=3, split="test").draw(1000)
    assert classes.tolist() == [26, 20, 23, 22, 19]
    assert members[0].tolist() == [0, 11, 24, 23, 20, 14]
    grouped = labelled([IMAGES] * 12, [f"{letter}/{number}" for letter in "abc" for number in range(4)])
    classes, _ = episodes(grouped, ways=3, seed=3, split="test", within_groups=True).draw(1000)
    assert classes.tolist() == [9, 10, 11]


@pytest.mark.parametrize("images", [EVEN, UNEVEN], ids=["even", "uneven"])
def test_more_shots_change_the_support_set_alone_and_keep_the_smaller_one(images):
    one, five = episodes(images, shots=1)[3], episodes(images, shots=5)[3]
    assert equal(Episode(one.query, one.query), Episode(five.query, five.query))
    assert torch.equal(one.support.x[0], five.support.x[0].unflatten(0, (5, 5))[:, 0])


def test_within_groups_a_task_has_classes_of_one_group_and_each_group_its_turn():
    # Groups of 4, 6 and 2 classes: the last is too small for three ways.
    names = [f"{group}/{number}" for group, size in {"a": 4, "b": 6, "c": 2}.items() for number in range(size)]
    drawer = episodes(labelled([6] * 12, names), ways=3, within_groups=True)
    groups = []
    for number in range(100):
        drawn = {names[index][0] for index in drawer.draw(number)[0]}
        assert len(drawn) == 1
        groups += drawn
    assert set(groups) == {"a", "b"}
    assert 35 < groups.count("a") < 65  # each as likely, whatever its size: within three standard deviations of 50
    across = episodes(labelled([6] * 12, names), ways=3)
    assert any(len({names[index][0] for index in across.draw(number)[0]}) > 1 for number in range(10))


def test_within_groups_a_rotated_group_is_another():
    images = store(4, 6).rotated()
    drawer = episodes(images, ways=3, within_groups=True)
    assert all(len(set(images.turns[drawer.draw(number)[0]])) == 1 for number in range(50))


def groups_of(drawer: ImageEpisodes, number: int) -> set[str]:
    """The groups that an episode has classes of."""
    return {drawer.store.names[index].partition("/")[0] for index in drawer.draw(number)[0]}


def test_a_share_of_the_episodes_is_within_a_group_and_which_ones_the_seed_decides():
    grouped = labelled([IMAGES] * 40, [f"{'abcde'[number // 8]}/{number}" for number in range(40)])
    half, again = (episodes(grouped, within_groups=0.5) for _ in range(2))
    within = [len(groups_of(half, number)) == 1 for number in range(400)]
    assert 150 < sum(within) < 250  # within five standard deviations of 200
    assert within == [len(groups_of(again, number)) == 1 for number in range(400)]
    assert within != [len(groups_of(episodes(grouped, within_groups=0.5, seed=1), n)) == 1 for n in range(400)]
    # Across groups, a class of a group that is too small for an episode of its own has its turn, too.
    few = episodes(labelled([IMAGES] * 9, [*"a/1 a/2 a/3 a/4 a/5 a/6 b/1 b/2 b/3".split()]), within_groups=0.5)
    assert {frozenset(groups_of(few, number)) for number in range(50)} == {frozenset("a"), frozenset("ab")}


@pytest.mark.parametrize(("share", "same"), [(0.0, False), (1.0, True)])
def test_no_share_and_the_whole_share_are_false_and_true_as_before(share, same):
    grouped = labelled([IMAGES] * 12, [f"{letter}/{number}" for letter in "ab" for number in range(6)])
    one, other = (episodes(grouped, within_groups=option) for option in (share, same))
    assert all(equal(one[number], other[number]) for number in range(10))


def test_one_group_draws_as_no_groups_do():
    one, other = episodes(within_groups=True), episodes()
    assert equal(one[7], other[7])


def test_too_many_ways_are_refused_with_the_numbers():
    with pytest.raises(FewShotError, match=r"31 classes, but the train split has 30: lower --data\.ways"):
        episodes(ways=31)
    grouped = labelled([IMAGES] * 6, ["a/1", "a/2", "b/1", "b/2", "b/3", "c/1"])
    message = "4-way episodes need 4 classes, but the largest group of the train split has 3: lower --data.ways"
    with pytest.raises(FewShotError, match=message):
        episodes(grouped, ways=4, within_groups=True)


def test_a_class_of_too_few_images_is_named():
    message = r"= 1 \+ 20 = 21 images per class, but each class of the train split has 20: lower --data.shots or"
    with pytest.raises(FewShotError, match=message):
        episodes(queries=20)
    message = (
        r"= 1 \+ 5 = 6 images per class, but 2 of the 5 classes of the val split have fewer, class3 4, class1 5: low"
    )
    with pytest.raises(FewShotError, match=message):
        episodes(labelled([6, 5, 9, 4, 6]), split="val")
    # A group that no task is drawn from may be as small as it likes.
    assert len(episodes(labelled([6, 6, 1], ["a/1", "a/2", "b/1"]), ways=2, within_groups=True))


# --- data modules


class Letters(ImageDataModule):
    """Forty classes of six images, in groups of eight."""

    def load(self) -> ImageStore:
        return labelled([6] * 40, [f"{'abcde'[number // 8]}/{number}" for number in range(40)])


class Benchmark(Letters):
    """Data that nobody trains on."""

    def split_classes(self, names: Sequence[str]) -> dict[str, list[int]]:
        return {"test": list(range(len(names)))}


def ready(data: ImageDataModule, stage: str = "fit") -> ImageDataModule:
    data.setup(stage)
    return data


SMALL = {"ways": 2, "queries": 2}


def test_classes_are_split_at_random_by_shares():
    data, other = ready(Letters(**SMALL)), ready(Letters(**SMALL, split_seed=1))
    assert [len(data.classes[split]) for split in SPLITS] == [28, 4, 8]
    assert len({name for split in SPLITS for name in data.classes[split]}) == 40
    assert data.digest == ready(Letters(**SMALL, seed=1)).digest != other.digest


def test_data_state_what_learners_ask():
    data = Letters(ways=2, test_ways=3, queries=2)
    assert (data.spec.outputs, data.spec.test_outputs, data.spec.loss) == (2, 3, "cross-entropy")
    assert data.spec.example_shape is None  # not before the images are loaded
    spec = ready(data).spec
    assert spec.example_shape == (1, 4, 4)
    episode = data.dataset("test")[0]
    named = [spec.class_names["test"][index] for index in episode.classes[0]]
    assert [name.split("/")[1] for name in named] == [str(int(x)) for x in episode.query.x[0, ::2, 0, 0, 0]]


def test_images_come_to_the_network_between_0_and_1():
    data = ready(Letters(**SMALL))
    episode = data.on_after_batch_transfer(data.dataset("val")[0], 0)
    assert episode.support.x.dtype == torch.float32
    assert torch.equal(episode.support.x, data.dataset("val")[0].support.x.float() / 255)


@pytest.mark.parametrize(
    ("option", "sizes"), [("rotations", [112, 4, 8]), ("mirrors", [56, 4, 8]), ("test_rotations", [28, 16, 32])]
)
def test_rotations_and_mirror_images_are_new_classes_where_they_are_asked_for(option, sizes):
    data = ready(Letters(**SMALL, **{option: True}))
    assert [len(data.stores[split]) for split in SPLITS] == sizes
    assert [len(data.classes[split]) for split in SPLITS] == [28, 4, 8]
    assert data.digest == ready(Letters(**SMALL)).digest


def test_another_pixel_or_rotation_of_a_test_class_is_other_content():
    data, drawn_on = ready(Letters(**SMALL)), ready(Letters(**SMALL))
    assert data.content == drawn_on.content == ready(Letters(ways=3, queries=1)).content
    for split, same in (("train", True), ("val", True), ("test", False)):
        store = drawn_on.stores[split]
        store.images[store.starts[-1], 0, 3, 3] += 1
        assert (drawn_on.content == data.content) is same
    assert drawn_on.digest == data.digest
    assert ready(Letters(**SMALL, test_rotations=True)).content != data.content


def test_groups_are_kept_to_where_they_are_asked_for():
    train = ready(Letters(ways=2, queries=2, within_groups=True))
    test = ready(Letters(ways=2, test_ways=1, queries=2, test_within_groups=True))
    assert [len(train.dataset(split).groups) for split in SPLITS] == [5, 1, 1]
    assert [len(test.dataset(split).groups) for split in SPLITS] == [1, 4, 4]  # those that have a class in the split
    assert "within_groups" not in train.describe()
    assert test.describe()["within_groups"] is True
    half = Letters(**SMALL, test_within_groups=0.5)
    assert half.describe()["within_groups"] == 0.5
    for number, limit in ((-0.1, "least 0"), (1.5, "most 1")):
        with pytest.raises(FewShotError, match=f"^within_groups must be at {limit}, not {number}$"):
            Letters(within_groups=number)


def in_training(data: ImageDataModule, training: bool = True, step: int = 0) -> ImageDataModule:
    """The data as a Trainer has them before an outer step, or while it validates."""
    learner = SimpleNamespace(dtype=torch.float32, device=torch.device("cpu"))
    data.trainer = SimpleNamespace(training=training, global_step=step, global_rank=0, lightning_module=learner)
    return data


def served(data: ImageDataModule) -> Episode:
    """The first meta-batch as a learner gets it."""
    return data.on_after_batch_transfer(data.on_before_batch_transfer(data.dataset("train")[0], 0), 0)


def test_images_are_augmented_in_training_alone_one_change_after_another():
    data, plain = (ready(Letters(**SMALL, augment=changes)) for changes in ([RandomFlip(1), RandomFlip(1)], None))
    mirrored = ready(Letters(**SMALL, augment=[RandomFlip(1)]))
    for one, training in ((data, True), (mirrored, False)):
        assert equal(served(in_training(one, training)), served(in_training(plain)))  # mirrored twice, or never
    once, never = served(in_training(mirrored)), served(plain)
    assert torch.equal(once.support.x, never.support.x.flip(-1))
    assert torch.equal(once.query.x, never.query.x.flip(-1))
    with pytest.raises(FewShotError, match=r"makes images of \[1, 20, 20\] of those of \[1, 4, 4\]"):
        served(in_training(ready(Letters(**SMALL, augment=[CenterCrop(20)]))))


def test_what_is_random_in_an_outer_step_is_a_function_of_the_step_and_its_tasks():
    data = ready(Letters(**SMALL, augment=[RandomAffine(degrees=90)]))
    first = served(in_training(data, step=3))
    torch.manual_seed(7)  # no global state comes in
    assert equal(served(in_training(data, step=3)), first)
    assert not equal(served(in_training(data, step=4)), first)
    data.train_seed = 1
    assert not equal(served(in_training(data, step=3)), first)


def test_the_same_seed_draws_the_same_tasks_for_every_algorithm():
    """Two data modules that differ in how they batch see the same stream."""
    one, other = ready(Letters(**SMALL, meta_batch_size=4)), ready(Letters(**SMALL, meta_batch_size=2))
    four = one.dataset("train").__getitems__(range(4))
    twos = [other.dataset("train").__getitems__(range(start, start + 2)) for start in (0, 2)]
    assert torch.equal(four.query.x, torch.cat([two.query.x for two in twos]))


def test_data_for_tests_alone_can_be_tested_and_not_trained_on():
    data = ready(Benchmark(**SMALL), "test")
    assert data.splits == ("test",)
    assert next(iter(data.test_dataloader())).query.x.shape[0] == data.meta_batch_size
    with pytest.raises(FewShotError, match=r"^Benchmark has no train split, but test: it cannot fit$"):
        data.setup("fit")
    with pytest.raises(FewShotError, match=r"^Benchmark has no val split, but test: it cannot validate$"):
        data.setup("validate")


@pytest.mark.parametrize("option", ["ways", "shots", "queries", "meta_batch_size", "val_episodes", "test_episodes"])
def test_numbers_must_be_positive(option):
    for number in (0, None):  # null is what a command line can say, too
        with pytest.raises(FewShotError, match=f"^{option} must be at least 1, not {number}$"):
            Letters(**{option: number})


def test_numbers_beyond_all_measure_are_refused_before_anything_is_drawn():
    with pytest.raises(
        FewShotError,
        match=r"= 1 \+ 999999999999 = 1000000000000 images per class, but each class of the val split has 6",
    ):
        ready(Letters(ways=2, queries=2, test_queries=999_999_999_999))
    with pytest.raises(FewShotError, match="999999999999-way episodes need"):
        ready(Letters(ways=2, queries=2, test_ways=999_999_999_999))
    for option in ("meta_batch_size", "val_episodes", "test_episodes"):
        with pytest.raises(FewShotError, match=f"^{option} must be at most 1000000000, not"):
            Letters(**{option: 10**20})


@pytest.mark.parametrize("option", ["seed", "split_seed"])
def test_seeds_are_those_that_the_generator_takes(option):
    for number, limit in ((-1, "least 0"), (None, "least 0"), (2**63, f"most {2**63 - 1}")):
        with pytest.raises(FewShotError, match=f"^{option} must be at {limit}, not {number}$"):
            Letters(**{option: number})
    data = ready(Letters(**SMALL, **{option: 2**63 - 1}))
    assert data.dataset("test")[0].query.x.shape == (1, 4, 1, 4, 4)


def test_a_training_whose_test_would_be_refused_is_refused_at_once():
    data = Letters(ways=2, queries=2, test_queries=6)
    with pytest.raises(FewShotError, match="each class of the val split has 6: lower"):
        data.setup("fit")
    data = Letters(ways=2, test_ways=4, queries=2, test_within_groups=True)
    with pytest.raises(FewShotError, match="the largest group of the"):
        data.setup("fit")

"""The pictures that benchmarks.folders measures on are as many as it says, in uneven classes."""

from PIL import Image

from benchmarks.folders import generate
from fewshot.data.pictures import pictures_by_class


def test_pictures_are_generated_in_uneven_classes(tmp_path):
    generate(tmp_path, pictures=103, classes=10, size=20)
    counts = [len(files) for files in pictures_by_class(tmp_path).values()]
    assert (len(counts), sum(counts)) == (10, 103)
    assert counts == sorted(counts)
    assert 1 < 3 * counts[0] <= counts[-1]
    with Image.open(tmp_path / "class009" / "0.jpg") as picture:
        assert picture.size == (20, 20)

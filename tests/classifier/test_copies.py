"""The same picture in several places is told."""

import shutil
from pathlib import Path

import pytest

from fewshot.classifier.copies import same_content, told_of_copies


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Two classes, a query of the same length as one of them, and a copy."""
    content = {"a/1.png": b"one", "a/2.png": b"two", "b/1.png": b"three", "query.png": b"six", "copy.png": b"two"}
    for name, data in content.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return {name: str(tmp_path / name) for name in content}


def test_copies_are_found_by_their_bytes(files):
    support = [file for name, file in files.items() if "/" in name]
    asked = [files["query.png"], files["copy.png"], files["a/1.png"], "/nowhere.png"]
    assert same_content(asked, support) == {
        files["copy.png"]: [files["a/2.png"]],
        files["a/1.png"]: [files["a/1.png"]],
    }
    (line,) = told_of_copies(support, asked)
    assert line.startswith("2 of the 4 pictures are support pictures, too")


def test_a_copy_in_the_same_class_is_no_contradiction(files, tmp_path):
    support = [file for name, file in files.items() if "/" in name]
    support.append(shutil.copy(files["a/1.png"], f"{tmp_path}/a/3.png"))
    assert [*told_of_copies(support, [])] == []
    support.append(shutil.copy(files["a/1.png"], f"{tmp_path}/b/2.png"))
    (line,) = told_of_copies(support, [])
    assert f"{files['a/1.png']} = {tmp_path}/b/2.png" in line

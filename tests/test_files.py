"""Files are whole or not there, and JSON is JSON."""

import json
import math
import os

import pytest

from fewshot.files import write_json, write_text


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_cannot_be_written_leaves_the_old_file_whole(tmp_path, monkeypatch, failure):
    file = tmp_path / "result.json"
    write_text(file, "old ± 1\n")

    def full(descriptor: int) -> None:
        raise failure

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(type(failure)):
        write_text(file, "new")
    assert file.read_text(encoding="utf-8") == "old ± 1\n"
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_json_has_null_for_what_is_not_finite(tmp_path):
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    row = {"accuracy": math.nan, "scores": [0.5, -math.inf], "inner": {"pair": (1.0, math.inf)}, "name": "é\udcff"}
    for value, lines in (([row, row], 4), (row, 14)):
        write_json(tmp_path / "it.json", value)
        text = (tmp_path / "it.json").read_text()
        read = json.loads(text, parse_constant=refuse)
        assert len(text.splitlines()) == lines
        for read_row in read if isinstance(value, list) else [read]:
            assert read_row == {**row, "accuracy": None, "scores": [0.5, None], "inner": {"pair": [1.0, None]}}

"""What is printed comes out as it is, on any terminal."""

import io
import sys

import pytest
from rich.table import Table

from fewshot.terminal import console, make_printable


@pytest.mark.parametrize(("encoding", "score"), [("ascii", "97% +/- 1% ?"), ("utf-8", "97% ± 1% é")])
def test_a_table_comes_out_on_any_terminal(monkeypatch, encoding, score):
    screen = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    make_printable()
    table = Table("accuracy", title="[/red] :smile:")
    table.add_row("97% ± 1% é")
    console().print(table)
    console().print("[/red] :smile: ±")
    print("±", file=sys.stderr)
    screen.flush()
    lines = screen.buffer.getvalue().decode(encoding).splitlines()
    assert lines[0].strip() == "[/red] :smile:"
    assert (lines[1].strip("+-") == "") is (encoding == "ascii")  # the frame
    assert score in lines[-3]
    assert lines[-1] == "[/red] :smile: " + ("+/-" if encoding == "ascii" else "±")

"""The demo ends with a table and a picture, and says in one line what it misses."""

import re

from helpers import REPOSITORY, shrink

from fewshot.cli import main


def test_the_demo_ends_with_a_table_and_a_picture(tmp_path, capsys):
    shrink(REPOSITORY / "configs", tmp_path / "configs")
    folder = tmp_path / "demo"
    main(["demo", f"--folder={folder}", f"--configs={tmp_path / 'configs'}", "--max_steps=2", "--episodes=32"])
    screen = capsys.readouterr().out
    assert "accuracy at K = 1" in screen
    assert re.search(r"ProtoNet .*\d+\.\d\d% ± \d\.\d\d%", screen)
    assert str(folder / "curves.png") in screen.replace("\n", "")
    assert (folder / "curves.png").stat().st_size > 10_000


def test_the_demo_says_in_one_line_what_it_misses(tmp_path, fails):
    message = fails("demo", f"--configs={tmp_path}/none", f"--folder={tmp_path}/demo")
    assert f"there is no config file '{tmp_path}/none/glyphs_maml.yaml'" in message

"""The demo ends with a table and a picture, and says in one line what it misses."""

import re

from helpers import REPOSITORY, shrink

from fewshot.cli import main


def test_the_demo_ends_with_a_table_and_a_picture(tmp_path, capsys):
    shrink(REPOSITORY / "configs", tmp_path / "configs")
    folder = tmp_path / "demo"
    words = ["demo", f"--folder={folder}", f"--configs={tmp_path / 'configs'}", "--max_steps=2", "--episodes=32"]
    main(words)
    screen = capsys.readouterr().out
    assert screen.startswith(f"Begins afresh in {folder}/")
    assert "accuracy at K = 1" in screen
    assert re.search(r"ProtoNet .*\d+\.\d\d% ± \d\.\d\d%", screen)
    assert "Transductive learners see all queries of an episode together" in screen
    assert str(folder / "demo.png") in screen.replace("\n", "")
    assert (folder / "demo.png").stat().st_size > 10_000
    main(words)
    assert capsys.readouterr().out.startswith(f"Goes on with what is in {folder}/")


def test_the_demo_says_in_one_line_what_it_misses(tmp_path, fails):
    message = fails("demo", f"--configs={tmp_path}/none", f"--folder={tmp_path}/demo")
    assert f"there is no config file '{tmp_path}/none/glyphs_maml.yaml'" in message

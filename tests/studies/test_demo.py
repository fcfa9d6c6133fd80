"""The demo ends with a table and a picture, and says in one line what it misses."""

import io
import re
from contextlib import redirect_stdout

from helpers import REPOSITORY, shrink

from fewshot.cli import main


def test_the_demo_ends_with_a_table_and_a_picture(tmp_path, capsys):
    shrink(REPOSITORY / "configs", tmp_path / "configs")
    folder = tmp_path / "demo"
    main(["demo", f"--folder={folder}", f"--configs={tmp_path / 'configs'}", "--max_steps=2", "--episodes=32"])
    screen = capsys.readouterr().out
    assert screen.startswith(f"Begins afresh in {folder}/")
    assert "accuracy at K = 1" in screen
    assert re.search(r"ProtoNet .*\d+\.\d\d% ± \d\.\d\d%", screen)
    assert "Transductive learners see all queries of an episode together" in screen
    assert str(folder / "demo.png") in screen.replace("\n", "")
    assert (folder / "demo.png").stat().st_size > 10_000


def test_the_demo_says_whether_it_goes_on_and_in_one_line_what_it_misses(tmp_path, fails):
    (tmp_path / "demo" / "checkpoints").mkdir(parents=True)
    with redirect_stdout(io.StringIO()) as said:
        message = fails("demo", f"--configs={tmp_path}/none", f"--folder={tmp_path}/demo")
    assert said.getvalue().startswith(f"Goes on with what is in {tmp_path}/demo/")
    assert f"there is no config file '{tmp_path}/none/glyphs_maml.yaml'" in message

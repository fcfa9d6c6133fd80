"""What a study is refused for, before it tests anything."""

import pytest


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        ("sweep", [], "nothing to vary: give the values of one, as in --shots [1,4,6,8,10]"),
        ("sweep", ["--shots=[]"], "--shots has no values"),
        ("sweep", ["--shots=[1,x]"], "--shots"),
        ("sweep", ["--shots=[0]"], "shots must be at least 1, not 0"),
        ("sweep", ["--shots=[1]", "--ways=[5]"], "--shots and --ways vary at once"),
        ("sweep", ["--shots=[1]", "--shot=3"], "--shot"),
        ("sweep", ["--shots=[1]", "--data.test_shot=3"], "test_shot"),
        ("sweep", ["--ways=[900]"], "900"),
        ("sweep", ["--shots=[1,30]"], "shots + queries = 30 + 5"),
        ("sweep", ["--shots=[1]", "--data.test_shots=3"], "--shots and --data.test_shots are the same option"),
        ("sweep", ["--shots=1"], "--shots: must be a list, as in [a,b], not 1"),
        ("sweep", ["--shots=[1]", "--accelerator=abacus"], "--accelerator"),
        ("sweep", ["--shots=[1]", "--name=x"], "--name: there is no such option; did you mean --model?"),
        ("compare", ["--data.test_episodes=1"], "one episode tells nothing"),
    ],
)
def test_a_mistake_takes_one_line(both, tmp_path, fails, command, words, message):
    assert message in fails(command, both, *words, f"--folder={tmp_path}")


def test_checkpoints_that_are_missing(maml, tmp_path, fails):
    assert "at least two checkpoints" in fails("compare", f"--ckpt_paths=[{maml}]")
    assert "no checkpoint to test" in fails("sweep", "--ckpt_paths=[]", "--shots=[1]")
    assert "there is no checkpoint file 'nowhere.ckpt'" in fails("sweep", "--ckpt_paths=[nowhere.ckpt]", "--shots=[1]")
    twice = fails("compare", f"--ckpt_paths=[{maml},{maml}]", f"--folder={tmp_path}")
    assert "is given twice" in twice


def test_logs_that_are_missing(runs, tmp_path, fails):
    run = f"--runs=[{runs}/logs/glyphs_maml]"
    assert "there are no logs of a training in" in fails("curves", f"--runs=[{tmp_path}]")
    assert "has no log of nonsense" in fails("curves", run, "--tag=nonsense")
    assert "smoothing must be" in fails("curves", run, "--smoothing=1")
    assert "no runs to draw" in fails("curves", "--runs=[]")


def test_a_folder_that_cannot_be_used(maml, tmp_path, fails):
    (tmp_path / "file").touch()
    words = ["sweep", f"--ckpt_paths=[{maml}]", "--shots=[1]"]
    assert "cannot be used" in fails(*words, f"--folder={tmp_path / 'file'}")

"""Drawings: brought to the data's form, told apart, kept and given away."""

import base64
import io
import time
import zipfile

import numpy as np
import pytest
import torch
from explore.driving import press
from PIL import Image

from fewshot.data import FolderDataModule
from fewshot.episodes import Episode, Examples
from fewshot.errors import FewShotError
from fewshot.explore.drawing import LONGER_SIDE, DrawingSet, as_example, on_paper, strokes_of
from fewshot.explore.tabs.draw import NEW as KEEP
from fewshot.explore.tabs.draw import Draw

CHARACTERS = {  # strokes on the pad, x and y of each point
    "hook": [[(0.3, 0.9), (0.3, 0.2), (0.5, 0.1), (0.7, 0.2)]],
    "cross": [[(0.5, 0.9), (0.5, 0.1)], [(0.2, 0.6), (0.8, 0.6)]],
    "tent": [[(0.2, 0.2), (0.5, 0.8), (0.8, 0.2)], [(0.5, 0.8), (0.5, 0.2)]],
    "ladder": [[(0.3, 0.9), (0.3, 0.1)], [(0.7, 0.9), (0.7, 0.1)], [(0.3, 0.6), (0.7, 0.6)], [(0.3, 0.3), (0.7, 0.3)]],
    "wave": [[(0.1, 0.5), (0.25, 0.7), (0.4, 0.5), (0.55, 0.3), (0.7, 0.5), (0.9, 0.7)]],
}


def by_hand(name: str, seed: int) -> dict[str, list]:
    """A character as somebody draws it: turned, stretched and moved a little, its points not where they should be."""
    rng = np.random.default_rng(seed)
    turn = np.eye(2) + rng.normal(0, 0.1, (2, 2))
    strokes = [
        (np.array(stroke) - 0.5) @ turn * rng.uniform(0.5, 0.9) + 0.5 + rng.normal(0, 0.02, (len(stroke), 2))
        for stroke in CHARACTERS[name]
    ]
    return {"xs": [stroke[:, 0].tolist() for stroke in strokes], "ys": [stroke[:, 1].tolist() for stroke in strokes]}


def draw(name: str, seed: int = 0) -> np.ndarray:
    strokes = by_hand(name, seed)
    return on_paper(strokes_of(strokes["xs"], strokes["ys"]))


@pytest.fixture
def tab(page, shelf):
    return Draw(page, shelf.drawings)


@pytest.fixture
def drawn(tab):
    """The tab with five characters, drawn once each."""
    for number, name in enumerate(CHARACTERS):
        tab.drawings.add(draw(name, number))
    tab.refresh()
    return tab


def test_a_drawing_has_omniglot_s_size_and_is_in_the_middle():
    for scale in (0.2, 1.0):
        ink = draw("tent") == 0
        paper = on_paper([scale * np.array([(0.1, 0.1), (0.5, 0.8), (0.9, 0.1)])]) == 0
        rows, columns = (np.flatnonzero(paper.any(axis=axis)) for axis in (1, 0))
        assert max(np.ptp(rows), np.ptp(columns)) == pytest.approx(LONGER_SIDE, abs=3)
        assert (rows[0] + rows[-1]) / 2 == pytest.approx(52, abs=1.5)
    assert ink.shape == (105, 105)
    example = as_example(draw("cross"))
    assert example.shape == (1, 28, 28)
    assert example.max() > 0.7
    assert 30 < example.sum() < 110  # nine of ten drawings of Omniglot


@pytest.mark.parametrize("learner", ["MAML", "ProtoNet"])
def test_a_set_of_one_s_own_is_told_apart(drawn, learner):
    drawn.choices[0].value = learner
    right = 0
    for seed in (101, 102):
        for label, name in enumerate(CHARACTERS):
            drawn.strokes.data = by_hand(name, seed)
            right += int(drawn.answers[0].argmax()) == label
    assert right >= 8


def test_a_stroke_is_answered_in_time(drawn):
    start = time.process_time()
    drawn.strokes.data = by_hand("wave", 7)
    assert time.process_time() - start < 0.2
    assert "Answered in" in drawn.said.text


def test_the_probabilities_follow_the_steps(drawn):
    drawn.strokes.data = by_hand("hook", 3)
    query = Examples(as_example(drawn.drawing())[None, None], torch.zeros(1, 1))
    outputs = drawn.learners["MAML"].after_steps(Episode(drawn.drawings.examples(), query), 5)
    for steps in (0, 5):
        drawn.steps.value = steps
        assert drawn.bars[0].data["right"] == pytest.approx(outputs[steps][0, 0].softmax(-1).tolist(), abs=1e-5)
    assert len(drawn.judges["ProtoNet"]) == 1  # it takes no steps


def test_with_six_classes_the_learner_of_five_says_so_and_the_other_answers(drawn):
    drawn.strokes.data = by_hand("wave", 50)
    press(drawn.layout(), KEEP)
    assert drawn.strokes.data["xs"] == []
    drawn.strokes.data = by_hand("wave", 51)
    assert "MAML was trained for 5 classes and cannot judge 6" in drawn.said.text
    assert drawn.answers[0] is None
    assert len(drawn.bars[1].data["right"]) == 6


def test_drawings_are_taken_back_one_by_one(drawn):
    layout = drawn.layout()
    drawn.strokes.data = by_hand("cross", 9)
    drawn.label.value = "b"
    press(layout, "Keep as example of")
    assert [len(own) for own in drawn.drawings.classes] == [1, 2, 1, 1, 1]
    press(layout, "Forget the last")
    press(layout, "Forget the last")
    assert [len(own) for own in drawn.drawings.classes] == [1, 1, 1, 1]
    press(layout, "Forget all")
    assert drawn.drawings.classes == []


def test_a_set_is_saved_and_loaded(drawn):
    press(drawn.layout(), "Save the set")
    before = drawn.drawings.classes
    drawn.forget_all()
    drawn.upload.set_from_json("value", drawn.file.data["content"][0])  # as the browser does it
    assert np.array_equal(drawn.drawings.classes, before)


def test_downloaded_folders_are_data_for_fewshot(drawn, tmp_path):
    press(drawn.layout(), "Download folders")
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(drawn.file.data["content"][0]))) as archive:
        archive.extractall(tmp_path)
    data = FolderDataModule(str(tmp_path / "my_classes"), image_size=28, channels=1, cache_dir=str(tmp_path))
    assert data.load().names == tuple(f"class_{number:02}" for number in range(1, 6))


def picture(size: tuple[int, int], kind: str = "PNG") -> bytes:
    content = io.BytesIO()
    Image.new("L", size, 255).save(content, kind)
    return content.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no picture",
        picture((105, 104)),
        picture((2100, 105)),
        picture((105, 105 * 21)),
        picture((105, 105), "GIF"),
        picture((105, 105))[:60],
        bytes(2**20 + 1),
    ],
)
def test_what_is_no_sheet_is_not_loaded(content):
    with pytest.raises(FewShotError, match="that is no sheet of drawings"):
        DrawingSet.of_sheet(content)


@pytest.mark.parametrize(("xs", "ys"), [([[1, 2]], [[1]]), (["ab"], ["cd"]), ([[0] * 10_001], [[0] * 10_001])])
def test_what_are_no_strokes_is_a_message(tab, xs, ys):
    tab.strokes.data = {"xs": xs, "ys": ys}
    assert tab.page.status.visible
    assert "clear the pad" in tab.page.status.text

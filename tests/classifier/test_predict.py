"""``fewshot predict``: folders of pictures in, labels out."""

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import SHAPES, SHOTS, draw_shape
from PIL import Image
from sklearn.model_selection import PredefinedSplit, cross_val_score

from fewshot.classifier import FewShotClassifier
from fewshot.classifier.predict import COLUMNS, _new_folder
from fewshot.cli import main


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own, where it runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def predict(*words: object) -> list[dict[str, str]]:
    """Runs the command, and returns the rows of its CSV."""
    main(["predict", *map(str, words), "--folder=out"])
    with open("out/predictions.csv", encoding="utf-8", newline="") as file:
        return [*csv.DictReader(file)]


def test_the_csv_has_a_row_per_picture(support, query, classifier):
    rows = predict("--support", support.folder, "--query", query.folder)
    assert tuple(rows[0]) == COLUMNS
    assert [row["file"] for row in rows] == query.files
    assert [row["class"] for row in rows] == classifier.predict(query.files).tolist()
    probabilities = classifier.predict_proba(query.files)
    np.testing.assert_allclose([float(row["probability"]) for row in rows], probabilities.max(1), atol=1e-3)
    second = np.sort(probabilities, axis=1)[:, -2]
    np.testing.assert_allclose([float(row["second_probability"]) for row in rows], second, atol=1e-3)
    scores = classifier.decision_function(query.files).max(1)
    np.testing.assert_allclose([float(row["score"]) for row in rows], scores, atol=1e-3)
    for row in rows:
        assert row["second_class"] in {*SHAPES} - {row["class"]}
        assert row["known"] == row["error"] == ""


def test_scikit_learns_scores_on_the_same_files_are_the_same(support, query):
    rows = predict("--support", support.folder, "--query", query.folder)
    right = [row["class"] == label for row, label in zip(rows, query.labels)]
    split = PredefinedSplit([-1] * len(support.files) + [0] * len(query.files))  # -1: always fitted to
    files, labels = support.files + query.files, support.labels + query.labels
    (accuracy,) = cross_val_score(FewShotClassifier(), files, labels, cv=split)
    assert accuracy == pytest.approx(np.mean(right))


def test_the_json_says_it_all(support, query, classifier, capsys):
    rows = predict("--support", support.folder, "--query", query.folder)
    report = json.loads(Path("out/predictions.json").read_text())
    assert report["classes"] == sorted(SHAPES)
    assert report["head"] == classifier.head_name_
    assert report["temperature"] == pytest.approx(classifier.temperature_)
    assert [row["class"] for row in report["predictions"]] == [row["class"] for row in rows]
    estimate = report["estimate"]
    assert estimate["pictures"] == len(support.files)
    assert estimate["accuracy"] == classifier.held_out_.right.mean()
    assert estimate["interval"] == pytest.approx(classifier.held_out_.interval())
    shown = " ".join(capsys.readouterr().out.split())
    right = sum(row["class"] == label for row, label in zip(rows, query.labels))
    assert f"Of {len(support.files)} support pictures" in shown
    assert f"{right} of {len(rows)} are sorted as they lie" in shown


def test_a_mislabelled_picture_is_named(support, query, capsys):
    shutil.copytree(support.folder, folder := Path("support"))
    odd = (folder / "disc" / "0.png").rename(folder / "triangle" / "odd.png")
    for shape, seeds in {"disc": range(20, 24), "triangle": range(20, 24)}.items():
        for seed in seeds:
            draw_shape(shape, seed).save(folder / shape / f"{seed}.png")
    shutil.rmtree(folder / "square")
    predict("--support", "support", "--query", query.folder)
    suspicious = json.loads(Path("out/predictions.json").read_text())["estimate"]["suspicious"]
    (row,) = (row for row in suspicious if row["file"] == str(odd))
    assert (row["class"], row["looks_like"]) == ("triangle", "disc")
    assert "Mislabelled? support/triangle/odd.png looks like disc" in " ".join(capsys.readouterr().out.split())


def test_the_contact_sheet_is_a_picture(support, query):
    predict("--support", support.folder, "--query", query.folder)
    with Image.open("out/contact_sheet.png") as sheet:
        assert sheet.format == "PNG"
        assert all(200 < side < 5000 for side in sheet.size)
        assert len(sheet.convert("RGB").getcolors(1 << 24)) > 1000  # pictures are on it
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "contact_sheet.png", "predictions.csv", "predictions.json",
    ]  # fmt: skip


def test_results_go_to_the_next_folder_if_none_is_given(support, query):
    for _ in range(2):
        main(["predict", f"--support={support.folder}", f"--query={query.files[0]}"])
    assert sorted(path.name for path in Path("logs/predict").iterdir()) == ["version_0", "version_1"]
    assert _new_folder() != _new_folder()  # of two processes


def test_a_tilde_that_the_shell_left_is_the_home(support, query, here, monkeypatch):
    monkeypatch.setenv("HOME", str(support.folder.parent))
    shutil.copy(query.files[0], "~a.png")
    (row,) = predict(f"--support=~/{support.folder.name}", "--query=~a.png", "--save=~/kept")
    assert row["file"] == "~a.png"
    assert Path(support.folder.parent, "kept", "classifier.json").exists()


# --- which pictures


def test_queries_are_a_file_a_pattern_a_list_or_folders_in_folders(support, query):
    def files(*words: str) -> list[str]:
        return [row["file"] for row in predict("--support", support.folder, *words)]

    assert files(f"--query={query.files[3]}") == query.files[3:4]
    assert files(f"--query={query.folder}/*/1.png") == query.files[1::2]
    assert files(f"--query={query.folder}/**/*.png") == query.files
    assert files(f"--query=['{query.files[4]}','{query.folder}/disc','{query.files[0]}']") == [
        query.files[4], *query.files[:2],
    ]  # fmt: skip
    deep = Path("new/deep/er")
    deep.mkdir(parents=True)
    shutil.copy(query.files[0], "new/photo.JPG.png")
    shutil.copy(query.files[1], deep / "other.png")
    Path("new/.hidden.png").touch()
    Path("new/notes.txt").touch()
    assert files("--query=new") == ["new/photo.JPG.png", "new/deep/er/other.png"]


def test_names_in_other_scripts_and_odd_signs(here):
    names = {"disc": "Kreis größer", "square": "квадрат", "triangle": "三角形 [b]$x_"}
    for shape, name in names.items():
        (here / "klassen" / name).mkdir(parents=True)
        for seed in range(2):
            draw_shape(shape, seed).save(here / "klassen" / name / f"{seed}.png")
    queries = ["صورة.png", 'a, "b"$_{.png', "[red]猫.png"]
    for name in queries:
        draw_shape("disc", 0).save(here / name)
    rows = predict("--support=klassen", "--query=*.png", "--head=nearest-mean", "--save=mine")
    assert sorted(row["file"] for row in rows) == sorted(queries)
    assert {row["class"] for row in rows} == {"Kreis größer"}
    assert json.loads(Path("out/predictions.json").read_text())["classes"] == sorted(names.values())
    assert predict("--classifier=mine", "--query=*.png") == rows


def test_what_is_odd_about_the_folders_is_told(support, query, capsys):
    shutil.copytree(support.folder, "mine")
    Path("mine/empty").mkdir()
    Path("mine/gone").symlink_to("nowhere")
    shutil.copy("mine/disc/0.png", "mine/square/copy.png")
    shutil.copy("mine/disc/1.png", "again.png")
    predict("--support=mine", f"--query=['again.png','{query.files[0]}']", "--head=nearest-mean")
    shown = " ".join(capsys.readouterr().out.split())
    assert "Left out, as there are no pictures in them: empty, gone in mine." in shown
    assert "The same picture is in two classes: mine/disc/0.png = mine/square/copy.png." in shown
    assert "1 of the 2 pictures are support pictures, too, so that it says nothing" in shown


def test_a_name_that_is_no_text_does_no_harm(support, query):
    odd = Path(os.fsdecode(b"odd\xff.png"))
    shutil.copy(query.files[0], odd)
    main(["predict", f"--support={support.folder}", f"--query={odd}", "--folder=out"])
    assert b"odd\xff.png,disc" in Path("out/predictions.csv").read_bytes()
    assert Path("out/contact_sheet.png").exists()


def test_what_cannot_be_read_is_reported_and_the_rest_done(support, query, capsys):
    Path("new").mkdir()
    shutil.copy(query.files[0], "new/a.png")
    Path("new/b.png").write_bytes(b"no picture")
    shutil.copy(query.files[2], "new/c.png")
    first, broken, last = predict("--support", support.folder, "--query=new")
    assert first["class"] in SHAPES
    assert last["class"] in SHAPES
    assert broken["class"] == broken["probability"] == ""
    assert broken["error"] == "it is empty, damaged or of a kind that Pillow does not know"
    shown = " ".join(capsys.readouterr().out.split())
    assert "pictures in new" in shown
    assert "│ b.png │ cannot be read │" in shown
    assert "1 of 3 pictures cannot be read: new/b.png." in shown
    (only,) = predict("--support", support.folder, "--query=new/b.png")
    assert not Path("out/contact_sheet.png").exists()  # of other pictures
    assert "contact_sheet" not in capsys.readouterr().out
    assert only["error"] == broken["error"]
    assert Path("out/predictions.json").exists()


# --- keeping


def test_a_saved_classifier_needs_no_support_set(support, query):
    folder = shutil.copytree(support.folder, "support")
    first = predict("--support=support", f"--query={query.folder}", "--save=mine")
    assert sorted(path.name for path in Path("mine").iterdir()) == ["classifier.json", "classifier.safetensors"]
    shutil.rmtree(folder)
    assert predict("--classifier=mine", f"--query={query.folder}") == first
    assert FewShotClassifier.load("mine").predict(query.files).tolist() == [row["class"] for row in first]


def test_a_learner_of_fewshot_predicts(support, query, protonet):
    rows = predict("--support", support.folder, "--query", query.folder, "--ckpt_path=pretrained/protonet_5w1s",
                   "--onnx=mine.onnx")  # fmt: skip
    assert [row["class"] for row in rows] == protonet.predict(query.files).tolist()
    assert json.loads(Path("out/predictions.json").read_text())["head"] == "learner"
    assert Path("mine.onnx").stat().st_size > 10_000


# --- unknown classes


def test_reject_marks_what_scores_lower_than_a_share_of_the_support_set(support, query, classifier):
    threshold = np.quantile(classifier.held_out_.scores.max(1), 0.9)
    rows = predict("--support", support.folder, "--query", query.folder, "--reject=0.9")
    known = classifier.decision_function(query.files).max(1) >= threshold
    assert [row["known"] for row in rows] == [str(bool(one)) for one in known]
    assert 0 < known.sum() < len(known)


# --- mistakes


def test_what_is_missing_is_told_in_one_line(support, query, fails, here):
    (here / "empty").mkdir()
    (here / "one" / "disc").mkdir(parents=True)
    shutil.copy(support.files[0], here / "one" / "disc")
    given, asked = f"--support={support.folder}", f"--query={query.folder}"
    either = "give either --support FOLDER, with a folder of pictures for each class, or --classifier FOLDER"
    assert fails("predict", asked) == either
    assert fails("predict", asked, given, "--classifier=mine") == either
    assert fails("predict", "--support=empty", asked).startswith("empty holds no folder of pictures: put those of each")
    assert fails("predict", "--support=one", asked).startswith("one holds one folder of pictures: put those of each")
    assert fails("predict", "--support=none", asked) == "--support none: there is no such folder"
    assert fails("predict", given, "--query=none.png") == "--query none.png: there is no such file or folder"
    assert fails("predict", given, "--query=empty") == "--query empty: there are no pictures"
    assert fails("predict", given) == "needed: --query"
    unquoted = fails("predict", given, "--query", "new/picture-1.png", "new/picture-2.png")
    assert unquoted.startswith("new/picture-2.png is one word too many: put several words, or a pattern")
    assert fails("predict", "--classifier=empty", asked).startswith("there is no classifier in empty")


def test_options_that_make_no_sense_are_told_in_one_line(support, query, fails, here):
    given, asked = f"--support={support.folder}", f"--query={query.folder}"
    head = fails("predict", given, asked, "--head=svm")
    assert "svm" in head
    assert "nearest-mean" in head
    assert "a backbone has no head of its own" in fails("predict", given, asked, "--head=learner")
    both = fails("predict", given, asked, "--ckpt_path=pretrained/maml_5w1s", "--backbone=resnet18")
    assert both == "--ckpt_path brings its network along: leave out --backbone"
    assert fails("predict", given, asked, "--reject=1") == "--reject must be between 0 and 1, not 1.0"
    assert "there is no checkpoint file 'mine.ckpt'" in fails("predict", given, asked, "--ckpt_path=mine.ckpt")
    for number, file in enumerate(support.files[::SHOTS]):
        (here / "single" / f"{number}").mkdir(parents=True)
        shutil.copy(file, here / "single" / f"{number}")
    message = fails("predict", "--support=single", asked, "--reject=0.05")
    assert message == "--reject learns from support pictures that are held out: give two or more of some classes"
    (here / "file").touch()
    assert fails("predict", given, asked, "--folder=file") == "--folder file cannot be written (File exists)"


def test_a_support_picture_that_cannot_be_read_is_named(support, query, fails):
    shutil.copytree(support.folder, "support")
    Path("support/disc/broken.jpg").write_bytes(b"no picture")
    message = fails("predict", "--support=support", f"--query={query.folder}")
    assert message.startswith("1 of the 13 pictures cannot be read: support/disc/broken.jpg (it is empty, damaged")

"""Omniglot's files: decoding, the cache, and what is said of files that are not as they should be.

On a small Omniglot of six characters.
"""

import shutil
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import REPOSITORY, png
from torchvision.datasets import utils as torchvision_utils

from fewshot.data import cache as cache_module
from fewshot.data import omniglot_files
from fewshot.data.omniglot_files import ARCHIVES, DRAWINGS, decode, download, find, load_omniglot
from fewshot.errors import FewShotError

CHARACTERS = {"images_background": 4, "images_evaluation": 2}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The archives, zipped; the drawings of a character have more and more ink."""
    monkeypatch.setattr(omniglot_files, "CHARACTERS", sum(CHARACTERS.values()))
    folder = tmp_path / "omniglot"
    folder.mkdir()
    for archive, characters in CHARACTERS.items():
        with zipfile.ZipFile(folder / f"{archive}.zip", "w") as file:
            for character in range(characters):
                for drawing in range(DRAWINGS):
                    paper = np.ones((105, 105), dtype=bool)
                    paper[: 4 * (drawing + 1), : 30 * (character % 3 + 1)] = False
                    place = f"{archive}/Alphabet{character % 2}/character{character + 1:02}"
                    file.writestr(f"{place}/{character:04}_{drawing + 1:02}.png", png(paper))
    return folder


def unpacked(root: Path, to: Path) -> Path:
    for archive in ARCHIVES:
        with zipfile.ZipFile(root / f"{archive}.zip") as file:
            file.extractall(to)
    return to


def test_drawings_are_decoded_in_order_with_ink_bright(root):
    store = decode(find(root))
    assert store.names[:3] == tuple(
        f"images_background/{name}"
        for name in ("Alphabet0/character01", "Alphabet0/character03", "Alphabet1/character02")
    )
    assert (store.images.shape, store.counts.tolist()) == ((120, 1, 28, 28), [20] * 6)
    ink = store.images.float().mean((1, 2, 3)) / 255
    # 30 of 105 columns wide, and 4, 8, ... of 105 rows high; pixels are rounded to 1/255.
    torch.testing.assert_close(ink[:20], 30 / 105 * 4 / 105 * torch.arange(1, 21), rtol=0, atol=1 / 255)
    assert (store.images[19, 0, 0, 0], store.images[19, 0, -1, -1]) == (255, 0)


def test_zipped_and_unpacked_archives_are_the_same(root, tmp_path):
    zipped = load_omniglot(root, tmp_path / "one.npz")
    folders = load_omniglot(unpacked(root, tmp_path / "folders"), tmp_path / "other.npz")
    assert zipped.names == folders.names
    assert torch.equal(zipped.images, folders.images)


def test_the_cache_serves_until_the_files_or_the_cache_change(root, tmp_path, monkeypatch):
    cache = tmp_path / "cache" / "omniglot.npz"
    first = load_omniglot(root, cache)
    decoded = []
    monkeypatch.setattr(omniglot_files, "decode", lambda sources: decoded.append(sources) or first)

    def load_as_a_new_process():
        cache_module._in_memory.clear()
        return load_omniglot(root, cache)

    assert load_omniglot(root, cache) is first  # once per process
    again = load_as_a_new_process()
    assert not decoded
    assert torch.equal(again.images, first.images)
    assert again.names == first.names

    (root / "images_background.zip").touch()
    load_omniglot(root, cache)
    assert len(decoded) == 1

    content = bytearray(cache.read_bytes())
    content[len(content) // 2] ^= 1  # one bit
    for damaged in (bytes(content), bytes(content[:1000]), b"nonsense", b""):
        cache.write_bytes(damaged)
        with pytest.warns(UserWarning, match="cannot be used"):
            load_as_a_new_process()
    assert len(decoded) == 5
    load_as_a_new_process()  # it was written anew
    assert len(decoded) == 5
    assert sorted(file.name for file in cache.parent.iterdir()) == ["omniglot.npz"]


def test_a_cache_that_cannot_be_kept_costs_a_warning(root, tmp_path):
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match="cannot be kept"):
        store = load_omniglot(root, tmp_path / "file" / "omniglot.npz")
    assert len(store) == 6


def test_missing_archives_are_downloaded_checked_and_put_in_place_whole(root, tmp_path, monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(root)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr(omniglot_files, "URL", f"http://127.0.0.1:{server.server_port}/")
    sums = {name: torchvision_utils.calculate_md5(root / f"{name}.zip") for name in ARCHIVES}
    monkeypatch.setattr(omniglot_files, "ARCHIVES", sums)
    download(tmp_path / "new")
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == [f"{name}.zip" for name in sums]

    monkeypatch.setattr(omniglot_files, "ARCHIVES", {**sums, "images_background": "0" * 32})
    with pytest.raises(FewShotError, match=r"neither in .* nor to be had"):
        download(tmp_path / "bad")
    assert not (tmp_path / "bad").exists()
    server.shutdown()


def test_without_archives_and_network_the_places_are_named(tmp_path, monkeypatch, fails):
    monkeypatch.setattr(omniglot_files, "URL", "http://127.0.0.1:9/")  # nothing listens there
    config = REPOSITORY / "configs" / "omniglot_maml.yaml"
    message = fails("fit", f"--config={config}", f"--data.root={tmp_path}", "--trainer.max_steps=1")
    for part in (str(tmp_path), "http://127.0.0.1:9/", "--data.root", "FEWSHOT_DATA", "--config glyphs_maml"):
        assert part in message
    assert not list(tmp_path.iterdir())


def test_a_truncated_archive_is_named(root, tmp_path):
    archive = root / "images_evaluation.zip"
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    with pytest.raises(FewShotError, match=r"images_evaluation.zip is damaged or no zip file"):
        load_omniglot(root, tmp_path / "cache.npz")


def test_a_foreign_archive_is_named(root, tmp_path):
    with zipfile.ZipFile(root / "images_evaluation.zip", "w") as file:
        file.writestr("holiday/beach.png", b"")
    with pytest.raises(FewShotError, match="hold 4 characters, not Omniglot's 6: get the official archives"):
        load_omniglot(root, tmp_path / "cache.npz")


def test_a_missing_archive_is_named(root):
    shutil.rmtree(root)
    with pytest.raises(FewShotError, match=r"missing .*images_background.zip and .*images_evaluation.zip"):
        find(root)


def test_a_missing_drawing_and_a_damaged_one_are_named(root, tmp_path):
    folders = unpacked(root, tmp_path / "folders")
    drawing = min((folders / "images_evaluation").glob("*/*/*.png"))
    drawing.write_bytes(b"\x89PNG nonsense")
    with pytest.raises(FewShotError, match="a drawing of Omniglot is damaged"):
        decode(find(folders))
    drawing.unlink()
    with pytest.raises(FewShotError, match="has 19 drawings, not 20"):
        decode(find(folders))

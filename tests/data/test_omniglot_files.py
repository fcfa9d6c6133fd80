"""Omniglot's files: decoding, the cache, and what is said of files that are not as they should be.

On a small Omniglot of six characters.
"""

import hashlib
import io
import shutil
import threading
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import REPOSITORY, TINY, png
from PIL import Image
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
    monkeypatch.setattr(omniglot_files, "PIXELS", {name: pixels(folder / f"{name}.zip") for name in ARCHIVES})
    return folder


def pixels(file: Path) -> str:
    """The checksum of an archive's drawings, by hand."""
    digest = hashlib.sha256()
    with zipfile.ZipFile(file) as archive:
        for entry in sorted(archive.namelist()):
            digest.update(entry.encode() + Image.open(archive.open(entry)).tobytes())
    return digest.hexdigest()


def md5(folder: Path) -> dict[str, str]:
    return {name: torchvision_utils.calculate_md5(folder / f"{name}.zip") for name in ARCHIVES}


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
    zipped = load_omniglot(root, tmp_path / "one.images")
    folders = load_omniglot(unpacked(root, tmp_path / "folders"), tmp_path / "other.images")
    assert zipped.names == folders.names
    assert torch.equal(zipped.images, folders.images)


def test_the_cache_serves_until_the_files_or_the_cache_change(root, tmp_path, monkeypatch):
    cache = tmp_path / "cache" / "omniglot.images"
    first = load_omniglot(root, cache)
    decoded = []
    monkeypatch.setattr(omniglot_files, "decode", lambda sources, verify: decoded.append(sources) or first)

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
    assert sorted(file.name for file in cache.parent.iterdir()) == ["omniglot.images"]


def test_a_cache_that_cannot_be_kept_costs_a_warning(root, tmp_path):
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match="cannot be kept"):
        store = load_omniglot(root, tmp_path / "file" / "omniglot.images")
    assert len(store) == 6


def test_missing_archives_are_downloaded_checked_and_put_in_place_whole(root, tmp_path, monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(root)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr(omniglot_files, "URL", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setattr(omniglot_files, "ARCHIVES", md5(root))
    download(tmp_path / "new")
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == [f"{name}.zip" for name in ARCHIVES]

    monkeypatch.setattr(omniglot_files, "ARCHIVES", {**md5(root), "images_background": "0" * 32})
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
        load_omniglot(root, tmp_path / "cache.images")


def test_a_foreign_archive_is_named(root, tmp_path):
    with zipfile.ZipFile(root / "images_evaluation.zip", "w") as file:
        file.writestr("holiday/beach.png", b"")
    with pytest.raises(FewShotError, match="hold 4 characters, not Omniglot's 6: get the official archives"):
        load_omniglot(root, tmp_path / "cache.images")


def test_a_missing_archive_is_named(root):
    shutil.rmtree(root)
    with pytest.raises(FewShotError, match=r"missing .*images_background.zip and .*images_evaluation.zip"):
        find(root)


def test_a_missing_drawing_and_a_damaged_one_are_named(root, tmp_path):
    folders = unpacked(root, tmp_path / "folders")
    drawing = min((folders / "images_evaluation").glob("*/*/*.png"))
    drawing.write_bytes(b"\x89PNG nonsense")
    with pytest.raises(FewShotError, match=r"images_evaluation/Alphabet0/character01/0000_01.png is damaged \(cannot"):
        decode(find(folders))
    drawing.unlink()
    with pytest.raises(FewShotError, match="has 19 drawings, not 20"):
        decode(find(folders))


def repacked(file: Path, change: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> None:
    """Changes what is in some entries of a zip file."""
    with zipfile.ZipFile(file) as archive:
        content = {entry: archive.read(entry) for entry in archive.namelist()} | change
    with zipfile.ZipFile(file, "w", compression) as archive:
        for entry, value in content.items():
            archive.writestr(entry, value)


ENTRY = "images_evaluation/Alphabet0/character01/0000_{:02}.png"


def test_an_archive_that_is_not_the_official_one_needs_a_word_of_the_user(root, tmp_path, monkeypatch, fails):
    first = load_omniglot(root, tmp_path / "cache.images")
    archive = root / "images_evaluation.zip"
    repacked(archive, {}, zipfile.ZIP_STORED)
    assert torch.equal(decode(find(root)).images, first.images)  # its drawings are the official ones
    with zipfile.ZipFile(archive) as file:
        one, other = (file.read(ENTRY.format(drawing)) for drawing in (1, 2))
    repacked(archive, {ENTRY.format(1): other, ENTRY.format(2): one})

    fit = ("fit", "--config=omniglot_maml", f"--data.root={root}", f"--data.cache_dir={tmp_path}/cache", *TINY)
    message = (
        f"the drawings in {archive} are not Omniglot's: get the official archives, or take it as it is with "
        "--data.verify false"
    )
    assert fails(*fit) == message
    with pytest.raises(FewShotError, match=rf"in {tmp_path}/folders/images_evaluation are not Omniglot's"):
        decode(find(unpacked(root, tmp_path / "folders")))
    # Taken as they are, the two drawings are swapped, and 6 characters are too few for 1100 of training.
    assert "5-way episodes need 5 classes, but the val split has 0" in fails(*fit, "--data.verify=false")
    altered = load_omniglot(root, tmp_path / "cache" / "omniglot.images", verify=False)
    (changed,) = (altered.images != first.images).flatten(1).any(1).nonzero().unbind(1)
    assert changed.tolist() == [80, 81]
    assert fails(*fit) == message  # what was taken so is not served to those who did not say so
    monkeypatch.setattr(omniglot_files, "ARCHIVES", md5(root))
    assert torch.equal(decode(find(root)).images, altered.images)  # the published file is right whatever it holds


def sized(drawing: bytes, size: int) -> bytes:
    """A PNG whose header says that it is larger."""
    header = drawing[12:16] + 2 * size.to_bytes(4, "big") + drawing[24:29]
    return drawing[:12] + header + zlib.crc32(header).to_bytes(4, "big") + drawing[33:]


def picture(mode: str, size: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (size, size)).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message", "may_be"),
    [
        (picture("1", 1), "is a PNG of 1 x 1 in mode 1, not a PNG of 105 x 105 in mode 1: ", True),
        (picture("RGBA", 105), "is a PNG of 105 x 105 in mode RGBA, not a PNG of 105 x 105 in mode 1: ", True),
        (picture("L", 105, "JPEG"), "is a JPEG of 105 x 105 in mode L, not a PNG", False),
        (sized(picture("1", 105), 20_000), r"is damaged \(Image size \(400000000 pixels\) exceeds limit", False),
        (sized(picture("1", 105), 10_000), r"is damaged \(Image size \(100000000 pixels\) exceeds limit", False),
        (bytes(1_000_001), r"has more than 1000000 bytes", False),
        (b"", "is damaged", False),
    ],
    ids=["small", "colour", "JPEG", "bomb", "large", "long", "empty"],
)
def test_a_drawing_of_another_kind_is_named(root, tmp_path, content, message, may_be):
    folders = unpacked(root, tmp_path / "folders")
    (folders / ENTRY.format(3)).write_bytes(content)
    with pytest.raises(FewShotError, match=rf"^[^\n]*0000_03.png .*{message}[^\n]*$"):
        decode(find(folders))
    if may_be:
        assert decode(find(folders), verify=False).images.shape == (120, 1, 28, 28)
    else:
        with pytest.raises(FewShotError, match=rf"0000_03.png .*{message}"):
            decode(find(folders), verify=False)


def test_a_zip_bomb_is_refused_by_what_it_says_and_by_what_it_is(root):
    archive, bomb = root / "images_evaluation.zip", bytes(50_000_000)
    repacked(archive, {ENTRY.format(3): bomb})
    with pytest.raises(FewShotError, match=r"0000_03.png has 50000000 bytes, more than 1000000\)"):
        decode(find(root), verify=False)
    size, small = len(bomb).to_bytes(4, "little"), (500).to_bytes(4, "little")
    archive.write_bytes(archive.read_bytes().replace(size, small))
    with pytest.raises(FewShotError, match=r"is damaged or no zip file \(Bad CRC-32 for file '.*0000_03.png'\)"):
        decode(find(root), verify=False)
    repacked(archive.with_stem("images_background"), {}, zipfile.ZIP_BZIP2)  # whose size zipfile cannot limit
    with pytest.raises(FewShotError, match=r"0000_01.png is neither stored nor deflated"):
        decode(find(root), verify=False)


@pytest.fixture
def smallest(root, tmp_path, monkeypatch) -> Path:
    """Archives of one character with one drawing each."""
    monkeypatch.setattr(omniglot_files, "CHARACTERS", 2)
    monkeypatch.setattr(omniglot_files, "DRAWINGS", 1)
    monkeypatch.setattr(omniglot_files, "track", lambda characters, *_, **__: characters)
    folder = tmp_path / "smallest"
    folder.mkdir()
    for archive in ARCHIVES:
        with zipfile.ZipFile(root / f"{archive}.zip") as many, zipfile.ZipFile(folder / f"{archive}.zip", "w") as one:
            entry = many.namelist()[7]
            one.writestr(entry, many.read(entry), zipfile.ZIP_DEFLATED)
    return folder


def damages(content: bytes, count: int) -> Iterator[bytes]:
    """Flips a byte, or cuts the end off, at random places."""
    rng = np.random.default_rng(0)
    for place, flip in zip(rng.integers(len(content), size=count).tolist(), rng.integers(256, size=count).tolist()):
        yield content[:place] + bytes([content[place] ^ flip] if flip else []) + content[place + 1 :]
        yield content[:place]


def test_damaged_bytes_are_one_line_or_change_nothing(smallest, tmp_path):
    whole = decode(find(smallest), verify=False)
    folders = unpacked(smallest, tmp_path / "folders")
    refused = []
    for root, file in ((smallest, smallest / "images_evaluation.zip"), (folders, next(folders.rglob("*.png")))):
        content = file.read_bytes()
        for damaged in damages(content, 150):
            file.write_bytes(damaged)
            try:
                store = decode(find(root), verify=False)
            except FewShotError as error:
                refused.append(str(error))
            else:
                assert store.names == whole.names
                assert torch.equal(store.images, whole.images)
        file.write_bytes(content)
    assert len(refused) > 400
    assert "\n" not in "".join(refused)

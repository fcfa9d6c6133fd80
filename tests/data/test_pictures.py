"""Pictures of every kind: found, read, and brought to one size and colour."""

import io
import os
import struct
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.transforms import v2

from fewshot.data import pictures
from fewshot.data.drawings import LARGEST, as_drawing
from fewshot.data.pictures import formats, pictures_by_class, pictures_in, read_picture, without_pictures
from fewshot.errors import FewShotError

RED, WHITE = (255, 0, 0), (255, 255, 255)


def save(path: Path, picture: Image.Image, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)
    return path


def colour(pixels: np.ndarray) -> list[int]:
    """The one colour that all pixels have, but for the losses of JPEG."""
    assert (pixels.max((1, 2)) - pixels.min((1, 2))).max() <= 1
    return pixels[:, 0, 0].tolist()


# --- reading


def of_mode(mode: str) -> Image.Image:
    """A red picture, or where there is no red a gray one of 128 of 255; half transparent if it can be."""
    if mode in ("L", "LA"):
        return Image.new("L", (9, 7), 128).convert(mode)
    if mode in ("I;16", "I", "F"):
        wide = np.full((7, 9), 128 * 257, {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode])
        wide[0, 0], wide[6, 8] = 0, 65535  # the corners, which are not looked at
        return Image.fromarray(wide)
    if mode == "RGBA":
        return Image.new("RGBA", (9, 7), (*RED, 128))
    return Image.new("RGB", (9, 7), RED).convert(mode)


@pytest.mark.parametrize(
    ("name", "mode", "expected"),
    [
        ("a.png", "RGB", [255, 0, 0]),
        ("a.bmp", "RGB", [255, 0, 0]),
        ("a.webp", "RGB", [254, 0, 0]),
        ("a.ppm", "RGB", [255, 0, 0]),
        ("a.png", "P", [255, 0, 0]),
        ("a.gif", "P", [255, 0, 0]),
        ("a.png", "RGBA", [255, 127, 127]),  # on white
        ("a.png", "L", [128] * 3),
        ("a.png", "LA", [128] * 3),
        ("a.pgm", "L", [128] * 3),
        ("a.png", "I;16", [128] * 3),
        ("a.tif", "I;16", [128] * 3),
        ("a.pgm", "I", [128] * 3),
        ("a.tif", "F", [128] * 3),  # from the darkest to the brightest
        ("a.jpg", "CMYK", [254, 0, 0]),
        ("a.tif", "CMYK", [255, 0, 0]),
        ("a.jpeg", "YCbCr", [254, 0, 0]),
    ],
)
def test_every_mode_becomes_colour_and_gray(tmp_path, name, mode, expected):
    file = save(tmp_path / name, of_mode(mode))
    pixels = read_picture(file, 3, crop=0.3)
    assert (pixels.shape, pixels.dtype) == ((3, 3, 3), np.uint8)
    assert colour(pixels) == pytest.approx(expected, abs=1)
    gray = read_picture(file, 3, channels=1, crop=0.3)
    assert gray.shape == (1, 3, 3)
    assert colour(gray) == pytest.approx([np.dot(expected, [0.299, 0.587, 0.114])], abs=2)


def test_one_bit_and_two_are_black_and_white(tmp_path):
    paper = np.ones((8, 8), dtype=bool)
    paper[:, :4] = False
    for name in ("a.png", "a.pbm", "a.tif"):
        pixels = read_picture(save(tmp_path / name, Image.fromarray(paper)), 8, channels=1)
        assert np.array_equal(pixels[0], 255 * paper)


def test_what_is_transparent_is_white_however_it_is_said(tmp_path):
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([10, 20, 30])
    files = [
        save(tmp_path / "rgba.png", clear),
        save(tmp_path / "la.png", clear.convert("LA")),
        save(tmp_path / "palette.png", palette, transparency=0),
        save(tmp_path / "palette.gif", palette, transparency=0),
        save(tmp_path / "key.png", Image.new("RGB", (8, 8), RED), transparency=RED),
    ]
    for file in files:
        assert colour(read_picture(file, 4)) == [*WHITE], file.name


def test_the_first_picture_of_a_film_is_taken(tmp_path):
    film = [Image.new("RGB", (8, 8), shade) for shade in (RED, WHITE)]
    assert colour(read_picture(save(tmp_path / "a.gif", film[0], save_all=True, append_images=film[1:]), 4)) == [*RED]


ARROW = np.zeros((6, 8), dtype=np.uint8)
ARROW[0, 2:6] = ARROW[1:3, 3] = 255  # no two of its rotations and mirror images are the same


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_upright_as_its_camera_says(tmp_path, orientation):
    turn = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # as the camera held it
    arrow = Image.fromarray(ARROW)
    held = arrow if turn is None else arrow.transpose(Image.Transpose(turn))
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = read_picture(save(tmp_path / "a.png", held, exif=exif), 6, channels=1)
    assert np.array_equal(pixels[0], ARROW[:, 1:7])
    with Image.open(tmp_path / "a.png") as opened:
        assert np.array_equal(read_picture(opened, 6, channels=1), pixels)


def test_damaged_exif_data_leave_a_picture_as_it_is(tmp_path):
    file = save(tmp_path / "a.jpg", Image.new("RGB", (8, 8), RED), exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12")
    assert colour(read_picture(file, 4)) == pytest.approx([*RED], abs=1)


def test_the_shorter_side_is_resized_and_the_middle_cut_out():
    stripes = np.repeat([10, 50, 90], 20).astype(np.uint8)  # 60 long, each 20 wide
    wide = Image.fromarray(np.tile(stripes, (20, 1)))
    assert (read_picture(wide, 5, channels=1)[0, :, 1:4] == 50).all()  # at its rims are its neighbours
    assert (read_picture(wide.transpose(Image.Transpose.ROTATE_90), 5, channels=1)[0, 1:4] == 50).all()
    assert (read_picture(wide, 5, channels=1, crop=0.5) == 50).all()
    assert read_picture(Image.new("L", (1, 1), 7), 4).tolist() == [[[7] * 4] * 4] * 3


@pytest.mark.parametrize("resampling", ["bilinear", "bicubic"])
@pytest.mark.parametrize("crop", [1.0, 0.875])
def test_it_is_what_torchvision_does(resampling, crop):
    noise = Image.fromarray(np.random.default_rng(0).integers(256, size=(64, 96, 3), dtype=np.uint8))
    theirs = v2.Compose(
        [
            v2.Resize(round(28 / crop), interpolation=v2.InterpolationMode(resampling)),
            v2.CenterCrop(28),
            v2.PILToTensor(),
        ]
    )(noise)
    ours = torch.from_numpy(read_picture(noise, 28, crop=crop, resampling=resampling))
    assert (ours.int() - theirs.int()).abs().max() <= 2  # they round once more between resizing along x and cutting


def test_a_large_jpeg_is_decoded_smaller_with_no_difference_to_be_seen(tmp_path):
    rows = np.linspace(0, 255, 1200)
    scene = np.stack(np.broadcast_arrays(rows[:, None], rows[None, :900], 128), axis=-1).astype(np.uint8)
    file = save(tmp_path / "a.jpg", Image.fromarray(scene))
    with Image.open(file) as opened:
        whole = opened.convert("RGB")
    difference = read_picture(file, 84).astype(int) - read_picture(whole, 84)
    assert abs(difference).max() <= 3


def test_a_picture_in_memory_is_not_changed(tmp_path):
    with Image.open(save(tmp_path / "a.jpg", Image.new("RGB", (400, 300), RED))) as opened:
        read_picture(opened, 16)
        assert opened.size == (400, 300)


# --- what cannot be read


def content(kind: str, size: int = 40) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(256, size=(size, size, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, kind)
    return file.getvalue()


def bomb(side: int) -> bytes:
    """A small PNG whose header says that it is large."""
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    whole = content("PNG")
    return whole[:12] + header + struct.pack(">I", zlib.crc32(header)) + whole[33:]


@pytest.mark.filterwarnings("ignore:Image size")
@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is empty, damaged or of a kind that Pillow does not know"),
        (b"nonsense", "it is empty, damaged or of a kind"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it is empty, damaged or of a kind"),  # runs a program
        (content("JPEG")[:900], "truncated"),
        (content("PNG")[:900], "truncated"),
        (content("GIF")[:60], "."),
        (bomb(10_000), "10000 x 10000 are more than 89478485 pixels"),
        (bomb(20_000), "Image size .400000000 pixels. exceeds limit"),
    ],
    ids=["empty", "nonsense", "postscript", "short jpeg", "short png", "short gif", "large", "bomb"],
)
def test_what_cannot_be_read_is_one_line(tmp_path, data, why):
    file = tmp_path / "a.png"
    file.write_bytes(data)
    with pytest.raises(FewShotError, match=rf"^{file} cannot be read as a picture \([^\n]*{why}[^\n]*\)$"):
        read_picture(file, 8)


def test_a_file_that_is_not_there_or_not_finite_is_one_line(tmp_path):
    with pytest.raises(FewShotError, match=rf"^{tmp_path}/none.png cannot be read as a picture \(No such file or dir"):
        read_picture(tmp_path / "none.png", 8)
    picture = Image.fromarray(np.full((4, 4), np.nan, dtype=np.float32))
    with pytest.raises(
        FewShotError, match=r"^the picture cannot be read as a picture \(it has pixels that are not fin"
    ):
        read_picture(picture, 8)


def test_pictures_of_an_iphone_are_read_by_pillow_heif_or_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "OPEN", {name: how for name, how in Image.OPEN.items() if name != "HEIF"})
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # is not installed
    pictures._register_heif.cache_clear()
    file = save(tmp_path / "a.png", Image.new("RGB", (8, 8), "red")).rename(tmp_path / "IMG_1.HEIC")
    assert colour(read_picture(file, 8)) == [255, 0, 0]  # whatever its name says
    file.write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(FewShotError, match=r"IMG_1.HEIC cannot be .* \(to read it takes pillow-heif: pip install"):
        read_picture(file, 8)
    opener = SimpleNamespace(register_heif_opener=lambda: Image.OPEN.update(HEIF=Image.OPEN["PNG"]))
    monkeypatch.setitem(sys.modules, "pillow_heif", opener)
    pictures._register_heif.cache_clear()  # as in a new process
    assert "HEIF" in formats()


def test_any_picture_becomes_a_drawing_or_says_why_not(monkeypatch):
    with pytest.raises(FewShotError, match=r"^the picture cannot be read as a picture \(conversion from LAB"):
        as_drawing(Image.new("LAB", (8, 8)))
    really, sides = ImageOps.pad, []
    monkeypatch.setattr(ImageOps, "pad", lambda image, size, **how: sides.append(size) or really(image, size, **how))
    assert as_drawing(Image.new("L", (20_000, 20), 255)).shape == (1, 28, 28)
    assert sides == [(LARGEST, LARGEST)]  # not 400 million pixels


# --- finding


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def found(root: Path) -> dict[str, list[str]]:
    return {name: [file.name for file in files] for name, files in pictures_by_class(root).items()}


def test_a_class_is_a_folder_with_pictures_at_any_depth_in_order(tmp_path):
    touch(tmp_path, "dogs/b.JPG", "dogs/a.png", "dogs/10.webp", "dogs/notes.txt", "dogs/puppies/c.gif")
    touch(tmp_path, "birds/owls/barn/d.tiff", "猫/é.jpeg", "two words/e f.bmp", "stray.png", "texts/only.txt")
    (tmp_path / "empty").mkdir()
    assert found(tmp_path) == {
        "birds/owls/barn": ["d.tiff"],
        "dogs": ["10.webp", "a.png", "b.JPG"],
        "dogs/puppies": ["c.gif"],
        "two words": ["e f.bmp"],
        "猫": ["é.jpeg"],
    }
    assert [*found(tmp_path)] == sorted(found(tmp_path))
    assert pictures_in(tmp_path) == [tmp_path / "stray.png"]


def test_hidden_files_and_what_systems_leave_are_not_pictures(tmp_path):
    touch(tmp_path, "a/1.jpg", "a/.DS_Store", "a/._1.jpg", "a/Thumbs.db", "a/@eaDir/1.jpg", "__MACOSX/a/1.jpg")
    touch(tmp_path, ".hidden/1.jpg", "a/.thumbnails/1.jpg")
    (tmp_path / "a" / "folder.jpg").mkdir()
    assert found(tmp_path) == {"a": ["1.jpg"]}


def test_links_are_followed_but_not_in_circles(tmp_path):
    touch(tmp_path, "elsewhere/lions/1.jpg", "root/cats/1.jpg")
    root = tmp_path / "root"
    (root / "lions").symlink_to(tmp_path / "elsewhere" / "lions")
    (root / "cats" / "2.jpg").symlink_to(tmp_path / "elsewhere" / "lions" / "1.jpg")
    (root / "cats" / "circle").symlink_to(root)
    (root / "cats" / "3.jpg").symlink_to(tmp_path / "nowhere.jpg")  # reading it will say so
    assert found(root) == {"cats": ["1.jpg", "2.jpg", "3.jpg"], "lions": ["1.jpg"]}


def test_folders_without_pictures_and_links_to_nothing_are_known(tmp_path):
    touch(tmp_path, "birds/owls/1.jpg", "texts/only.txt", "deep/er/notes.txt", ".hidden/x.txt")
    (tmp_path / "empty").mkdir()
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "itself").symlink_to(tmp_path / "itself")
    assert without_pictures(tmp_path) == ["deep", "deep/er", "empty", "gone", "itself", "texts"]
    assert found(tmp_path) == {"birds/owls": ["1.jpg"]}


def test_no_folder_is_one_line(tmp_path):
    touch(tmp_path, "file")
    for place, message in (("none", "there is no folder .*/none"), ("file", "cannot be looked into .*Not a directory")):
        with pytest.raises(FewShotError, match=message):
            pictures_by_class(tmp_path / place)
    with pytest.raises(FewShotError, match=r"cannot be looked into .*null"):
        pictures_by_class("null\0")
    if os.geteuid():  # nothing is closed to root
        (tmp_path / "closed").mkdir(mode=0)
        with pytest.raises(FewShotError, match=r"closed cannot be looked into .*Permission denied"):
            pictures_by_class(tmp_path)

"""Glyphs: letters of real alphabets, rendered from a font that is always at hand. Nothing to download."""

import unicodedata
import zlib
from pathlib import Path

import matplotlib
import numpy as np
import PIL
import torch
import torch.nn.functional as F
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

import fewshot
from fewshot.data.cache import cache_folder, cached
from fewshot.data.drawings import SIZE, as_drawing
from fewshot.data.images import ImageDataModule
from fewshot.data.store import ImageStore

# First words of the Unicode names of the letters. Braille is left out: its patterns differ by position alone, which
# the drawings vary.
ALPHABETS = "ARABIC ARMENIAN CANADIAN COPTIC CYRILLIC GEORGIAN GREEK HEBREW LAO LATIN LISU NKO OGHAM TIFINAGH".split()
DRAWINGS = 20
CANVAS = 2 * SIZE
SEED = 0  # of the strokes


class GlyphsDataModule(ImageDataModule):
    """Letters of 14 alphabets, each "drawn" 20 times by random affine and elastic strokes; 28 x 28, ink bright.

    Rendered once, in a few seconds, from the DejaVu Sans that comes with matplotlib: a stand-in with Omniglot's shapes
    and interface for first runs, tests, and machines without a network. Split at random by ``split_seed``: 70 % of the
    characters for training, 10 % for validation, 20 % for test. Some Canadian syllabics are rotations of one
    another, so ``rotations`` would make different classes of the same glyph.
    """

    def load(self) -> ImageStore:
        """All characters, rendered once for all."""
        path = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
        versions = (matplotlib.__version__, PIL.__version__, torch.__version__, fewshot.__version__)
        key = f"{zlib.crc32(path.read_bytes()):08x} {versions}"
        return cached(cache_folder() / "glyphs.images", key, lambda _: render().parts()).store

    def example(self, picture: Image.Image) -> np.ndarray:
        """A picture of a letter, dark on light or light on dark, as a glyph: ``uint8`` ``[1, 28, 28]``."""
        return as_drawing(picture)

    def split_name(self) -> str:
        """``glyphs/random``."""
        return "glyphs/random"


def render() -> ImageStore:
    """Renders and draws all glyphs, twenty times each, named ``glyphs/ALPHABET/U+XXXX``."""
    path = str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))
    font = ImageFont.truetype(path, 4 * SIZE // 3)
    stencils: dict[bytes, tuple[str, np.ndarray]] = {}
    for code in sorted(FT2Font(path).get_charmap()):
        letter = chr(code)
        alphabet = unicodedata.name(letter, "").partition(" ")[0]
        accented = unicodedata.decomposition(letter)
        if alphabet in ALPHABETS and unicodedata.category(letter).startswith("L") and not accented:
            stencil = _stencil(letter, font)
            # Alphabets share shapes, A of the Latin and the Greek among them: the first one keeps it.
            stencils.setdefault(stencil.tobytes(), (f"glyphs/{alphabet.title()}/U+{code:04X}", stencil))
    names, arrays = zip(*stencils.values())
    drawings = _draw(torch.from_numpy(np.stack(arrays)))
    return ImageStore.of_rows(drawings.flatten(0, 1).unsqueeze(1), [DRAWINGS] * len(names), names)


def _stencil(letter: str, font: ImageFont.FreeTypeFont) -> np.ndarray:
    """The letter in the middle of a square canvas, shrunk if it is larger."""
    left, top, right, bottom = font.getbbox(letter)
    size = max(int(right - left), int(bottom - top), CANVAS - 12) + 8
    image = Image.new("L", (size, size))
    ImageDraw.Draw(image).text(((size - left - right) / 2, (size - top - bottom) / 2), letter, fill=255, font=font)
    return np.asarray(image.resize((CANVAS, CANVAS), Image.Resampling.LANCZOS))


def _draw(stencils: Tensor) -> Tensor:
    """Draws each of the stencils ``[characters, H, W]`` twenty times: ``[characters, 20, 28, 28]``."""
    generator = torch.Generator().manual_seed(SEED)
    ink = F.avg_pool2d(stencils.float().unsqueeze(1) / 255, 3, stride=1, padding=1)
    count = len(ink)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    drawings = []
    for _ in range(DRAWINGS):
        angle, shear = uniform(-0.2, 0.2), uniform(-0.25, 0.25)
        width, height = uniform(0.85, 1.25), uniform(0.85, 1.25)
        shift_x, shift_y = uniform(-0.1, 0.1), uniform(-0.1, 0.1)
        affine = torch.stack(
            [
                torch.stack([width * angle.cos(), shear - angle.sin(), shift_x], dim=1),
                torch.stack([angle.sin(), height * angle.cos(), shift_y], dim=1),
            ],
            dim=1,
        )
        waves = 0.06 * torch.randn(count, 2, 5, 5, generator=generator)
        waves = F.interpolate(waves, size=(CANVAS, CANVAS), mode="bicubic", align_corners=False)
        grid = F.affine_grid(affine, [count, 1, CANVAS, CANVAS], align_corners=False) + waves.permute(0, 2, 3, 1)
        strokes = F.grid_sample(ink, grid, align_corners=False)
        pen = uniform(0.2, 0.5)[:, None, None, None]  # a lower threshold is a broader pen
        strokes = ((strokes - pen) * 6 + 0.5).clamp(0, 1)
        drawings.append((F.avg_pool2d(strokes, 2) * 255).round().to(torch.uint8))
    return torch.cat(drawings, dim=1)

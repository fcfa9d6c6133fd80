"""One file per data set: each a LightningDataModule over the same episodes."""

from fewshot.data.base import EpisodicDataModule
from fewshot.data.glyphs import GlyphsDataModule
from fewshot.data.images import ClassImages, ImageDataModule
from fewshot.data.omniglot import OmniglotDataModule
from fewshot.data.sinusoid import SinusoidDataModule

__all__ = [
    "ClassImages",
    "EpisodicDataModule",
    "GlyphsDataModule",
    "ImageDataModule",
    "OmniglotDataModule",
    "SinusoidDataModule",
]

"""One file per data set: each a LightningDataModule over the same episodes."""

from fewshot.data.base import ClassImages, EpisodicDataModule
from fewshot.data.glyphs import GlyphsDataModule
from fewshot.data.omniglot import OmniglotDataModule

__all__ = ["ClassImages", "EpisodicDataModule", "GlyphsDataModule", "OmniglotDataModule"]

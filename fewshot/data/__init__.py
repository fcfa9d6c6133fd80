"""One file per data set: each a LightningDataModule over the same episodes."""

from fewshot.data.base import EpisodicDataModule
from fewshot.data.folders import FolderDataModule
from fewshot.data.glyphs import GlyphsDataModule
from fewshot.data.image_episodes import ImageEpisodes
from fewshot.data.images import ImageDataModule
from fewshot.data.omniglot import OmniglotDataModule
from fewshot.data.sinusoid import SinusoidDataModule
from fewshot.data.splits import random_split
from fewshot.data.store import ImageStore

"""Glyphs: what is rendered looks like handwriting."""

import pytest
import torch

from fewshot.data import GlyphsDataModule, cache, glyphs


def test_glyphs_look_like_omniglot():
    data = GlyphsDataModule()
    data.setup("fit")
    store = data.load()
    assert store.example_shape == (1, 28, 28)
    assert set(store.counts.tolist()) == {20}
    assert len(set(store.names)) == len(store) > 1000
    assert "glyphs/Greek/U+03A9" in store.names
    assert len(store.groups()) == 14  # alphabets
    assert not set(data.classes["train"]) & set(data.classes["test"])
    images = store.images.view(-1, 20, 28, 28)
    ink = images.float().mean((-1, -2)) / 255
    assert ink.min() > 0  # no drawing is empty
    assert 0.02 < ink.mean() < 0.2
    # Twenty drawings of a character differ, and are closer to one another than to those of other characters.
    flat = images[:200].flatten(2).float()
    assert (flat[:, 0] != flat[:, 1]).any(-1).all()
    within = (flat[:, 0] - flat[:, 1]).norm(dim=-1).mean()
    between = (flat[:, 0] - flat[:, 1].roll(100, 0)).norm(dim=-1).mean()
    assert within < between


def test_they_are_rendered_once_for_all_processes(monkeypatch):
    first = GlyphsDataModule().load()
    cache._in_memory.clear()
    monkeypatch.setattr(glyphs, "render", lambda: pytest.fail("rendered again"))
    again = GlyphsDataModule().load()
    assert again.names == first.names
    assert torch.equal(again.images, first.images)

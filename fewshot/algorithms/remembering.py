"""Embedding an image once in an evaluation, whose episodes draw the same images again and again."""

from collections.abc import Callable
from hashlib import blake2b

import torch
from torch import Tensor

MOST_BYTES = 2**27
"""Of embeddings: half a million of Conv4's. What comes after that is embedded whenever it comes."""


class Remembering:
    """Embeddings by the content of their images.

    They are those of one network with one set of weights: an evaluation begins with an empty one.

    Attributes:
        known: The embeddings, ``[D]`` each, by a digest of their images' bytes.
        nbytes: Of all of them.
    """

    def __init__(self) -> None:
        self.known: dict[bytes, Tensor] = {}
        self.nbytes = 0

    def __call__(self, embed: Callable[[Tensor], Tensor], images: Tensor, at_once: int) -> Tensor:
        """Embeds what is new, and recalls the rest.

        Args:
            embed: From images ``[n, C, H, W]``, each on its own, to ``[n, D]``.
            images: ``[n, C, H, W]``, on the CPU: a device would have to be waited for.
            at_once: New images to embed at once.

        Returns:
            ``[n, D]``.
        """
        digests = [blake2b(image, digest_size=16).digest() for image in as_bytes(images)]
        new = {digest: number for number, digest in enumerate(digests) if digest not in self.known}
        fresh: dict[bytes, Tensor] = {}
        if new:
            embedded = torch.cat([embed(part) for part in images[list(new.values())].split(at_once)])
            fresh = dict(zip(new, embedded))
            if self.nbytes + embedded.nbytes <= MOST_BYTES:
                self.known.update(fresh)
                self.nbytes += embedded.nbytes
        return torch.stack([fresh[digest] if digest in fresh else self.known[digest] for digest in digests])


def as_bytes(images: Tensor) -> list[memoryview]:
    """The bytes of each image, whatever their type."""
    return [image.data for image in images.flatten(1).contiguous().view(torch.uint8).numpy()]

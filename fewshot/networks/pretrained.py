"""Pretrained backbones: every network of timm for images, frozen or tuned."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from fewshot.errors import FewShotError, at_least_one, blaming
from fewshot.networks.backbones import EMBEDDED, import_timm, make_backbone
from fewshot.networks.base import Embedding

Tune = Literal["none", "norm", "all"]

IMAGES_AT_ONCE = 64
"""Images that a frozen backbone embeds at once: so many thousands need no more memory."""


class PretrainedEmbedding(Embedding):
    """A backbone that others have trained on millions of images, as timm has it.

    Wightman, 2019, PyTorch Image Models, https://github.com/huggingface/pytorch-image-models. Images come as numbers
    from 0 to 1; the network normalises them as its training did, and repeats gray ones in three channels. Batch norm
    normalises by the statistics that come with the weights, each image on its own, unless ``all`` is tuned: then as in
    any network that keeps running statistics. MAML wants ``--model.batch_norm running`` on it.

    Attributes:
        backbone: The network of timm, without its head.
        image_size: Side of the images that it wants, in pixels.
        crop: The share of a picture's shorter side that its training looked at, 0 to 1.
        interpolation: How pictures are resized for it: ``bicubic`` or ``bilinear``.

    Args:
        backbone: ``efficientnet_lite0``, whose ImageNet weights come with the extra ``backbones`` (4.7 million
            parameters; Google's, of 2020); or a name of timm, such as ``vit_small_patch14_dinov2.lvd142m``; or a folder
            with ``config.json`` and ``model.safetensors``, written with a slash: ``./mine``.
        tune: What is learned: nothing (``none``), scales and shifts of all normalisation layers (``norm``; Basu et
            al., 2023, Strong Baselines for Parameter Efficient Few-Shot Fine-tuning, https://arxiv.org/abs/2304.01917),
            or ``all`` weights.
        download: Whether the weights may be downloaded if they are not on this machine. Nothing else uses the network.
        image_size: Resize images to this side, in pixels. If not given, they are taken as they are, but by backbones
            that know one size alone, such as vision transformers: these resize to their own.

    Raises:
        FewShotError: If timm is not installed, there is no such backbone, its weights are not at hand, or there is
            nothing in it to tune.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        backbone: str = EMBEDDED,
        tune: Tune = "none",
        download: bool = False,
        image_size: int | None = None,
    ) -> None:
        super().__init__()
        if image_size is not None:
            at_least_one(image_size=image_size)
        network: Any = make_backbone(backbone, download)
        config = import_timm().data.resolve_model_data_config(network)
        fixed = network.pretrained_cfg.get("fixed_input_size", False) or hasattr(network, "patch_embed")
        if fixed and image_size is not None:
            with blaming(f"--model.network.image_size {image_size}"), torch.no_grad():
                network.set_input_size(img_size=image_size)
                network.eval()(torch.zeros(1, config["input_size"][0], image_size, image_size))  # not all can be
        self.backbone = network
        self.resizes = fixed or image_size is not None
        self.channels, *sides = config["input_size"]
        self.image_size: int = image_size or min(sides)
        self.crop: float = config["crop_pct"]
        self.interpolation: str = config["interpolation"]
        self.out_features = getattr(network, "head_hidden_size", network.num_features)
        for name, values in {"mean": config["mean"], "deviation": config["std"]}.items():
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1))
        self.set_tune(tune)

    def set_tune(self, tune: Tune) -> None:
        """Chooses what is learned.

        Raises:
            FewShotError: If there is nothing in the backbone to tune.
        """
        self.tune: Tune = tune
        self.backbone.requires_grad_(tune == "all")
        if tune == "norm":
            affine = affine_parameters(self.backbone)
            if not affine:
                raise FewShotError("the backbone has no normalisation layers to tune: --model.network.tune none or all")
            for parameter in affine:
                parameter.requires_grad_(True)
        self.train(self.training)

    def train(self, mode: bool = True) -> "PretrainedEmbedding":
        """Sets training mode; a backbone of which not all is tuned stays in evaluation mode."""
        super().train(mode)
        if self.tune != "all":
            self.backbone.eval()
        return self

    def forward(self, x: Tensor, support_size: int | None = None) -> Tensor:
        """Embeds images ``[n, 1 or 3, H, W]`` of 0 to 1 as ``[n, out_features]``, each on its own."""
        x = self.prepared(x)
        return _Frozen.apply(x, self.backbone) if self.tune == "none" else self.backbone(x)

    def prepared(self, x: Tensor) -> Tensor:
        """Images as the backbone takes them: in colour, of its size, normalised; ``[n, channels, H, W]``."""
        if x.ndim != 4 or x.shape[1] not in (1, self.channels):
            raise FewShotError(
                f"the network takes images of 1 or {self.channels} channels, and the data have examples of shape "
                f"{list(x.shape[1:])}: choose another --model.network"
            )
        size = (self.image_size, self.image_size)
        if self.resizes and x.shape[2:] != size:
            x = F.interpolate(x, size=size, mode=self.interpolation, antialias=True).clamp(0, 1)
        return (x.expand(-1, self.channels, -1, -1) - self.mean) / self.deviation


def affine_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Scales and shifts of all normalisation layers of torch and of timm."""
    norms = (
        module
        for module in network.modules()
        if "norm" in type(module).__name__.lower() and type(module).__module__.startswith(("torch.nn.", "timm.layers."))
    )
    return [parameter for norm in norms for parameter in norm.parameters(recurse=False)]


class _Frozen(Function):
    """A network that nothing is learned of, and that maps each image on its own: no graph, and tasks are but images."""

    @staticmethod
    def forward(x: Tensor, network: nn.Module) -> Tensor:
        return torch.cat([network(part) for part in x.split(IMAGES_AT_ONCE)])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.mark_non_differentiable(output)

    @staticmethod
    def backward(ctx: Any, *_: Any) -> tuple[None, None]:
        return None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int, None], x: Tensor, network: nn.Module) -> tuple[Tensor, int]:
        x = x.movedim(in_dims[0], 0)  # [T, n, C, H, W]
        return _Frozen.apply(x.flatten(0, 1), network).unflatten(0, x.shape[:2]), 0

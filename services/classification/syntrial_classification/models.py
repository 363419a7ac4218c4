"""Classifiers: a small convolutional network made for 28 px, and any timm model by name.

A model is made from (name, stem, classes, channels, side, seed) alone; its logits are float32 (N, K).
"""

import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from syntrial.errors import UserError
from syntrial.v1.classification_pb2 import ClassifierModel
from syntrial_classification.streams import word_of

SMALL_CNN = "small-cnn"
SMALL_SIDE = 64
"""Images with fewer pixels a side get the small-image stem."""

_WIDTHS = (32, 48, 64, 128)
_INITIALISATION = 21


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """All that it takes to build the network again; stored in classifier.json."""

    name: str
    small_stem: bool
    classes: int
    channels: int
    side: int

    def json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


class SmallCnn(nn.Module):
    """Four 3×3 convolutions with batch norm at a quarter of the pixels: blocks of pixels are folded into channels.

    Folding 2×2 pixels keeps every grey value and halves the side before the first convolution, where most of the
    usual network's time goes. Images of 48 pixels a side and more are folded by 4.
    """

    def __init__(self, *, channels: int, classes: int, side: int) -> None:
        super().__init__()
        self.fold = 2 if side < 48 else 4
        layers: list[nn.Module] = []
        width = channels * self.fold**2
        for level, out in enumerate(_WIDTHS):
            if level == len(_WIDTHS) // 2:
                layers.append(nn.MaxPool2d(2))
            layers += [nn.Conv2d(width, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
            width = out
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(width, classes)

    def group_matcher(self, *, coarse: bool = False) -> dict[str, Any]:
        """Which parameters belong to one block, as timm's models say it: a convolution with its norm."""
        del coarse  # There is one way to say it.
        firsts = [place for place, layer in enumerate(self.features) if isinstance(layer, nn.Conv2d)]
        return {f"block{number}": rf"^features\.(?:{first}|{first + 1})\." for number, first in enumerate(firsts)}

    def forward(self, images: Tensor) -> Tensor:
        """float32 (N, C, H, W) to logits (N, K)."""
        short_H, short_W = -images.shape[2] % self.fold, -images.shape[3] % self.fold
        if short_H or short_W:
            images = functional.pad(images, (0, short_W, 0, short_H), mode="replicate")
        folded = functional.pixel_unshuffle(images, self.fold)
        # Averaged as (N, pixels, channels): the gradient of `mean(dim=(2, 3))` comes channels first, and the steps that
        # follow on channels-last memory then take several times as long.
        pixels = self.features(folded).permute(0, 2, 3, 1).flatten(1, 2)
        logits: Tensor = self.head(pixels.mean(dim=1))
        return logits


def model_spec(model: ClassifierModel, *, classes: int, channels: int, side: int) -> ModelSpec:
    """The network that a request asks for; raises UserError for a name that nothing has."""
    check_name(model.name)
    small = model.stem == ClassifierModel.STEM_SMALL or (
        model.stem != ClassifierModel.STEM_STANDARD and side < SMALL_SIDE and _has_stem(model.name)
    )
    if small and model.name != SMALL_CNN and not _has_stem(model.name):
        raise UserError(
            field="model.stem",
            rule="the small-image stem is for networks that begin with a strided convolution and a pooling, or "
            "with patches",
            received=model.name,
            remedy="Leave `stem` at auto, or use a ResNet, DenseNet or vision transformer.",
        )
    return ModelSpec(name=model.name, small_stem=small, classes=classes, channels=channels, side=side)


def timm() -> Any:
    """The package timm, imported for the first model of it: it brings torchvision and torch's compiler with it."""
    return import_module("timm")


def build_model(spec: ModelSpec, *, seed: int) -> nn.Module:
    """The network with its initial weights, which depend on (spec, seed) alone; torch's own stream stays untouched.

    Raises UserError where the model cannot take images of this size.
    """
    if spec.name != SMALL_CNN:
        timm()  # What an import may draw is not drawn from the weights' stream.
    with seeded(seed):
        if spec.name == SMALL_CNN:
            return SmallCnn(channels=spec.channels, classes=spec.classes, side=spec.side)
        model = create_timm(spec)
    _check_output(model, spec)
    return model


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within it, weights are drawn from a stream of `seed`; torch's own goes on afterwards where it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(word_of(seed, _INITIALISATION))
        yield


def timm_arguments(spec: ModelSpec) -> dict[str, Any]:
    """What timm is told to make the spec's network, but for a small stem of convolutions, which it does not make.

    Raises UserError where the side is no multiple of a transformer's patches.
    """
    arguments: dict[str, Any] = {"num_classes": spec.classes, "in_chans": spec.channels}
    if is_patch_based(spec.name):
        standard, patch = published_side(spec.name), _patch_side(spec.name)
        if spec.small_stem:
            patch = max(1, round(patch * spec.side / standard))
            arguments["patch_size"] = patch
        # timm would leave out the pixels beyond the last whole patch without a word.
        if spec.side % patch:
            raise _refused_size(spec, f"the side is no multiple of its patches' {patch} pixels")
        arguments["img_size"] = spec.side
    return arguments


def create_timm(spec: ModelSpec, **extra: Any) -> nn.Module:
    """A timm model for the spec's images; vision transformers are told their size."""
    arguments = {**timm_arguments(spec), **extra}
    try:
        model: nn.Module = timm().create_model(spec.name, **arguments)
    except UserError:
        raise
    except (AssertionError, TypeError, ValueError, RuntimeError) as error:
        raise _refused_size(spec, str(error)) from error
    if spec.small_stem and not is_patch_based(spec.name):
        shrink_stem(model)
    return model


def shrink_stem(model: nn.Module) -> None:
    """Replaces a 7×7 stride-2 (or deep) stem by one 3×3 convolution of stride 1, and removes the pooling after it.

    The small-image form of ResNets (He et al. 2016, section 4.2) and DenseNets (Huang et al. 2017, section 3).
    """
    block = model.features if hasattr(model, "features") and hasattr(model.features, "conv0") else model
    convolution, pooling = ("conv0", "pool0") if block is not model else ("conv1", "maxpool")
    stem = getattr(block, convolution)
    first = stem if isinstance(stem, nn.Conv2d) else next(m for m in stem.modules() if isinstance(m, nn.Conv2d))
    last = stem if isinstance(stem, nn.Conv2d) else [m for m in stem.modules() if isinstance(m, nn.Conv2d)][-1]
    small = nn.Conv2d(first.in_channels, last.out_channels, 3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(small.weight, mode="fan_out", nonlinearity="relu")
    setattr(block, convolution, small)
    setattr(block, pooling, nn.Identity())


def read_as_published(spec: ModelSpec, tensors: dict[str, Tensor]) -> dict[str, Tensor] | None:
    """Published weights under the names, and for the side, that the model has them; None where timm refuses them.

    timm reads them as its own, with the published number of classes and channels: names of other libraries are
    translated, embeddings of positions resampled, and every tensor must be there, but for a last layer that weights
    learnt without labels do not have.
    """
    side = {"img_size": spec.side} if is_patch_based(spec.name) else {}
    outline = _outline(spec.name)
    heads = tuple(f"{name}." for name in head_names(outline))
    lacking = {
        name: torch.zeros(tensor.shape)
        for name, tensor in outline.state_dict().items()
        if name.startswith(heads) and not any(given.startswith(heads) for given in tensors)
    }
    for added in ({}, lacking) if lacking else ({},):
        overlay = {"state_dict": {**tensors, **added}, "custom_load": False}
        try:
            with seeded(0):
                model = timm().create_model(spec.name, pretrained=True, pretrained_cfg_overlay=overlay, **side)
        # Weights of another model meet whatever the translation of this one's does not expect.
        except (AssertionError, AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
            continue
        return {name: tensor for name, tensor in model.state_dict().items() if name not in added}
    return None


def head_names(model: nn.Module) -> tuple[str, ...]:
    """Names of the layers that turn features into classes; two for distilled transformers."""
    if isinstance(model, SmallCnn):
        return ("head",)
    names = model.pretrained_cfg.get("classifier")  # type: ignore[union-attr, operator]
    return (names,) if isinstance(names, str) else tuple(names)


def layer_groups(model: nn.Module, *, weight_decay: float, layer_decay: float) -> list[dict[str, Any]]:
    """Groups for an optimiser with `lr_scale`: layer_decay to the power of how far a block is below the head.

    Bao et al. 2022 (BEiT), appendix; blocks are timm's. Biases and the scales of norms are not decayed.
    """
    timm()
    groups: list[dict[str, Any]] = import_module("timm.optim").param_groups_layer_decay(
        model, weight_decay=weight_decay, layer_decay=layer_decay
    )
    return groups


def check_name(name: str) -> None:
    """Raises UserError, with the nearest names, for a model that neither Syntrial nor timm has."""
    if name == SMALL_CNN or timm().is_model(name.partition(".")[0]):
        if "." in name and not timm().is_model_pretrained(name):
            tags = timm().list_pretrained(f"{name.partition('.')[0]}.*")
            raise UserError(
                field="model.name",
                rule="the part behind the point names weights that timm has for the model",
                received=name,
                remedy=f"Use one of: {', '.join(tags[:8])}." if tags else "Leave the part behind the point out.",
            )
        return
    nearest = get_close_matches(name, [SMALL_CNN, *timm().list_models()], n=3, cutoff=0.5)
    raise UserError(
        field="model.name",
        rule="a classifier is small-cnn or a model of timm",
        received=name,
        remedy=f"Did you mean {' or '.join(nearest)}?" if nearest else "See timm.list_models() for the names.",
    )


def _check_output(model: nn.Module, spec: ModelSpec) -> None:
    """One pass over a blank image finds models that cannot take the size before any training."""
    training = model.training
    try:
        with torch.no_grad():
            logits = model.eval()(torch.zeros(1, spec.channels, spec.side, spec.side))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise _refused_size(spec, str(error)) from error
    finally:
        model.train(training)
    if not isinstance(logits, Tensor) or logits.shape != (1, spec.classes):
        raise UserError(
            field="model.name",
            rule="a classifier gives one score for each class",
            received=f"{spec.name}, which gives {getattr(logits, 'shape', type(logits).__name__)}",
            remedy="Choose an image classification model.",
        )


def _refused_size(spec: ModelSpec, reason: str) -> UserError:
    return UserError(
        field="model.name",
        rule="the model must take the data set's images",
        received=f"{spec.name} with {spec.side}×{spec.side} pixels and {spec.channels} channels ({reason[:120]})",
        remedy="Set `size` to one that the model takes (often 224), or choose another model.",
    )


def _has_stem(name: str) -> bool:
    return name == SMALL_CNN or is_patch_based(name) or _stem_layers(name)


def _outline(name: str) -> Any:
    """The model with shapes alone: its weights take no memory."""
    library = timm()
    with torch.device("meta"):
        return library.create_model(name)


@cache
def _stem_layers(name: str) -> bool:
    model = _outline(name)
    features = getattr(model, "features", None)
    return (hasattr(model, "conv1") and hasattr(model, "maxpool")) or (
        hasattr(features, "conv0") and hasattr(features, "pool0")
    )


@cache
def is_patch_based(name: str) -> bool:
    """Whether the model is a plain transformer over patches, which takes `img_size` and `patch_size`."""
    model = _outline(name)
    makers = [vars(kind)["__init__"] for kind in type(model).__mro__ if "__init__" in vars(kind)]
    takes = {name for maker in makers for name in inspect.signature(maker).parameters}
    patches = getattr(model, "patch_embed", None)
    return isinstance(patches, timm().layers.PatchEmbed) and {"img_size", "patch_size"} <= takes


@cache
def _patch_side(name: str) -> int:
    return int(_outline(name).patch_embed.patch_size[0])


@cache
def published_side(name: str) -> int:
    """Pixels a side of the images that the weights of a timm model are published for."""
    size = _outline(name).pretrained_cfg.get("input_size") or (3, 224, 224)
    return int(math.sqrt(size[1] * size[2]))

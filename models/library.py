"""Networks of timm and torchvision by name: `timm:NAME` and `torchvision:NAME`, with `,ARGUMENT=VALUE` after it.

    check_library_network("timm:vit_tiny_patch16_224,patch_size=4")
    network = build_library_network("timm:vit_tiny_patch16_224,patch_size=4", classes=10, image_size=32)

Weights are drawn, never downloaded. Importing this module imports neither library, nor torch. Every failure is an
InputError of one sentence.
"""

from __future__ import annotations

import importlib.util
import re
from ast import literal_eval
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from utils import InputError, did_you_mean, one_line

if TYPE_CHECKING:
    from torch import nn

LIBRARIES = ("timm", "torchvision")
SETTLED = {"num_classes": "the classes of the data"}  # argument -> what decides it
SETTLED |= dict.fromkeys(("img_size", "image_size", "input_size"), "the size of the images")
SETTLED |= dict.fromkeys(("pretrained", "weights", "checkpoint_path"), "--weights")
# Heads beside the classifier that torchvision's networks have only if they are trained with a loss of their own; their
# weights are drawn as they are by default, which torchvision warns about unless it is asked for.
WITHOUT_AUXILIARY_HEADS = {"aux_logits": False, "init_weights": True}


def is_library_network(arch: str) -> bool:
    return arch.partition(":")[0] in LIBRARIES


def check_library_network(arch: str) -> None:
    """InputError for a name that cannot be one, arguments that cannot be read and a library that is not installed."""
    library, name, _ = parts(arch)
    if not re.fullmatch(r"[\w.]+", name):
        raise InputError(f"--arch {library}:NAME takes the name of a network of {library}, got {name!r}")
    if importlib.util.find_spec(library) is None:
        raise InputError(f"--arch {arch} needs a package that is not installed: pip install {library}")


def parts(arch: str) -> tuple[str, str, dict[str, Any]]:
    """Library, name and arguments.

    >>> parts("timm:vit_tiny_patch16_224,patch_size=4,depth=2")
    ('timm', 'vit_tiny_patch16_224', {'patch_size': 4, 'depth': 2})
    """
    library, _, rest = arch.partition(":")
    name, *given = re.split(r",(?=[A-Za-z_])", rest)
    arguments = dict(_argument(arch, each) for each in given)
    return library, name, arguments


def _argument(arch: str, given: str) -> tuple[str, Any]:
    """'patch_size=4' as a pair; a value that is no Python literal is a string."""
    name, equals, written = given.partition("=")
    if not (equals and name and written):
        raise InputError(f"--arch {arch}: arguments of the network are NAME=VALUE with commas between, got {given!r}")
    if name in SETTLED:
        raise InputError(f"--arch {arch}: {name} is not given here, it follows from {SETTLED[name]}")
    value: Any = written
    with suppress(ValueError, SyntaxError):
        value = literal_eval(written)
    return name, value


def build_library_network(arch: str, classes: int, image_size: int | None) -> nn.Module:
    """The network for images of this size (None: of the size it is meant for), its weights drawn from torch's
    generator."""
    from .python_state import generators_kept
    from .torch_settings import global_settings_kept

    library, name, arguments = parts(arch)
    with global_settings_kept():
        with generators_kept():  # imports of large libraries must not change what is drawn later
            known = timm_names() if library == "timm" else torchvision_names()
        if name.partition(".")[0] not in known:  # timm's names may be followed by a dot and the name of weights
            raise InputError(f"{library} has no network {name} that classifies images{did_you_mean(name, known)}")
        build = build_timm if library == "timm" else build_torchvision
        try:
            network = build(name, image_size, num_classes=classes, **arguments)
        except Exception as error:
            raise InputError(f"{arch} for images of {image_size} pixels raised {one_line(error)}") from error
    check_patches(arch, network, image_size)
    return network


def timm_names() -> Iterable[str]:
    import timm

    return timm.list_models()


def torchvision_names() -> Iterable[str]:
    """Those of the networks that classify images, without those for detection, segmentation and video."""
    from torchvision import models

    return models.list_models(module=models)


def build_timm(name: str, image_size: int | None, **arguments: Any) -> nn.Module:
    """timm's network, made for this image size where its size is decided when it is built, as a ViT's is."""
    import timm

    if image_size is not None:
        try:
            return timm.create_model(name, pretrained=False, img_size=image_size, **arguments)
        except TypeError as error:
            if "img_size" not in str(error):
                raise
    return timm.create_model(name, pretrained=False, **arguments)


def build_torchvision(name: str, image_size: int | None, **arguments: Any) -> nn.Module:
    from torchvision import models

    if name in ("googlenet", "inception_v3"):
        arguments = WITHOUT_AUXILIARY_HEADS | arguments
    if name.startswith("vit_") and image_size is not None:
        arguments["image_size"] = image_size
    if name.startswith("maxvit") and image_size is not None:
        arguments["input_size"] = (image_size, image_size)
    return models.get_model(name, weights=None, **arguments)


def check_patches(arch: str, network: nn.Module, image_size: int | None) -> None:
    """InputError for images smaller than one patch of a transformer, which otherwise fails with a riddle."""
    patch = getattr(getattr(network, "patch_embed", None), "patch_size", None)
    largest = max(patch) if isinstance(patch, tuple) else patch
    if isinstance(largest, int) and image_size is not None and image_size < largest:
        smaller = f"{arch},patch_size={max(image_size // 4, 1)}" if "patch_size" not in arch else "a smaller patch_size"
        raise InputError(
            f"{arch} cuts images into patches of {largest} pixels, got images of {image_size}; smaller patches: "
            f"{smaller}"
        )

"""Accuracy on images that an attack has changed a little, so as to fool the network.

The attacks are advertorch's, on pixels in [0, 1]: networks normalise their images themselves, so an attack sees the
gradient through the normalisation. For an image x with label y they search for one of large loss L within
|x' - x| <= eps in every pixel and 0 <= x' <= 1:

    FGSM (Goodfellow et al., ICLR 2015)   x' = clip(x + eps sign(dL/dx))
    PGD (Madry et al., ICLR 2018)         a random start within eps, then pgd_steps times
                                          x' = project(x' + pgd_step_size sign(dL/dx'))
"""

from collections.abc import Callable
from importlib import import_module

import torch
from torch import Tensor, nn

import models.normalization  # noqa: F401  without it advertorch cannot be imported
from dataset import to_input
from lottery.analysis.config import AttackConfig
from lottery.training.devices import gradients_in_evaluation
from lottery.training.labelled_images import LabelledImages
from lottery.training.precision import matmul_precision
from lottery.training.recipe import batches
from utils import RandomStream, seed_generators, torch_seed

advertorch_attacks = import_module("advertorch.attacks")

BATCH = 256  # images attacked together
MEASURED = ("clean", "fgsm", "pgd")

Attack = Callable[[Tensor, Tensor], Tensor]  # images (b, C, H, W) and labels (b,) -> the changed images


def build_attacks(config: AttackConfig, network: nn.Module) -> dict[str, Attack]:
    """FGSM and PGD against a network, by name. PGD draws its starts from torch's global generator."""
    limits = {"eps": float(config.eps), "clip_min": 0.0, "clip_max": 1.0}
    steps = {"nb_iter": config.pgd_steps, "eps_iter": float(config.pgd_step_size), "rand_init": True}
    return {
        "fgsm": advertorch_attacks.GradientSignAttack(network, **limits).perturb,
        "pgd": advertorch_attacks.LinfPGDAttack(network, **limits, **steps).perturb,
    }


def robust_accuracies(
    model: nn.Module,
    data: LabelledImages,
    indices: Tensor,
    config: AttackConfig,
    tick: Callable[[], object] = lambda: None,
) -> dict[str, float]:
    """Accuracy in percent on the images at `indices`, as they are ("clean") and under each attack.

    In eval mode and in fp32, whatever the model was trained in. PGD's starts are derived from (seed, number of the
    batch), so two networks are attacked from the same ones. `tick` is called after each batch. Afterwards the model's
    parameters require no gradients.
    """
    model.eval().requires_grad_(False)
    device, correct = data.device, dict.fromkeys(MEASURED, 0)
    attacks = {"clean": lambda images, _: images} | build_attacks(config, model)
    with matmul_precision(device, "fp32"), gradients_in_evaluation(model):
        parts = [indices[batch] for batch in batches(len(indices), BATCH)]
        for number, (pixels, labels) in enumerate(data.batches(parts)):
            images = to_input(pixels)
            seed_generators(torch_seed(config.seed, epoch=number, purpose=RandomStream.ATTACKS))
            for name, attack in attacks.items():
                changed = attack(images, labels)
                with torch.no_grad():
                    correct[name] += int((model(changed).argmax(1) == labels).sum())
            tick()
    return {name: 100 * count / len(indices) for name, count in correct.items()}

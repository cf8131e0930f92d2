"""How many images a network still gets right when each of them is changed a little, so as to fool it.

Attacks are advertorch's, on pixels in [0, 1]: the network normalises its images itself, so an attack sees the gradient
through the normalisation. An image x with label y becomes one of largest loss L that it can find within
|x' - x| <= eps in every pixel and 0 <= x' <= 1:

    FGSM (Goodfellow et al., ICLR 2015)   x' = clip(x + eps sign(dL/dx))
    PGD (Madry et al., ICLR 2018)         a random start within eps, then `steps` times
                                          x' = project(x' + step_size sign(dL/dx'))

Shapes: b images in a batch, C channels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module

import torch
from torch import Tensor, nn

import models.normalization  # noqa: F401  without it advertorch cannot be imported
from dataset import Images, to_input
from lottery.training.precision import matmul_precision
from utils import RandomStream, seed_generators, torch_seed

attacks = import_module("advertorch.attacks")

BATCH = 256  # images attacked together
MEASURED = ("clean", "fgsm", "pgd")


@dataclass(frozen=True)
class Threat:
    """What an attacker may do; pixels are in [0, 1]."""

    eps: Fraction = Fraction(8, 255)  # the most that a pixel changes
    steps: int = 10  # of PGD
    step_size: Fraction = Fraction(2, 255)  # of PGD, by pixel

    def attacks(self, network: nn.Module) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
        """By name a function of images (b, C, H, W) and labels (b,) that returns the changed images.

        PGD draws its start from torch's own generator.
        """
        limits = {"eps": float(self.eps), "clip_min": 0.0, "clip_max": 1.0}
        step = {"nb_iter": self.steps, "eps_iter": float(self.step_size), "rand_init": True}
        return {
            "fgsm": attacks.GradientSignAttack(network, **limits).perturb,
            "pgd": attacks.LinfPGDAttack(network, **limits, **step).perturb,
        }


def robust_accuracies(
    model: nn.Module,
    data: Images,
    indices: Tensor,
    threat: Threat,
    seed: int,
    tick: Callable[[], object] = lambda: None,
) -> dict[str, float]:
    """Percent of `indices` that the model gets right as they are ("clean") and under each attack.

    In eval mode and in fp32, whatever the model was trained in. Starts of PGD are a function of (seed, place of the
    batch): two networks are attacked from the same ones. `tick` is called after each batch. The model's parameters ask
    for no gradients afterwards.
    """
    model.eval().requires_grad_(False)
    device, right = data.images.device, dict.fromkeys(MEASURED, 0)
    ways = {"clean": lambda images, _: images} | threat.attacks(model)
    with matmul_precision(device, "fp32"):
        for place, batch in enumerate(indices.split(BATCH)):
            images, labels = to_input(data.images[batch]), data.labels[batch]
            seed_generators(torch_seed(seed, epoch=place, purpose=RandomStream.ATTACKS))
            for name, change in ways.items():
                changed = change(images, labels)
                with torch.no_grad():
                    right[name] += int((model(changed).argmax(1) == labels).sum())
            tick()
    return {name: 100 * number / len(indices) for name, number in right.items()}

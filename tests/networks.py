"""Networks of a user's own, as --arch tests.networks:tiny and the like name them."""

import random
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn.utils import prune
from torchvision.models import mobilenet_v2


def tiny(num_classes: int) -> nn.Module:
    """Small and quick, with batch norm and layers of unequal size."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, num_classes),
    )


def half_frozen(num_classes: int) -> nn.Module:
    """The first convolution is fixed."""
    network = tiny(num_classes)
    network[0].requires_grad_(False)
    return network


class Auxiliary(nn.Module):
    """Returns its logits and those of an auxiliary head in train mode, as a tuple or by name."""

    def __init__(self, num_classes: int, names: tuple[str, ...] = ()):
        super().__init__()
        self.features = tiny(num_classes)[:-1]
        self.fc, self.aux, self.names = nn.Linear(16, num_classes), nn.Linear(16, num_classes), names

    def forward(self, x):
        x = self.features(x)
        outputs = self.fc(x), self.aux(x.detach())
        if self.names:
            return dict(zip(self.names, outputs, strict=True))
        return outputs if self.training else outputs[0]


def auxiliary(num_classes: int) -> nn.Module:
    return Auxiliary(num_classes)


def auxiliary_by_name(num_classes: int) -> nn.Module:
    return Auxiliary(num_classes, ("out", "aux"))


def no_network(num_classes: int) -> torch.Tensor:
    return torch.zeros(num_classes)


def only_linear(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, num_classes))


def weight_normed(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 3)), tiny(num_classes))


def masked_by_torch(num_classes: int) -> nn.Module:
    network = tiny(num_classes)
    prune.l1_unstructured(network[0], "weight", 0.5)
    return network


def lazy(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(8), nn.ReLU(), nn.Linear(8, num_classes))


def leaves(num_classes: int) -> nn.Module:
    raise SystemExit(5)


# --- members of families, shallow and deep ----------------------------------------------------------------------------


class ConvNeXtBlock(nn.Module):
    """timm's names; `gamma` is a parameter in no module of its own."""

    def __init__(self, width: int):
        super().__init__()
        self.conv_dw = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm = nn.BatchNorm2d(width)
        self.mlp = nn.ModuleDict({"fc1": nn.Conv2d(width, 2 * width, 1), "fc2": nn.Conv2d(2 * width, width, 1)})
        self.gamma = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x):
        inside = self.mlp["fc2"](torch.relu(self.mlp["fc1"](self.norm(self.conv_dw(x)))))
        return x + self.gamma[:, None, None] * inside


class ConvNeXtStage(nn.Module):
    def __init__(self, before: int, width: int, depth: int):
        super().__init__()
        alike = before == width
        self.downsample = (
            nn.Identity() if alike else nn.Sequential(nn.BatchNorm2d(before), nn.Conv2d(before, width, 2, 2))
        )
        self.blocks = nn.Sequential(*(ConvNeXtBlock(width) for _ in range(depth)))

    def forward(self, x):
        return self.blocks(self.downsample(x))


class ConvNeXt(nn.Module):
    """Downsampling belongs to a stage, not to its first block."""

    def __init__(self, num_classes: int, depths: tuple[int, int]):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 2, 2), nn.BatchNorm2d(8))
        self.stages = nn.Sequential(ConvNeXtStage(8, 8, depths[0]), ConvNeXtStage(8, 12, depths[1]))
        self.head = nn.ModuleDict({"norm": nn.BatchNorm1d(12), "fc": nn.Linear(12, num_classes)})

    def forward(self, x):
        return self.head["fc"](self.head["norm"](self.stages(self.stem(x)).mean((2, 3))))


class ViT(nn.Module):
    """timm's names; for images of 8 pixels alone. Two parameters lie in no module."""

    def __init__(self, num_classes: int, depth: int):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 8))
        self.pos_embed = nn.Parameter(torch.randn(1, 5, 8))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, 8, 4, 4)})
        layer = partial(nn.TransformerEncoderLayer, 8, 2, 16, dropout=0, batch_first=True, norm_first=True)
        self.blocks = nn.Sequential(*(layer() for _ in range(depth)))
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, num_classes)

    def forward(self, x):
        patches = self.patch_embed["proj"](x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), patches], 1) + self.pos_embed
        return self.head(self.norm(self.blocks(tokens))[:, 0])


class Alternating(nn.Module):
    """A unit is two modules that lie in two lists: a convolution and its norm."""

    def __init__(self, num_classes: int, depth: int):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3 if unit == 0 else 6, 6, 3, padding=1) for unit in range(depth))
        self.norms = nn.ModuleList(nn.BatchNorm2d(6) for _ in range(depth))
        self.fc = nn.Linear(6, num_classes)

    def forward(self, x):
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = torch.relu(norm(conv(x)))
        return self.fc(x.mean((2, 3)))


MOBILENETS = {"shallow": (1, 2, 2), "deep": (1, 4, 3)}  # blocks of each width: (expansion, width, blocks, stride)


def mobilenet(num_classes: int, depth: str) -> nn.Module:
    """torchvision's, its blocks numbered through."""
    settings = zip((1, 2, 2), (8, 12, 16), MOBILENETS[depth], (1, 2, 1), strict=True)
    return mobilenet_v2(num_classes=num_classes, width_mult=0.5, inverted_residual_setting=[list(s) for s in settings])


convnext_shallow, convnext_deep = partial(ConvNeXt, depths=(1, 2)), partial(ConvNeXt, depths=(3, 3))
vit_shallow, vit_deep = partial(ViT, depth=2), partial(ViT, depth=5)
alternating_shallow, alternating_deep = partial(Alternating, depth=2), partial(Alternating, depth=12)
mobilenet_shallow, mobilenet_deep = partial(mobilenet, depth="shallow"), partial(mobilenet, depth="deep")


# --- networks whose layers are not what they seem ---------------------------------------------------------------------


class HeadFirst(nn.Module):
    """Its classifier is registered before its hidden layer."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.head, self.conv, self.hidden = nn.Linear(12, num_classes), nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 12)

    def forward(self, x):
        return self.head(torch.relu(self.hidden(torch.relu(self.conv(x)).mean((2, 3)))))


class NoGradient(nn.Module):
    """Its logits have no gradient in eval mode."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, num_classes)

    def forward(self, x):
        logits = self.fc(torch.relu(self.conv(x)).mean((2, 3)))
        return logits if self.training else logits.detach()


def all_convolutions(num_classes: int) -> nn.Module:
    """The classifier is a convolution, as SqueezeNet's is."""
    widths = (3, 8, 12, num_classes)
    convolutions = [nn.Conv2d(before, width, 3, padding=1) for before, width in pairwise(widths)]
    layers = [layer for convolution in convolutions for layer in (convolution, nn.ReLU())]
    return nn.Sequential(*layers[:-1], nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Standardised(nn.Conv2d):
    """Weights of mean 0 and standard deviation 1, whatever the parameter is (Qiao et al., 2019)."""

    def forward(self, x):
        mean, std = self.weight.mean((1, 2, 3), keepdim=True), self.weight.std((1, 2, 3), keepdim=True)
        return self._conv_forward(x, (self.weight - mean) / (std + 1e-5), self.bias)


def standardised(num_classes: int) -> nn.Module:
    return nn.Sequential(Standardised(3, 3, 3, padding=1), tiny(num_classes))


head_first, no_gradient = HeadFirst, NoGradient


def group_normed(num_classes: int) -> nn.Module:
    """`tiny` with another norm, one that gives less where it gets more."""
    layers = [nn.GroupNorm(4, layer.num_features) if isinstance(layer, nn.BatchNorm2d) else layer for layer in tiny(10)]
    return nn.Sequential(*layers[:-1], nn.Linear(16, num_classes))


class Flash(nn.Module):
    """Attention over pixels by a kernel that is called by its name; its gradient has no derivative."""

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)[:, None]
        seen = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(tokens, tokens, tokens)[0]
        return seen[:, 0].transpose(1, 2).reshape(x.shape)


def flash(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), Flash(), tiny(num_classes))


# --- networks that change more than the values of their parameters ----------------------------------------------------


class Plain(nn.Module):
    """What those below are, without their habits."""

    def __init__(self, num_classes: int = 10):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.fc = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, num_classes)

    def body(self, x):
        return self.conv2(torch.relu(self.bn1(self.conv1(x))))

    def forward(self, x):
        return self.fc(torch.relu(self.body(x)).mean((2, 3)))


class Centred(Plain):
    """A norm of its own: training assigns its registered buffers anew."""

    def __init__(self, num_classes: int = 10):
        super().__init__(num_classes)
        self.register_buffer("mean", torch.zeros(1, 8, 1, 1))

    def body(self, x):
        x = super().body(x)
        if not self.training:
            return x - self.mean
        mean = x.mean((0, 2, 3), keepdim=True)
        self.mean = 0.5 * self.mean + 0.5 * mean.detach()
        return x - mean


class Annealed(Plain):
    """Counts the passes of its training in a Python number, which evaluation depends on."""

    def __init__(self, num_classes: int = 10):
        super().__init__(num_classes)
        self.passes = 0

    def body(self, x):
        self.passes += self.training
        return super().body(x) / (1 + 0.1 * self.passes)


class ByEpoch(Plain):
    """Changes a Python number whenever it is put into train mode."""

    def __init__(self, num_classes: int = 10):
        super().__init__(num_classes)
        self.scale = 1.0

    def train(self, mode: bool = True):
        self.scale *= 0.9 if mode else 1.0
        return super().train(mode)

    def body(self, x):
        return self.scale * super().body(x)


class Pretrained(Plain):
    """Brings its own weights, whatever the seed."""

    def __init__(self, num_classes: int = 10):
        torch.manual_seed(42)
        super().__init__(num_classes)


class Keeps(Plain):
    """Keeps a tensor of its last pass, as for Grad-CAM."""

    def body(self, x):
        self.feature = super().body(x)
        return self.feature


class StochasticDepth(Plain):
    """Skips a layer by Python's chance, and scales by NumPy's."""

    def body(self, x):
        if not self.training:
            return super().body(x)
        x = super().body(x) if random.random() < 0.5 else torch.relu(self.bn1(self.conv1(x)))
        return x * float(np.random.uniform(0.9, 1.1))  # noqa: NPY002


class Aliased(Plain):
    """Has its layers a second time, in a Sequential."""

    def __init__(self, num_classes: int = 10):
        super().__init__(num_classes)
        self.features = nn.Sequential(self.conv1, self.bn1, nn.ReLU(), self.conv2)


class Tied(Plain):
    """Two layers share their weights."""

    def __init__(self, num_classes: int = 10):
        super().__init__(num_classes)
        self.conv3 = nn.Conv2d(8, 8, 3, padding=1)
        self.conv3.weight = self.conv2.weight

    def body(self, x):
        return self.conv3(torch.relu(super().body(x)))


class Extra(Plain):
    """Adds to its state_dict what is no tensor."""

    def get_extra_state(self):
        return {"version": 2}

    def set_extra_state(self, state): ...


class EvalTuple(Plain):
    """Returns more in eval mode."""

    def forward(self, x):
        logits = super().forward(x)
        return logits if self.training else (logits, x)


class Frozen(Plain):
    """Cannot be trained."""

    def __init__(self, num_classes: int = 10):
        super().__init__(num_classes)
        self.requires_grad_(False)


class NotAgain(Plain):
    """Works once."""

    def forward(self, x):
        self.bn1.eps = 2 * self.bn1.eps
        if self.bn1.eps > 1.5e-5 * 2:
            raise RuntimeError("once is enough")
        return super().forward(x)


class Encoder(nn.Module):
    """A transformer of torch's own layers, with fused attention in eval mode."""

    def __init__(self, num_classes: int = 10):
        super().__init__()
        self.embed = nn.Conv2d(3, 16, 2, 2)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.fc = nn.Linear(16, num_classes)

    def forward(self, x):
        return self.fc(self.block(self.embed(x).flatten(2).transpose(1, 2)).mean(1))


class Causal(Plain):
    """Has a buffer of infinities, as masks for attention are."""

    def __init__(self, num_classes: int = 10):
        super().__init__(num_classes)
        self.register_buffer("mask", torch.full((8, 8), -torch.inf).triu(1))

    def body(self, x):
        return super().body(x) + 0 * self.mask.exp().sum()


class DropLinear(nn.Linear):
    """A layer with a layer of its own."""

    def __init__(self, *sizes: int):
        super().__init__(*sizes)
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        return super().forward(self.drop(x))


class HeadWithChild(Plain):
    def __init__(self, num_classes: int = 10):
        super().__init__(num_classes)
        self.fc = DropLinear(8, num_classes)


class Volumes(nn.Module):
    """3D convolutions over a depth of one."""

    def __init__(self, num_classes: int = 10):
        super().__init__()
        self.conv, self.first, self.fc = nn.Conv3d(3, 4, (1, 3, 3)), nn.Conv2d(3, 3, 1), nn.Linear(4, num_classes)

    def forward(self, x):
        return self.fc(torch.relu(self.conv(self.first(x)[:, :, None])).mean((2, 3, 4)))


class ComplexNumbers(Plain):
    def __init__(self, num_classes: int = 10):
        super().__init__(num_classes)
        self.phase = nn.Parameter(torch.ones(8, dtype=torch.complex64))


class Bfloat16(Plain):
    def __init__(self, num_classes: int = 10):
        super().__init__(num_classes)
        self.to(torch.bfloat16)


class Quantised(Plain):
    """Keeps weights in a form of its own."""

    def __init__(self, num_classes: int = 10):
        super().__init__(num_classes)
        self._register_state_dict_hook(lambda module, state, prefix, _: state.update({f"{prefix}packed": torch.qint8}))


class LeavesOut(nn.Module):
    """Leaves out a layer at random while it trains, as stochastic depth does."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.features = tiny(num_classes)[:-1]
        self.sometimes, self.fc = nn.Linear(16, 16), nn.Linear(16, num_classes)

    def forward(self, x):
        x = self.features(x)
        if not self.training or torch.rand(()) < 0.5:
            x = x + self.sometimes(x)
        return self.fc(x)

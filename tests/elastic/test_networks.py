"""What a ticket's weights say of the network that they are for."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from lottery.elastic.config import ElasticConfig, MappingConfig
from lottery.elastic.networks import build_members, image_spec
from models import build_model
from models.description import Description
from models.units import family


@pytest.mark.parametrize(
    "arch, stem, classes, channels, size",
    [("mlp2", "imagenet", 7, 1, 28), ("mlp3", "imagenet", 5, 3, 32), ("res14s", "imagenet", 7, 3, 32),
     ("res18", "cifar", 3, 3, 32), ("vgg13_bn_3fc", "imagenet", 6, 3, 32)],
)  # fmt: skip
def test_weights_say_for_how_many_classes_and_which_images_they_are(arch, stem, classes, channels, size):
    mean, std = [0.25, 0.5, 0.75][:channels], [0.5, 0.25, 0.125][:channels]
    expected = {"classes": classes, "channels": channels, "image_size": size, "mean": mean, "std": std}
    model = build_model(arch, stem=stem, **expected)
    assert image_spec(model.state_dict(), arch, family(arch).classifier[-1], Path("ticket")) == expected


VIT = "timm:vit_tiny_patch16_224,patch_size=4,embed_dim=12,num_heads=3"
VITS = Description("vits.toml", {
    "kind": "ViTs", "stem": ["network.cls_token", "network.pos_embed", "network.patch_embed"],
    "classifier": ["network.norm", "network.head"], "stages": [{"units": "network.blocks.*"}],
})  # fmt: skip


@pytest.mark.parametrize("size, tokens", [(8, 5), (32, 65), (224, 3137)])
def test_a_transformer_is_built_for_the_images_whose_positions_its_weights_have(size, tokens):
    pytest.importorskip("timm")
    images = {"classes": 10, "channels": 3, "image_size": size, "mean": [0.5] * 3, "std": [0.5] * 3}
    source, target = f"{VIT},depth=2", f"{VIT},depth=3"
    weights = build_model(source, **images, tried=False).state_dict()
    ticket = SimpleNamespace(starting_state=weights, path=Path("ticket"))
    config = ElasticConfig(None, MappingConfig(source, target), ticket.path, ticket.path, VITS)
    members = build_members(config, ticket)
    assert shapes(members[0].network.state_dict()) == shapes(weights)
    assert [len(member.family.stages[0].units) for member in members] == [2, 3]
    assert all(member.network.state_dict()["network.pos_embed"].shape == (1, tokens, 12) for member in members)


def shapes(state):
    return {name: value.shape for name, value in state.items()}

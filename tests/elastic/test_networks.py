"""What a ticket's weights say of the network that they are for."""

from pathlib import Path

import pytest

from lottery.elastic.networks import image_spec
from models import build_model
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

"""A user's own network: importing it, and each failure in one sentence."""

import pytest
import torch

from tests.models.helpers import images, network, normalized
from utils import InputError


def test_a_network_from_the_current_directory(here):
    model = network("nets:net").eval()
    assert list(model.state_dict())[:3] == ["normalize.mean", "normalize.std", "network.2.weight"]
    assert torch.equal(model(images()), model.network(normalized(images())))


def test_a_network_of_a_library_that_sees_grey_images():
    assert network("torchvision.models:mobilenet_v2", classes=5, channels=1)(images(channels=1)).shape == (4, 5)


@pytest.mark.parametrize(
    "arch, said",
    [
        ("no_such:net", "no module no_such "),
        ("nets.more:net", "no module nets.more "),
        ("broken:net", "importing broken raised ModuleNotFoundError: No module named 'there_is_no_such_library'"),
        ("faulty:net", "importing faulty raised ZeroDivisionError"),
        ("nets:nothing", "module nets has no function nothing$"),
        ("nets:Net", r"module nets has no function Net; did you mean net\?$"),
        ("nets:number", "nets:number must return a torch.nn.Module, got int"),
        ("nets:failing", r"nets:failing\(num_classes=10\) raised RuntimeError: out of ideas$"),
        ("nets:mismatched", "fails on images of 32 pixels with RuntimeError: .*mat1 and mat2"),
        ("nets:map_of_logits", r"shape \(2, 10\) for 2 images, got \(2, 10, 32, 32\)"),
    ],
)
def test_each_failure_is_one_sentence(here, arch, said):
    with pytest.raises(InputError, match=said) as caught:
        network(arch)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["auxiliary", "auxiliary_by_name"])
def test_of_several_outputs_the_logits_are_taken(name):
    model = network(f"tests.networks:{name}")
    for training in True, False:
        torch.testing.assert_close(model.train(training)(images()), model.network.fc(
            model.network.features(normalized(images()))))  # fmt: skip
    assert model.classifier_names == ("network.fc",)

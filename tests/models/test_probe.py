"""Images that are too small for a network, and a probe that leaves no trace."""

import pytest
import torch

from tests.models.helpers import images, network
from utils import InputError


@pytest.mark.parametrize("arch", ["vgg16_bn", "vgg11"])
def test_vgg_needs_16_pixels(arch):
    with pytest.raises(InputError, match=f"^{arch} needs images of at least 16 pixels, got 8$"):
        network(arch, size=8)
    assert network(arch, size=16).eval()(images(1, size=16)).shape == (1, 10)


def test_resnets_take_8_pixels():
    assert network("res20s", size=8)(images(size=8)).shape == network("res18", size=8)(images(size=8)).shape == (4, 10)


@pytest.mark.parametrize(
    "arch, size, said",
    [
        ("nets:five_pixels", 4, "at least 5 pixels, got 4"),
        ("nets:net", 28, "at least 32 pixels, got 28"),
        ("nets:net", 64, "of 32 pixels, got 64"),
    ],
)
def test_the_size_that_works_is_named(here, arch, size, said):
    with pytest.raises(InputError, match=said):
        network(arch, size=size)


def test_a_network_that_looks_at_values_is_probed_too(here):
    assert network("nets:Looks")(images()).shape == (4, 10)
    with pytest.raises(InputError, match="nets:Looks fails on images of 8 pixels"):
        network("nets:Looks", size=8)


@pytest.mark.parametrize("name", ["net", "Looks"])
def test_the_probe_leaves_no_trace(here, name):
    model = network(f"nets:{name}")
    next_draw = torch.rand(1)
    import nets

    torch.manual_seed(0)
    twin = getattr(nets, name)(num_classes=10)
    assert torch.equal(next_draw, torch.rand(1))
    torch.testing.assert_close(model.network.state_dict(), twin.state_dict(), rtol=0, atol=0)


def test_a_network_is_tried_on_images_that_lie_in_memory_as_those_of_a_training(here):
    """Channels last, which cannot be flattened by a view."""
    with pytest.raises(InputError, match=r"nets:Viewing fails .* RuntimeError: view size is not compatible"):
        network("nets:Viewing")


def test_lazy_layers_without_parameters_are_refused(here):
    with pytest.raises(InputError, match="got one with lazy layers"):
        network("nets:lazy_buffers")

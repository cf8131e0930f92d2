"""2:4 tickets in semi-structured form: what can be said without the hardware, and where there is some, the outputs."""

import copy

import pytest
import torch
from torch import nn

from benchmarks import semi_structured as benchmark
from lottery.patterns import prune_to_pattern
from lottery.tickets import semi_structured
from lottery.tickets.semi_structured import DTYPES, INPUTS, OUTPUTS, PATTERN, convertible_layers, to_semi_structured_
from pruner import apply_, dense, magnitude
from tests.helpers import run_in_process
from utils import InputError


def network(dtype=torch.float16):
    """Layers with 2:4 weights: one of a size that torch takes, one with too few outputs, and a convolution."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(4, 64, 1), nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    mask, parameters = dense(model, prune_classifier=True), dict(model.named_parameters())
    apply_(parameters, prune_to_pattern(mask, magnitude(parameters, mask), PATTERN))
    return model.to(dtype).eval()


def test_which_layers_can_be_converted():
    for dtype in DTYPES:
        assert list(convertible_layers(network(dtype))) == ["2"]
    assert not convertible_layers(network(torch.float32))
    broken = network()
    broken[2].weight.data[0, :3] = 1  # three of four
    assert not convertible_layers(broken)
    fewer = network()
    fewer[2].weight.data[0, :4] = 0  # weights that training has brought to zero
    assert list(convertible_layers(fewer)) == ["2"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", ["SparseSemiStructuredTensorCUTLASS", "SparseSemiStructuredTensorCUSPARSELT"])
def test_sizes_are_what_both_back_ends_of_torch_take(backend, dtype):
    smallest = getattr(torch.sparse, backend)._DTYPE_SHAPE_CONSTRAINTS[dtype]
    assert OUTPUTS % smallest.sparse_min_rows == 0 and INPUTS % smallest.sparse_min_cols == 0


def test_a_cpu_is_refused_and_the_network_unchanged():
    model = network()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InputError, match=r"compute capability 8\.0 or higher, got the device cpu"):
        to_semi_structured_(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_an_older_gpu_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA T4")
    with pytest.raises(InputError, match=r"8\.0 or higher, NVIDIA T4 has 7\.5"):
        semi_structured.check_hardware(torch.device("cuda:0"))


def test_a_network_without_such_layers_is_refused():
    with pytest.raises(InputError, match=r"no Linear layer can be semi-structured.*multiple of 32 outputs and of 64"):
        to_semi_structured_(nn.Linear(64, 32).half())


def test_all_layers_are_converted_or_none(monkeypatch):
    monkeypatch.setattr(semi_structured, "check_hardware", lambda device: None)
    model = network()
    with pytest.raises(InputError, match=r"torch cannot make 2 semi-structured: .*CUDA"):
        to_semi_structured_(model)
    monkeypatch.setattr(torch.sparse, "to_sparse_semi_structured", lambda weight: weight.clone())
    assert to_semi_structured_(model) == ["2"] and not model[2].weight.requires_grad


def test_the_benchmark_says_what_is_missing_and_what_sizes_are():
    status, _, err = run_in_process(benchmark, "--gpu", -1)
    assert status == 2 and "2:4 needs an NVIDIA GPU of compute capability 8.0 or higher, got the device cpu" in err
    status, _, err = run_in_process(benchmark, "--sizes", "768x100", "--gpu", -1)
    assert status == 2 and "multiples of 32 and of 64 such as 768x3072, got '768x100'" in err


def test_the_benchmark_measures_both(monkeypatch, capsys):
    monkeypatch.setattr(semi_structured, "check_hardware", lambda device: None)
    monkeypatch.setattr(torch.sparse, "to_sparse_semi_structured", lambda weight: weight.clone())
    words = "--sizes 32x64,64x128 --rows 4 --calls 1 --repeats 2 --precision bf16 --gpu -1".split()
    status, out, err = run_in_process(benchmark, *words)
    assert status == 0, err
    assert "32x64, 4 rows, bf16: dense" in out and "medians of 2" in out


HAS_SPARSE_CORES = torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)


@pytest.mark.skipif(not HAS_SPARSE_CORES, reason="needs a CUDA device of compute capability 8.0")
@pytest.mark.parametrize("dtype", DTYPES)
def test_outputs_are_those_of_the_dense_layers(dtype):
    model = network(dtype).cuda()
    images = torch.randn(16, 4, 1, 1, device="cuda", dtype=dtype)
    with torch.inference_mode():
        before = model(images)
        assert to_semi_structured_(model) == ["2"]
        torch.testing.assert_close(model(images), before, rtol=2e-2, atol=2e-2)

"""Where a run computes: what is asked for, or refused in a sentence; never the CPU without a word."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lottery.greedy.neurons.setup import examples_on
from lottery.readers.registry import read_source
from lottery.training import devices
from lottery.training.context import images_on
from lottery.training.devices import (
    explain_out_of_memory,
    gradients_in_evaluation,
    pick_device,
    runs_on,
    usable_gpus,
)
from lottery.training.environment import device_name, set_determinism
from lottery.training.precision import matmul_precision, pick_precision, supported_precisions
from models.torch_settings import NEWER_TF32_SWITCHES, OLDER_TF32_SWITCHES, read_switches, set_switches_
from utils import InputError

BUILT = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_120"]


@pytest.fixture
def gpus(monkeypatch):
    """Pretend that CUDA works and there are GPUs of these compute capabilities, for a torch built for `BUILT`."""

    def pretend(*capabilities, hip=None):
        number = lambda device: getattr(device, "index", device)  # noqa: E731
        answers = {
            "is_available": lambda: True,
            "device_count": lambda: len(capabilities),
            "get_device_capability": lambda device: capabilities[number(device)],
            "get_device_name": lambda device: f"GPU {number(device)}",
            "get_arch_list": lambda: BUILT,
            "set_device": lambda device: None,
        }
        for name, answer in answers.items():
            monkeypatch.setattr(torch.cuda, name, answer)
        monkeypatch.setattr(torch.version, "hip", hip)

    return pretend


@pytest.fixture
def broken_cuda(monkeypatch):
    """Pretend that there are two GPUs and a driver that does not work with this torch."""

    def fail():
        raise RuntimeError("The NVIDIA driver is too old (found version 11040). Please update your GPU driver.")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "init", fail)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


# --- which device -----------------------------------------------------------------------------------------------------


def test_a_gpu_that_is_asked_for_is_never_replaced_by_the_cpu(broken_cuda):
    with pytest.raises(InputError, match=r"--gpu 1: .* \(The NVIDIA driver is too old \(found version 11040\)\);"):
        pick_device(1)
    assert pick_device(-1) == torch.device("cpu")


def test_without_the_flag_an_unusable_gpu_is_told(broken_cuda):
    notes = []
    assert pick_device(None, notes.append) == torch.device("cpu")
    (note,) = notes
    assert "note: computing on the CPU" in note and "NVIDIA GPU" in note and "too old" in note


def test_hidden_gpus_are_told_by_the_variable_that_hides_them(broken_cuda, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices.why_no_cuda().endswith("CUDA_VISIBLE_DEVICES is ''")


def test_cudas_own_error_is_told(monkeypatch):
    def fail():
        raise RuntimeError("Unexpected error from cudaGetDeviceCount(). Did you? Error 802: system not yet initialized")

    monkeypatch.setattr(torch.cuda, "init", fail)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert devices.why_no_cuda() == (
        "Unexpected error from cudaGetDeviceCount(); Error 802: system not yet initialized"
    )


def test_a_machine_without_a_gpu_needs_no_note(monkeypatch):
    monkeypatch.setattr(devices, "has_nvidia_gpu", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    notes = []
    assert pick_device(None, notes.append) == torch.device("cpu") and notes == []
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    pick_device(None, notes.append)
    assert "MPS" in notes[0]


def test_the_first_gpu_that_torch_can_use_is_the_default(gpus):
    gpus((6, 1), (9, 0), (8, 6))
    assert usable_gpus() == [1, 2] and pick_device(None) == torch.device("cuda", 1)
    assert pick_device(2) == torch.device("cuda", 2)


@pytest.mark.parametrize(
    "gpu, told",
    [(0, r"GPU 0 has compute capability 6.1, .* built for sm_75, sm_80"), (3, "torch sees 2 CUDA devices")],
)
def test_a_gpu_that_cannot_work_is_one_sentence(gpus, gpu, told):
    gpus((6, 1), (9, 0))
    with pytest.raises(InputError, match=told):
        pick_device(gpu)


def test_a_gpu_that_does_not_answer_is_passed_over_and_told(gpus, monkeypatch):
    """Broken, or another process's alone."""
    gpus((9, 0), (9, 0))
    known = torch.cuda.get_device_capability

    def ask(gpu):
        if gpu == 0:
            raise RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable\nand more")
        return known(gpu)

    monkeypatch.setattr(torch.cuda, "get_device_capability", ask)
    assert usable_gpus() == [1]
    with pytest.raises(InputError, match=r"--gpu 0: torch cannot use this GPU \(CUDA error: all .* unavailable\)$"):
        pick_device(0)


def test_only_old_gpus_mean_the_cpu_with_the_reason(gpus):
    gpus((6, 1))
    notes = []
    assert pick_device(None, notes.append) == torch.device("cpu")
    assert "compute capability 6.1" in notes[0]


@pytest.mark.parametrize(
    "code, capability, runs",
    [
        ("sm_80", (8, 0), True),
        ("sm_80", (8, 6), True),
        ("sm_86", (8, 0), False),
        ("sm_80", (9, 0), False),
        ("sm_120", (12, 1), True),
        ("sm_90a", (9, 0), True),
        ("sm_100a", (10, 3), False),
        ("sm_100f", (10, 3), True),
        ("compute_70", (6, 1), False),
        ("compute_80", (12, 0), True),
        ("gfx942", (9, 4), True),
    ],
)
def test_code_runs_where_nvidia_says_it_does(code, capability, runs):
    assert runs_on(code, capability) == runs


# --- number formats ---------------------------------------------------------------------------------------------------

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.mark.parametrize(
    "capability, hip, there",
    [
        ((7, 5), None, ("fp32",)),
        ((8, 0), None, ("fp32", "tf32", "bf16")),
        ((12, 0), None, ("fp32", "tf32", "bf16")),
        ((9, 4), "6.4", ("fp32", "bf16")),
    ],
)
def test_formats_are_those_of_the_hardware(gpus, capability, hip, there):
    gpus(capability, hip=hip)
    assert supported_precisions(CUDA) == there
    assert pick_precision("auto", CUDA) == ("tf32" if "tf32" in there else "fp32")
    for asked in {"fp32", "tf32", "bf16"} - set(there):
        with pytest.raises(InputError, match=rf"--precision {asked} needs an NVIDIA GPU .* GPU 0, .* takes auto, fp32"):
            pick_precision(asked, CUDA)


@pytest.mark.parametrize("layer, allowed", [(nn.LSTM(4, 4), False), (nn.Linear(4, 4), True)])
def test_cudnn_is_left_out_where_it_has_no_gradients_in_evaluation(layer, allowed):
    """Its recurrent layers have them in training mode alone."""
    before = torch.backends.cudnn.enabled
    with gradients_in_evaluation(nn.Sequential(layer)):
        assert torch.backends.cudnn.enabled == (before and allowed)
    assert torch.backends.cudnn.enabled == before


def test_a_cpu_has_no_tf32():
    assert supported_precisions(CPU) == ("fp32", "bf16") and pick_precision("auto", CPU) == "fp32"
    with pytest.raises(InputError, match="the CPU takes auto, fp32, bf16"):
        pick_precision("tf32", CPU)


def test_rocm_is_named_and_searches_for_no_kernels(gpus, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    gpus((9, 4), hip="6.4.43484")
    assert device_name(CUDA) == "GPU 0, ROCm 6.4.43484"
    set_determinism(CUDA, deterministic=False)
    assert not torch.backends.cudnn.benchmark
    gpus((9, 0))
    set_determinism(CUDA, deterministic=False)
    assert torch.backends.cudnn.benchmark and ", CUDA " in device_name(CUDA)


TF32_SWITCHES = (*OLDER_TF32_SWITCHES, *NEWER_TF32_SWITCHES)
NEW = hasattr(torch.backends.cuda.matmul, "fp32_precision")


@pytest.fixture
def tf32_switches():
    """torch's switches, put back after the test."""
    before = read_switches(TF32_SWITCHES)
    yield
    set_switches_(before)


@pytest.mark.parametrize("asked", ["fp32", "tf32", "bf16"])
def test_the_switches_are_set_and_put_back(tf32_switches, asked):
    before = read_switches(TF32_SWITCHES)
    with matmul_precision(CUDA, asked):
        inside = read_switches(TF32_SWITCHES)
    assert read_switches(TF32_SWITCHES) == before
    values = {inside[switch] for switch in OLDER_TF32_SWITCHES}, {inside.get(switch) for switch in NEWER_TF32_SWITCHES}
    assert values == ({asked != "fp32"}, {None if not NEW else "ieee" if asked == "fp32" else "tf32"})


@pytest.mark.skipif(not NEW, reason="torch has the older switches alone")
def test_a_users_newer_switch_is_no_obstacle(tf32_switches):
    """Reading the older switches then raises."""
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    torch.backends.cudnn.conv.fp32_precision = "ieee"
    with pytest.raises(RuntimeError):
        _ = torch.backends.cuda.matmul.allow_tf32
    for asked in ("fp32", "tf32"):
        with matmul_precision(CUDA, asked):
            assert torch.backends.cuda.matmul.allow_tf32 == torch.backends.cudnn.allow_tf32 == (asked == "tf32")
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
        assert torch.backends.cudnn.conv.fp32_precision == "ieee"


def test_a_torch_without_the_newer_switches_will_do(monkeypatch):
    older = SimpleNamespace(
        cudnn=SimpleNamespace(allow_tf32=True), cuda=SimpleNamespace(matmul=SimpleNamespace(allow_tf32=False))
    )
    monkeypatch.setattr(torch, "backends", older)
    with matmul_precision(CUDA, "fp32"):
        assert not older.cudnn.allow_tf32
    assert older.cudnn.allow_tf32 and not hasattr(older.cudnn, "conv")


# --- memory -----------------------------------------------------------------------------------------------------------


def to_a_full_gpu(tensor, device):
    """In the place of Tensor.to."""
    if device == CUDA:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
    return tensor


@pytest.mark.parametrize(
    "copy",
    [
        lambda source: images_on(CUDA, source, augmented=True),
        lambda source: examples_on(CUDA, source, 9, "halves", seed=0),
    ],
)
def test_data_that_does_not_fit_is_told_what_helps_for_data(monkeypatch, copy):
    source = read_source("digits", Path("data"), None)
    monkeypatch.setattr(torch.Tensor, "to", to_a_full_gpu)
    with pytest.raises(InputError, match=r"the images of digits do not fit .* cuda:0: .* --image_size") as told:
        copy(source)
    assert "--batch_size" not in str(told.value)


def test_other_errors_of_a_copy_are_not_taken_for_full_memory():
    with pytest.raises(RuntimeError, match="device-side assert"), explain_out_of_memory("the images", CUDA):
        raise RuntimeError("CUDA error: device-side assert triggered")

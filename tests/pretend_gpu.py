"""A GPU that is not there: tensors that say cuda:0 and compute on the CPU, under the rules of a real one.

    with pretended_gpu() as gpu:
        main_imp.main([..., "--gpu", "0"])
    assert gpu.launches["graph replay"]

or, from a shell: python tests/pretend_gpu.py main_imp --dataset digits ... --gpu 0

Operands on two devices raise. Waits of the host for the device are counted; they raise within a recording, and where
torch.cuda.set_sync_debug_mode asks for it. A recording keeps operations with the buffers they work on, and a replay
repeats them there: what was a number in Python stays what it was. A recording that breaks off leaves torch on its own
stream, and a pool of memory takes no graph after all of its graphs are gone, as with torch's own.

What it cannot show: speed, memory, rounding, races between streams, and operations that CUDA lacks.
"""

import contextlib
import inspect
import itertools
import sys
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "equal", "bincount"}  # operations that wait
INDEXING = {"index", "index_put", "index_put_"}  # those that wait where a mask says which elements
PLAIN_TO = torch.Tensor.to


class Event:
    """In the place of torch.cuda.Event: all that is before it is done at once, but the host waits all the same."""

    def record(self) -> None: ...

    def synchronize(self) -> None:
        gpu.wait("event")


class Gpu:
    """The state of the pretended GPU, and what has been seen of it."""

    def __init__(self):
        self.reset()

    def reset(self) -> None:
        self.waits: Counter[str] = Counter()  # operation -> how often the host waited for it
        self.launches: Counter[str] = Counter()  # operation -> how often it was launched
        self.recording: list | None = None  # operations, while a graph is recorded
        self.waits_raise = False
        self.leaving = False  # whether a tensor is being copied to the CPU
        self.stream = self.default_stream = Stream()
        self.unfinished: set[Stream] = set()  # streams with work that no other has waited for
        self.handles = itertools.count(1)
        self.pools: dict[tuple[int, int], weakref.WeakSet] = {}  # handle -> its graphs

    def wait(self, name: str) -> None:
        if self.recording is not None:
            raise RuntimeError(f"CUDA error: operation not permitted when stream is capturing ({name})")
        if self.waits_raise:
            raise RuntimeError(f"called a synchronizing CUDA operation ({name})")
        self.waits[name] += 1

    def launch_in_stream(self) -> None:
        """Work in one stream, while another still has some that may change the same tensors, ends anyhow."""
        if self.recording is not None:
            return
        if self.unfinished - {self.stream}:
            raise RuntimeError("work is launched in one stream while that of another, not waited for, still runs")
        self.unfinished.add(self.stream)


class Stream:
    def wait_stream(self, other: "Stream") -> None:
        gpu.unfinished.discard(other)

    def is_capturing(self) -> bool:
        return gpu.recording is not None


gpu = Gpu()  # the one of the process


class OnGpu(torch.Tensor):
    """A tensor that is on the CPU for C++, whose autograd then works, and on the GPU for Python."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    device, is_cuda, is_cpu = CUDA, True, False

    @staticmethod
    def __new__(cls, inner: torch.Tensor):
        form = {"strides": inner.stride(), "storage_offset": inner.storage_offset(), "dtype": inner.dtype}
        made = torch.Tensor._make_wrapper_subclass(cls, inner.shape, device="cpu", **form)
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return launch(func, args, kwargs or {})

    def cpu(self, dtype: torch.dtype | None = None) -> torch.Tensor:
        gpu.leaving = True  # C++ asks for copies on what it takes for the tensor's device, the CPU, as well
        try:
            return torch.ops.aten._to_copy(self, device=CPU, dtype=dtype)
        finally:
            gpu.leaving = False

    def to(self, *args, **kwargs) -> torch.Tensor:
        device, dtype, _, form = torch._C._nn._parse_to(*args, **kwargs)
        if device is not None and device.type == "cpu":
            return self.cpu(dtype)
        return PLAIN_TO(self, dtype=dtype or self.dtype, memory_format=form or torch.preserve_format)

    def tolist(self) -> list:
        return self.cpu().tolist()

    def numpy(self):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def __repr__(self, **_) -> str:
        return f"OnGpu({self.inner})"

    def __format__(self, form: str) -> str:
        return format(self.item(), form)


class Launching(TorchDispatchMode):
    """Sees operations that have no operand on the GPU, too: they may make one there."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return launch(func, args, kwargs or {})


def launch(func, args: tuple, kwargs: dict):
    """Run one of torch's operations where its operands are, or where it is asked to."""
    name = func._schema.name.removeprefix("aten::")
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    ours = [tensor for tensor in tensors if isinstance(tensor, OnGpu)]
    target = target_type(kwargs, ours)
    if name in ("is_pinned", "_pin_memory"):  # memory that a real GPU copies from faster
        return name != "is_pinned" and args[0]
    if not ours and target != "cuda":
        return func(*args, **kwargs)
    moves = (name == "copy_" and len(ours) == 1) or (name == "_to_copy" and target and (target == "cuda") != bool(ours))
    if ours and not moves and any(tensor.ndim and not isinstance(tensor, OnGpu) for tensor in tensors):
        raise RuntimeError(f"Expected all tensors to be on the same device, but found cuda:0 and cpu ({func})")
    if moves or name in WAITING or selects_by_mask(name, args):
        gpu.wait(name)
    gpu.launches[name] += 1
    gpu.launch_in_stream()
    result = compute(func, name, args, kwargs)
    if name == "copy_":
        return args[0]
    if target == "cpu" or name == "_local_scalar_dense":
        return result
    wrapped = tree_map(lambda leaf: OnGpu(leaf) if isinstance(leaf, torch.Tensor) else leaf, result)
    return return_and_correct_aliasing(func, args, kwargs, wrapped) if ours else wrapped


def target_type(kwargs: dict, ours: list) -> str | None:
    """The type of the device that the result is wanted on; None if that of the operands."""
    if kwargs.get("device") is None:
        return None
    target = torch.device(kwargs["device"]).type
    return None if ours and target == "cpu" and not gpu.leaving else target


def selects_by_mask(name: str, args: tuple) -> bool:
    """Whether the host has to know how many elements a mask selects; a single value is written without."""
    masked = name in INDEXING and any(getattr(leaf, "dtype", None) == torch.bool for leaf in tree_leaves(args[1]))
    return masked and (name == "index" or args[2].numel() != 1)


def compute(func, name: str, args: tuple, kwargs: dict):
    """The operation on the CPU, recorded if that is wanted."""
    kept = {key: CPU if key == "device" else value for key, value in kwargs.items() if key != "non_blocking"}
    bare, named = tree_map(lambda leaf: leaf.inner if isinstance(leaf, OnGpu) else leaf, (args, kept))
    result = func(*bare, **named)
    if name == "_to_copy" and any(result is leaf for leaf in tree_leaves(bare)):
        result = result.clone()
    if gpu.recording is not None:
        gpu.recording.append((func, bare, named, result))
    return result


# --- graphs -----------------------------------------------------------------------------------------------------------


class Graph:
    """In the place of torch.cuda.CUDAGraph."""

    def __init__(self):
        self.operations: list = []
        self.handle: tuple[int, int] | None = None

    def pool(self) -> tuple[int, int]:
        return self.handle

    def replay(self) -> None:
        gpu.launches["graph replay"] += 1
        for func, args, kwargs, recorded in self.operations:
            if any(part.alias_info and not part.alias_info.is_write for part in func._schema.returns):
                continue  # a view of a buffer that is there
            result = func(*args, **kwargs)
            if not func._schema.is_mutable:
                for old, new in zip(tree_leaves(recorded), tree_leaves(result), strict=True):
                    if isinstance(old, torch.Tensor):  # convolution_backward may leave one out
                        old.copy_(new)


@contextlib.contextmanager
def recorded(graph: Graph, pool: tuple[int, int] | None = None, capture_error_mode: str = "global") -> Iterator[None]:
    """In the place of torch.cuda.graph, with its weaknesses."""
    if capture_error_mode == "global":
        raise RuntimeError("operation not permitted when stream is capturing: another thread may pin images meanwhile")
    graph.handle = pool or new_pool()
    if graph.handle in gpu.pools and not gpu.pools[graph.handle]:
        raise RuntimeError("use_count > 0 INTERNAL ASSERT FAILED")
    gpu.pools.setdefault(graph.handle, weakref.WeakSet()).add(graph)
    before, gpu.stream = gpu.stream, Stream()
    gpu.unfinished.clear()  # torch synchronises first
    gpu.recording = graph.operations
    try:
        yield
    finally:
        gpu.recording = None
    gpu.stream = before  # not if the recording broke off


def new_pool() -> tuple[int, int]:
    return 0, next(gpu.handles)


@contextlib.contextmanager
def on_stream(stream: Stream) -> Iterator[None]:
    before, gpu.stream = gpu.stream, stream
    try:
        yield
    finally:
        gpu.stream = before


# --- in torch's place -------------------------------------------------------------------------------------------------


def cuda_api() -> dict[str, object]:
    """What stands in torch.cuda instead, by name."""
    nothing = "_lazy_init set_device synchronize empty_cache manual_seed_all set_rng_state reset_peak_memory_stats"
    found = {
        "is_available": True,
        "device_count": 1,
        "current_device": 0,
        "get_device_name": "pretended",
        "get_device_capability": (9, 0),
        "get_arch_list": ["sm_80", "sm_90"],
        "is_bf16_supported": True,
        "mem_get_info": (70 << 30, 80 << 30),
        "memory_allocated": 0,
        "max_memory_allocated": 0,
        "max_memory_reserved": 0,
        "get_device_properties": SimpleNamespace(
            name="pretended", total_memory=80 << 30, major=9, minor=0, multi_processor_count=132
        ),
    } | dict.fromkeys(nothing.split())
    calls = {name: lambda *_, value=value, **__: value for name, value in found.items()}
    return calls | {
        "Stream": Stream,
        "Event": Event,
        "CUDAGraph": Graph,
        "graph": recorded,
        "graph_pool_handle": new_pool,
        "current_stream": lambda *_: gpu.stream,
        "is_current_stream_capturing": lambda: gpu.recording is not None,
        "default_stream": lambda *_: gpu.default_stream,
        "set_stream": lambda stream: setattr(gpu, "stream", stream),
        "stream": on_stream,
        "get_rng_state": lambda *_: torch.get_rng_state(),
        "get_sync_debug_mode": lambda: 2 if gpu.waits_raise else 0,
        "set_sync_debug_mode": lambda mode: setattr(gpu, "waits_raise", mode in (2, "error")),
    }


def cuda_0(value):
    """The device cuda:0 for "cuda" and any CUDA device; all else as it is."""
    return CUDA if value == "cuda" or getattr(value, "type", "") == "cuda" else value


def to(tensor: torch.Tensor, *args, **kwargs) -> torch.Tensor:
    return PLAIN_TO(tensor, *map(cuda_0, args), **{name: cuda_0(value) for name, value in kwargs.items()})


def one_hot(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """torch's own looks at the values, which CUDA's does not."""
    return (labels[..., None] == torch.arange(classes, device=labels.device)).long()


def without_gradients(mode: bool = True):
    """In the place of inference_mode, in which no tensor can be made that stands in for one made outside."""
    return torch.no_grad() if mode else contextlib.nullcontext()


GROUPED = torch.optim.Optimizer._group_tensors_by_device_and_dtype


def grouped(lists: list, with_indices: bool = False) -> dict:
    """torch's grouping of an optimiser's tensors, which asks C++ for their device."""
    groups = GROUPED(lists, with_indices)
    on_gpu = any(isinstance(tensor, OnGpu) for tensors in lists for tensor in tensors)
    return {(CUDA if on_gpu else device, dtype): group for (device, dtype), group in groups.items()}


def replacements() -> list[tuple[object, str, object]]:
    """(owner, name, what stands there instead)."""
    autocast: Callable = torch.autocast
    return [
        *((torch.cuda, name, value) for name, value in cuda_api().items()),
        (torch.optim.Optimizer, "_group_tensors_by_device_and_dtype", staticmethod(grouped)),
        *([(torch.accelerator, "current_stream", lambda *_: gpu.stream)] if hasattr(torch, "accelerator") else []),
        (torch.Tensor, "to", to),
        (torch.Tensor, "cuda", lambda tensor, *_, **__: to(tensor, CUDA)),
        (torch, "inference_mode", without_gradients),
        (torch, "autocast", lambda device, *args, **kwargs: autocast("cpu", *args, **kwargs)),
        (torch.nn.functional, "one_hot", one_hot),
    ]


@contextlib.contextmanager
def pretended_gpu() -> Iterator[Gpu]:
    """From here on there is one GPU."""
    gpu.reset()
    overwrites = torch.__future__.get_overwrite_module_params_on_conversion()
    with contextlib.ExitStack() as stack:
        for owner, name, value in replacements():
            stack.callback(setattr, owner, name, inspect.getattr_static(owner, name))
            setattr(owner, name, value)
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, overwrites)
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        stack.callback(torch._C._set_only_lift_cpu_tensors, torch._C._only_lift_cpu_tensors())
        torch._C._set_only_lift_cpu_tensors(True)
        stack.enter_context(Launching())
        yield gpu


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    with pretended_gpu() as there:
        status = import_module(sys.argv[1]).main(sys.argv[2:])
        print(f"{sum(there.waits.values())} waits, {sum(there.launches.values())} launches", file=sys.stderr)
    sys.exit(status)

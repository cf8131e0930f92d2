"""What a script trains with, made from its flags: device, data, split, network, step."""

import argparse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from dataset import Images, Split, read_permutation
from lottery.readers.registry import Source, read_source
from lottery.training.data_split import divide
from lottery.training.devices import pick_device, room_for
from lottery.training.environment import environment, set_determinism
from lottery.training.evaluation import Evaluator
from lottery.training.host_memory import keep_freed_memory
from lottery.training.network_notes import unsaved_note
from lottery.training.precision import pick_precision
from lottery.training.progress import Progress
from lottery.training.recipe import Recipe
from lottery.training.step import Step, copy_weights, load_weights_
from models import ARCHITECTURES, build_model
from models.families import MLPS
from models.network_state import tensors
from pruner import Mask, Ticket, Weights, dense, prunable
from utils import FRESH_WEIGHTS, INITIAL_WEIGHTS, InputError, digest, listed, seed_generators, torch_seed


@dataclass(frozen=True)
class ModelAndData:
    """What there is before anything is trained: data, their split and the network with its initial weights, on their
    device."""

    device: torch.device
    train: Images
    test: Images
    split: Split
    model: nn.Module
    initial: Callable[[int], Weights]  # the network's initial weights, on the CPU, drawn for a purpose
    contents: dict[str, str]  # checksums of data and split
    notes: list[str]  # what there is to say about the files of data and split


@dataclass
class TrainingContext:
    """Data and network on their device. `step` owns the network's weights; a training writes into it."""

    device: torch.device
    train: Images
    test: Images
    split: Split
    model: nn.Module
    step: Step
    evaluator: Evaluator
    recipe: Recipe
    seed: int
    order_seed: int  # order and augmentation of examples, and dropout, follow from it
    progress: Progress
    prune_classifier: bool
    initial: Callable[[int], Weights]  # the network's initial weights, on the CPU, drawn for a purpose
    contents: dict[str, str]  # checksums of data and split
    notes: list[str]  # what there is to say about the files of data and split
    environment: dict[str, str | int | bool]  # what bit-equality with another run depends on beside the settings

    @property
    def whole(self) -> Tensor:
        """D0: all examples that train, (n0,)."""
        return self.split.train

    @property
    def counts(self) -> dict[str, int]:
        """How many examples train, validate and test."""
        return {"train": len(self.whole), "validation": len(self.split.validation), "test": len(self.test)}

    def dense(self) -> Mask:
        """The mask that keeps every weight this run may prune."""
        return dense(self.model, self.prune_classifier)

    def complete(self, ticket: Ticket) -> Ticket:
        """The ticket with a mask for every weight this run may prune, on the device; what it has none for is dense."""
        mask = {name: layer.to(self.device) for name, layer in ticket.mask.items()}
        return ticket._replace(mask=self.dense() | mask)

    def log_setup(self, notes: Iterable[str] = ()) -> None:
        """Where chance and arithmetic come from in this run, and what there is to note about its files."""
        described = ", ".join(f"{name} {value}" for name, value in self.environment.items())
        order = "" if self.order_seed == self.seed else f"order seed {self.order_seed}, "
        self.progress.log(f"seed {self.seed}, {order}{described}")
        counts = self.counts
        self.progress.log(f"{counts['train']} examples train, {counts['validation']} validate, {counts['test']} test")
        self.progress.log(*(f"note: {note}" for note in (*self.notes, *notes)))

    def predictions(self, weights: dict[str, Tensor]) -> Tensor:
        """Classes that a network with these weights gives all of D0, (n0,); the weights in the step are lost."""
        load_weights_(self.model, weights)
        return self.evaluator(self.train, self.whole)


def build_context(args: argparse.Namespace) -> TrainingContext:
    """The material, and what trains with it. InputError where flags, files and network do not go together."""
    keep_freed_memory()
    recipe, progress = recipe_of(args), Progress(args.print_freq)
    device = pick_device(args.gpu, progress.log)
    precision = pick_precision(args.precision, device)
    found = build_model_and_data(args, device)
    return TrainingContext(
        **vars(found),
        step=Step(found.model, found.train, recipe, precision, args.compile, progress.log),
        evaluator=Evaluator(found.model, precision, progress.log),
        recipe=recipe,
        seed=args.seed,
        order_seed=args.seed if getattr(args, "order_seed", None) is None else args.order_seed,
        progress=progress,
        prune_classifier=getattr(args, "prune_classifier", False),
        environment=environment(device) | arithmetic(args, precision),
    )


def build_model_and_data(args: argparse.Namespace, device: torch.device) -> ModelAndData:
    """Read the data, build the network. InputError where flags, files and network do not go together."""
    set_determinism(device, args.deterministic)
    if args.split_file:
        read_permutation(args.split_file)  # before the data, which may take long to decode
    source = read_source(args.dataset, args.data, args.image_size)
    division = divide(args, source)
    images = image_spec(source)
    model = placed(initial_model(args, images), device)
    check_prunable(model, args.arch)
    train, test = images_on(device, source, augmented=not args.no_augmentation)
    return ModelAndData(
        device=device,
        train=train,
        test=test,
        split=Split(*(indices.to(device) for indices in division.split)),
        model=model,
        initial=partial(initial_weights, args, images),
        contents={
            "data checksum": digest(source.train_images, source.train_labels, source.test_images, source.test_labels),
            "split checksum": division.checksum,
        },
        notes=[*source.notes, *division.notes, *unsaved_note(model), *same_weights_note(args, images, model)],
    )


def arithmetic(args: argparse.Namespace, precision: str) -> dict[str, str | bool]:
    """How this run computes, beside the machine it computes on."""
    return {"precision": precision, "compile": args.compile, "deterministic": args.deterministic}


def image_spec(source: Source) -> dict:
    """What the network must know of the images, as arguments of `build_model`."""
    return {
        "classes": len(source.classes),
        "channels": source.channels,
        "image_size": source.image_size,
        "mean": source.mean,
        "std": source.std,
    }


def initial_model(args: argparse.Namespace, images: Mapping, purpose: int = INITIAL_WEIGHTS) -> nn.Module:
    """The network with initial weights drawn from --seed alone, on the CPU, so that every device starts alike."""
    seed_generators(torch_seed(args.seed, purpose=purpose))
    return build_model(args.arch, stem=args.stem, **images)


def initial_weights(args: argparse.Namespace, images: Mapping, purpose: int) -> Weights:
    """Those weights, drawn for this purpose; the network has been tried on such images before, and is not again."""
    untried = images if args.arch in MLPS else {**images, "image_size": None}
    return copy_weights(initial_model(args, untried, purpose))


def placed(model: nn.Module, device: torch.device) -> nn.Module:
    """The model on its device, its images and filters in channels-last memory, which 3D convolutions do not have."""
    if any(parameter.ndim == 5 for parameter in model.parameters()):
        return model.to(device)
    return model.to(device, memory_format=torch.channels_last)


def same_weights_note(args: argparse.Namespace, images: Mapping, model: nn.Module) -> list[str]:
    """That runs of several seeds start alike, where a user's network brings its own weights."""
    if args.arch in ARCHITECTURES:
        return []
    others = initial_weights(args, images, FRESH_WEIGHTS)
    if any(not torch.equal(value.cpu(), others[name]) for name, value in tensors(model).items()):
        return []
    return [f"--arch {args.arch} begins with the same weights whatever --seed is: seeds differ in other draws alone"]


def check_prunable(model: nn.Module, arch: str) -> None:
    """InputError for a network, the user's own, whose weights are not plain parameters or not used as they stand, or
    that has none to prune."""
    if altered := getattr(model, "altered", ()):
        raise InputError(
            f"--arch {arch}: {listed(altered)} changes weights before it uses them, as weight standardisation does: "
            "pruned weights would not stay zero; give a network with a plain Conv2d or Linear layer there"
        )
    try:
        names = prunable(model)
    except ValueError as error:
        raise InputError(f"--arch {arch}: {error}") from None
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    if computed := [name for name in names if name not in parameters]:
        if f"{computed[0]}_orig" in parameters and f"{computed[0]}_mask" in dict(model.named_buffers()):
            why = "is masked by torch.nn.utils.prune: call prune.remove on its layers, and give the mask as --mask_dir"
        else:
            why = "is no nn.Parameter but computed from others, as by weight norm: such layers cannot be pruned here"
        raise InputError(f"--arch {arch}: {computed[0]} {why}")


def images_on(device: torch.device, source: Source, augmented: bool) -> tuple[Images, Images]:
    """Training and test images on the device; only training images are augmented, if any."""
    arrays = source.train_images, source.train_labels, source.test_images, source.test_labels
    with room_for(f"the images of {source.name}", device):
        train_images, train_labels, *test = (torch.from_numpy(array).to(device) for array in arrays)
    train = Images(train_images, train_labels, source.padding if augmented else 0, source.flips and augmented)
    return train, Images(*test)


def recipe_of(args: argparse.Namespace) -> Recipe:
    return Recipe(
        epochs=args.epochs,
        milestones=args.decreasing_lr,
        warmup=args.warmup,
        lr=args.lr,
        momentum=args.momentum,
        weight_decay=args.weight_decay,
        batch_size=args.batch_size,
    )

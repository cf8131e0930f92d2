"""What a script trains with: data, split and network on their device, and the step that trains it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from dataset import Images, Split, read_permutation
from lottery import ranks
from lottery.readers.image_files import ImageFiles
from lottery.readers.registry import read_source
from lottery.readers.source import Source
from lottery.training.also_pruned import also_pruned, flag_that_prunes, prune_on_request_
from lottery.training.config import DataConfig, ModelConfig, TrainingConfig
from lottery.training.data_split import make_split
from lottery.training.devices import explain_out_of_memory, free_memory, pick_device
from lottery.training.environment import environment, keep_freed_memory, set_determinism
from lottery.training.evaluation import Evaluator
from lottery.training.labelled_images import LabelledImages
from lottery.training.network_notes import outputs_note, unsaved_note
from lottery.training.precision import pick_precision
from lottery.training.progress import Progress
from lottery.training.recipe import Recipe, steps_per_epoch
from lottery.training.step import Step, copy_weights, load_weights_
from lottery.training.streamed_images import StreamedImages, streamed_images
from models import ARCHITECTURES, NORMALIZATIONS, build_model
from models.network_state import move_to_device, tensors
from pruner import Mask, Ticket, Weights, dense, prunable
from utils import InputError, RandomStream, listed, seed_generators, torch_seed


@dataclass(frozen=True)
class ModelAndData:
    """Data, their split and the network with its initial weights, on their device, before anything is trained."""

    device: torch.device
    train: LabelledImages
    test: LabelledImages
    split: Split
    model: nn.Module
    model_config: ModelConfig
    seed: int
    initial: Callable[[int], Weights]  # the network's initial weights, on the CPU, drawn for a purpose
    contents: dict[str, str]  # checksums of data and split
    classes: tuple[str, ...]  # their names, by label
    notes: list[str]  # what there is to say about flags, and about the files of data and split
    environment: dict[str, object]  # what bit-equality with another run depends on beside the settings


@dataclass(frozen=True)
class TrainingContext(ModelAndData):
    """Data and network, and what trains and evaluates it. `step` owns the network's weights: training changes them."""

    step: Step
    evaluator: Evaluator
    recipe: Recipe
    order_seed: int  # order and augmentation of examples, and dropout, follow from it
    progress: Progress
    prune_classifier: bool

    @property
    def training_indices(self) -> Tensor:
        """D0: all examples that train, (n0,)."""
        return self.split.train

    @property
    def counts(self) -> dict[str, int]:
        """How many examples train, validate and test."""
        return {"train": len(self.training_indices), "validation": len(self.split.validation), "test": len(self.test)}

    @property
    def schedule_steps(self) -> int:
        """All optimiser steps of the schedule."""
        return self.recipe.epochs * steps_per_epoch(len(self.training_indices), self.recipe.batch_size)

    def dense(self) -> Mask:
        """The mask that keeps every weight that this run may prune."""
        return dense(self.model, self.prune_classifier)

    def fill_missing_masks(self, ticket: Ticket) -> Ticket:
        """The ticket with its mask on the device; layers that it has no mask for are dense."""
        mask = {name: layer.to(self.device) for name, layer in ticket.mask.items()}
        return ticket._replace(mask=self.dense() | mask)

    def log_setup(self, notes: Iterable[str] = ()) -> None:
        """Log seeds, versions, hardware and numbers of examples, and the notes about files."""
        described = ", ".join(f"{name} {value}" for name, value in self.environment.items())
        order = "" if self.order_seed == self.seed else f"order seed {self.order_seed}, "
        self.progress.log(f"seed {self.seed}, {order}{described}")
        counts = self.counts
        self.progress.log(f"{counts['train']} examples train, {counts['validation']} validate, {counts['test']} test")
        self.progress.log(*(f"note: {note}" for note in (*self.notes, *notes)))

    def predictions(self, weights: dict[str, Tensor]) -> Tensor:
        """Classes that a network with these weights predicts for D0, (n0,); overwrites the step's weights."""
        load_weights_(self.model, weights)
        return self.evaluator(self.train, self.training_indices)


def build_context(
    config: TrainingConfig,
    prune_classifier: bool = False,
    order_seed: int | None = None,
    prune_also: Sequence[str] | None = None,
    prunes: bool = True,
) -> TrainingContext:
    """Read the data, build the network and what trains it.

    `prune_also` names weights that are pruned beside the usual ones (also_pruned.py). A run that `prunes` nothing, and
    trains what it is given, takes networks that have no usual ones. `order_seed` decides order and augmentation of
    examples, and dropout; the run's seed does if it is None. InputError where flags, files and network do not go
    together.
    """
    keep_freed_memory()
    run, progress = config.run, Progress(config.run.print_freq)
    device = pick_device(config.device.gpu, progress.log)
    ranks.join(device.type)
    precision = pick_precision(config.arithmetic.precision, device)
    set_determinism(device, config.device.deterministic)
    found = build_model_and_data(config.data, config.model, run.seed, device)
    if prune_also:
        found.model.also_pruned = also_pruned(found.model, prune_also)
    if not prunes:
        prune_classifier = prune_on_request_(found.model)
    check_prunable(found.model, config.model.arch, prune_classifier)
    shards = config.arithmetic.shards
    arithmetic = {
        "precision": precision,
        "compile": config.arithmetic.compile,
        "deterministic": config.device.deterministic,
    }
    if isinstance(found.train, StreamedImages):
        found.train.reserve_(config.recipe.batch_size, shards)
        progress.waiting = found.train.waiting_share
    return TrainingContext(
        **vars(found)
        | {
            "notes": [*run.notes, *found.notes],
            "environment": environment(device) | found.environment | arithmetic,
        },
        step=Step(found.model, found.train, config.recipe, precision, config.arithmetic.compile, progress.log, shards),
        evaluator=Evaluator(found.model, precision, progress.log),
        recipe=config.recipe,
        order_seed=run.seed if order_seed is None else order_seed,
        progress=progress,
        prune_classifier=prune_classifier,
    )


def build_model_and_data(data: DataConfig, model: ModelConfig, seed: int, device: torch.device) -> ModelAndData:
    """Read the data, build the network. InputError where flags, files and network do not go together.

    Whether the network has something to prune is for the caller to check, by `check_prunable`.
    """
    if data.split_file:
        read_permutation(data.split_file)  # before the data, which may take long to decode
    read = partial(
        read_source,
        data.dataset,
        data.data,
        data.image_size,
        data_in=data.data_in,
        augmentation=data.augmentation,
        device_memory=free_memory(device),
    )
    source = data.source or ranks.first_here_first(read)
    found_split = make_split(data, source)
    images = image_spec(source) | fixed_normalization(model.normalization)
    network = move_to_device(initial_model(model, seed, images), device)
    train, test = images_on(device, source, augmented=not data.no_augmentation, workers=data.workers)
    return ModelAndData(
        device=device,
        train=train,
        test=test,
        split=Split(*(indices.to(device) for indices in found_split.split)),
        model=network,
        model_config=model,
        seed=seed,
        initial=partial(initial_weights, model, seed, images),
        contents={
            "data checksum": source.checksum,
            "split checksum": found_split.checksum,
        },
        classes=source.classes,
        notes=[
            *source.notes,
            *found_split.notes,
            *outputs_note(network),
            *unsaved_note(network),
            *same_weights_note(model, seed, images, network),
        ],
        environment=dict(source.environment),
    )


def image_spec(source: Source) -> dict:
    """Size, channels, classes and normalisation of the images, as arguments of `build_model`."""
    return {
        "classes": len(source.classes),
        "channels": source.channels,
        "image_size": source.image_size,
        "mean": source.mean,
        "std": source.std,
    }


def fixed_normalization(name: str) -> dict:
    """The mean and standard deviation that take the place of the data's own, as arguments of `build_model`."""
    return dict(zip(("mean", "std"), NORMALIZATIONS[name] or (), strict=False))


def initial_model(
    model: ModelConfig, seed: int, images: Mapping, purpose: RandomStream = RandomStream.INITIAL_WEIGHTS
) -> nn.Module:
    """The network with initial weights drawn from the seed alone, on the CPU, so that every device starts alike."""
    seed_generators(torch_seed(seed, purpose=purpose))
    return build_model(model.arch, stem=model.stem, network=model.network, **images)


def initial_weights(model: ModelConfig, seed: int, images: Mapping, purpose: RandomStream) -> Weights:
    """The network's initial weights, drawn for this purpose, without trying the network on images once more."""
    return copy_weights(initial_model(model, seed, {**images, "tried": False}, purpose))


def same_weights_note(model: ModelConfig, seed: int, images: Mapping, network: nn.Module) -> list[str]:
    """A note if a user's network starts from the same weights whatever the seed."""
    if model.network is None and model.arch in ARCHITECTURES:
        return []
    others = initial_weights(model, seed, images, RandomStream.FRESH_WEIGHTS)
    if any(not torch.equal(value.cpu(), others[name]) for name, value in tensors(network).items()):
        return []
    return [f"--arch {model.arch} begins with the same weights whatever --seed is: seeds differ in other draws alone"]


def check_prunable(model: nn.Module, arch: str, prune_classifier: bool = False) -> None:
    """InputError for a user's network whose weights are computed from others or changed before use, or that has none
    to prune."""
    if altered := getattr(model, "altered", ()):
        raise InputError(
            f"--arch {arch}: {listed(altered)} changes weights before it uses them, as weight standardisation does: "
            "pruned weights would not stay zero; give a network with a plain Conv2d or Linear layer there"
        )
    try:
        names = prunable(model, prune_classifier)
    except ValueError as error:
        raise InputError(f"--arch {arch}: {error}{flag_that_prunes(model)}") from None
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    if computed := [name for name in names if name not in parameters]:
        if f"{computed[0]}_orig" in parameters and f"{computed[0]}_mask" in dict(model.named_buffers()):
            why = "is masked by torch.nn.utils.prune: call prune.remove on its layers, and give the mask as --mask_dir"
        else:
            why = "is no nn.Parameter but computed from others, as by weight norm: such layers cannot be pruned here"
        raise InputError(f"--arch {arch}: {computed[0]} {why}")


def test_images_on(device: torch.device, source: Source) -> LabelledImages:
    """The test images alone on the device, or on their way there from files."""
    if isinstance(source.train_images, ImageFiles):
        return streamed_images(device, source, augmented=False, workers=None)[1]
    with explain_out_of_memory(f"the test images of {source.name}", device):
        return Images(*(torch.from_numpy(array).to(device) for array in (source.in_memory()[1], source.test_labels)))


def images_on(
    device: torch.device, source: Source, augmented: bool, workers: int | None = None
) -> tuple[LabelledImages, LabelledImages]:
    """Training and test images on the device, or on their way there from files (`workers` processes read them); only
    training images are augmented, if any."""
    if isinstance(source.train_images, ImageFiles):
        return streamed_images(device, source, augmented, workers)
    train_array, test_array = source.in_memory()
    arrays = train_array, source.train_labels, test_array, source.test_labels
    with explain_out_of_memory(f"the images of {source.name}", device):
        train_images, train_labels, *test = (torch.from_numpy(array).to(device) for array in arrays)
    train = Images(train_images, train_labels, source.padding if augmented else 0, source.flips and augmented)
    return train, Images(*test)

"""Data sets of torch as arrays: every form of image and label, and what is refused."""

import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, Subset

from lottery.readers.arrays import source_from_arrays
from lottery.readers.torch_datasets import source_from_datasets
from tests.readers.helpers import assert_same, random_images
from utils import InputError

LABELS = [0, 1, 2, 1, 0, 2]


class Pairs:
    """Pairs of `image(i)` and a label."""

    def __init__(self, image, labels=LABELS, **attributes):
        self.image, self.labels = image, labels
        vars(self).update(attributes)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.image(i), self.labels[i]


GREY, COLOUR = random_images(6, 8, 8), random_images(6, 8, 8, 3)
FORMS = {
    "PIL, grey": (lambda i: Image.fromarray(GREY[i]), GREY),
    "PIL, RGB": (lambda i: Image.fromarray(COLOUR[i]), COLOUR),
    "PIL, black and white": (lambda i: Image.fromarray(GREY[i] > 99), np.uint8(255) * (GREY > 99)),
    "uint8 tensor": (lambda i: torch.from_numpy(COLOUR[i]).permute(2, 0, 1), COLOUR),
    "uint8 tensor without channels": (lambda i: torch.from_numpy(GREY[i]), GREY),
    "uint8 array, channels last": (lambda i: COLOUR[i], COLOUR),
    "uint8 array, channels first": (lambda i: COLOUR[i].transpose(2, 0, 1), COLOUR),
    "float32 tensor, as of ToTensor": (lambda i: (torch.from_numpy(COLOUR[i]) / 255).permute(2, 0, 1), COLOUR),
    "float64 array": (lambda i: GREY[i] / 255, GREY),
    "float16 tensor": (lambda i: (torch.from_numpy(GREY[i]) / 255).half()[None], GREY),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_image_is_read_without_a_change(form):
    image, expected = FORMS[form]
    source = source_from_datasets(Pairs(image), Pairs(image))
    assert_same(source, source_from_arrays(expected, LABELS, expected, LABELS))
    assert source.notes == () and source.train_images.dtype == np.uint8


@pytest.mark.parametrize("labels", [torch.tensor(LABELS), np.array(LABELS), np.array(LABELS)[:, None]])
def test_labels_may_be_tensors_and_arrays_of_one_number(labels):
    source = source_from_datasets(Pairs(lambda i: GREY[i], labels), Pairs(lambda i: GREY[i]))
    assert source.train_labels.tolist() == LABELS and source.train_labels.dtype == np.int64


def test_floats_between_multiples_are_rounded_and_said_once():
    values = np.linspace(0, 1, 6 * 64).reshape(6, 8, 8)
    source = source_from_datasets(Pairs(lambda i: values[i]), Pairs(lambda i: GREY[i]))
    assert np.array_equal(source.train_images[..., 0], np.rint(values * 255))
    (note,) = source.notes
    assert "rounded to these, by up to 0.50/255" in note


def test_class_names_are_those_of_the_data_also_behind_a_subset():
    data = Pairs(lambda i: GREY[i], classes=["ant", "bee", "cat", "dog"])
    source = source_from_datasets(Subset(data, range(6)), data)
    assert source.classes == ("ant", "bee", "cat", "dog"), "more than the labels that occur"
    assert source_from_datasets(Pairs(lambda i: GREY[i]), data).classes == ("0", "1", "2")


def test_flips_and_padding_are_those_that_were_asked_for():
    data = Pairs(lambda i: GREY[i])
    source = source_from_datasets(data, data, name="mine", flips=True, padding=3)
    assert (source.name, source.flips, source.padding) == ("mine", True, 3)


@pytest.mark.parametrize(
    "labels, classes, said",
    [
        ([0, 1, 2] * 2, None, None),
        ([1, 2, 3] * 2, None, "label 0: labels count from 0, and the network gets 4 outputs all the same"),
        ([0, 2, 4] * 2, None, "the labels 1, 3: .* 5 outputs all the same"),
        ([0, 1, 2] * 2, "abcdefgh", "the labels 3, 4, 5 and 2 more: .* 8 outputs all the same"),
    ],
)
def test_labels_that_no_training_image_has_are_noted(labels, classes, said):
    data = Pairs(lambda i: GREY[i], labels, **({"classes": list(classes)} if classes else {}))
    notes = source_from_datasets(data, data).notes
    assert len(notes) == bool(said)
    assert not said or re.match(f"no training image has {said}$", notes[0])


class Stream(IterableDataset):
    def __iter__(self):
        return iter(())


def failing(i):
    raise RuntimeError("no disk\nat all")


RANDOM = np.random.default_rng(0)


def random_flip(i):
    return GREY[i][:, :: RANDOM.choice([-1, 1])].copy()


GOOD = Pairs(lambda i: GREY[i])
REFUSED = {
    "no length": (Stream(), "the training set must have a length, .* got Stream$"),
    "a loader": (DataLoader(GOOD), r"must have a length, .* got DataLoader; give its `dataset`$"),
    "none": (Pairs(failing, []), "the training set is empty"),
    "raises": (Pairs(failing), "example 0 of the training set raised RuntimeError: no disk$"),
    "no pair": ([GREY[0]], r"example 0 .* must be a pair \(image, label\), got ndarray \(8, 8\)"),
    "a dict": ([{"image": GREY[0]}], r"must be a pair \(image, label\), got dict"),
    "no image": (Pairs(lambda i: "a.png"), r"has 'a.png' \(str\) for an image"),
    "alpha": (Pairs(lambda i: Image.new("RGBA", (8, 8))), "PIL image of mode RGBA"),
    "two channels": (Pairs(lambda i: GREY[:2]), r"1 or 3 channels, got uint8 \(2, 8, 8\)"),
    "integers": (Pairs(lambda i: GREY[i].astype(int)), "must be uint8, or floats .* got int64"),
    "normalised": (
        Pairs(lambda i: GREY[i] / 100 - 1),
        r"example 0 .* values from -0.96 to 1.48: floats must lie in \[0, 1\]",
    ),
    "not a number": (Pairs(lambda i: np.full((8, 8), np.nan)), r"floats must lie in \[0, 1\]"),
    "empty": (Pairs(lambda i: np.zeros((8, 0))), "example 0 .* is an image without pixels: 8 x 0 x 1$"),
    "sizes": (Pairs(lambda i: GREY[i][: 8 - i // 3]), "example 3 .* is 7 x 8 x 1, the first is 8 x 8 x 1"),
    "not square": (Pairs(lambda i: GREY[i][:, :7]), "training images must be square"),
    "too small": (Pairs(lambda i: GREY[i][:4, :4]), "of 8 to 512 pixels"),
    "one-hot": (Pairs(lambda i: GREY[i], np.eye(3)), r"has the label ndarray \(3,\): a whole number"),
    "uneven": (Pairs(lambda i: GREY[i], [[[1], [1, 2]]] * 6), "has the label list: a whole number"),
    "bfloat16": (
        Pairs(lambda i: GREY[i], torch.zeros(6, dtype=torch.bfloat16)),
        "has the label Tensor: a whole number",
    ),
    "half": (Pairs(lambda i: GREY[i], [0.5] * 6), r"has the label 0.5 \(float\)"),
    "negative": (Pairs(lambda i: GREY[i], [-1] * 6), "labels must be whole numbers from 0 up"),
    "random": (Pairs(random_flip), "is another one each time it is read: leave random transforms out"),
    "unnamed": (Pairs(lambda i: GREY[i], classes=["a"]), "names of 1 class are given, training labels go up to 2"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_in_one_sentence(case):
    data, message = REFUSED[case]
    with pytest.raises(InputError, match=message) as caught:
        source_from_datasets(data, GOOD)
    assert "\n" not in str(caught.value)


def test_classes_of_training_and_test_set_must_be_the_same():
    with pytest.raises(InputError, match="must have the same classes"):
        source_from_datasets(*(Pairs(lambda i: GREY[i], classes=list(names)) for names in ("abc", "acb")))


def test_examples_keep_their_order_and_are_read_once_but_for_a_few():
    reads = []
    images = random_images(100, 8, 8)
    data = Pairs(lambda i: reads.append(i) or images[i], [i % 3 for i in range(100)])
    source = source_from_datasets(data, GOOD)
    assert np.array_equal(source.train_images[..., 0], images)
    assert reads[:100] == list(range(100)) and len(reads) == 116

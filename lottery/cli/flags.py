"""The flags that scripts share, in groups. Importing this module does not import torch."""

from lottery.cli import network_flags
from lottery.cli.parser import Parser
from lottery.cli.reading_flags import add_reading
from lottery.cli.types import count_from_0, milestones, not_negative, number, path, positive, positive_int, share
from lottery.readers.registry import DATASETS
from lottery.training.recipe import BATCH_SELECTIONS, DEFAULT_LR, SCHEDULES, SELECTION_RATE, SELECTION_UNTIL


def parser(doc: str) -> Parser:
    """A parser with what every script takes."""
    flags = Parser(doc)
    run = flags.add_argument_group("the run")
    add_run(run)
    _add_arithmetic(run)
    add_resuming(run)
    data = flags.add_argument_group("data")
    add_data(data)
    add_reading(data)
    add_split(data)
    network_flags.add_network(flags.add_argument_group("network"))
    _add_training(flags.add_argument_group("training"))
    return flags


def add_run(group) -> None:
    add_place(group)
    group.add_argument("--print_freq", type=positive_int, default=50, help="steps between redraws of the progress bar")
    group.add_argument(
        "--save_interval",
        type=number(float, "a number from 0 up", lambda value: 0 <= value < float("inf")),
        default=60.0,
        metavar="SECONDS",
        help="a killed run loses at most so many seconds of work, or the epoch it was in if that is longer; 0 saves "
        "after every epoch",
    )


def add_place(group) -> None:
    """Output directory, seed and device."""
    group.add_argument("--save_dir", type=path, required=True, help="directory for everything the run writes")
    group.add_argument(
        "--seed",
        type=count_from_0,
        default=0,
        help="seed of initial weights, and of order and augmentation of examples",
    )
    add_gpu(group)
    group.add_argument(
        "--deterministic",
        action="store_true",
        help="CUDA: only kernels that always add up in the same order, so that a run that was killed and continued "
        "ends with the same bits as an unbroken one; slower. On a CPU it is always so",
    )


def add_gpu(group) -> None:
    group.add_argument(
        "--gpu",
        type=number(int, "the number of a CUDA device, or -1 for the CPU", lambda value: value >= -1),
        metavar="N",
        help="CUDA device to compute on, or -1 for the CPU. If not given: the first GPU that torch can use, else the "
        "CPU. A GPU that is asked for and cannot be used is an error",
    )


def _add_arithmetic(group) -> None:
    group.add_argument(
        "--precision",
        choices=("auto", "fp32", "tf32", "bf16"),
        default="auto",
        help="number format of the network's products: auto is tf32 on NVIDIA GPUs from compute capability 8.0 on, "
        "which tf32 and bf16 need, and fp32 elsewhere; bf16 is faster on GPUs and on CPUs with AVX512-BF16, and "
        "coarser",
    )
    group.add_argument(
        "--compile",
        choices=("auto", "on", "off"),
        default="auto",
        help="on: the network is compiled by torch.compile, which takes up to a minute where its code is not kept from "
        "an earlier run; off: every operation on its own; auto: on CUDA the whole step is one CUDA graph (with on, "
        "too), and on a CPU with AMX a network with convolutions is compiled if enough steps are planned. What does "
        'not work, or computes something else, is not used: the log says so, and each round\'s "step" in summary.json '
        "says what was",
    )
    group.add_argument(
        "--tensorboard",
        action="store_true",
        help="also write event files into SAVE_DIR/tensorboard (needs the package tensorboard)",
    )


def add_resuming(group) -> None:
    group.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run in --save_dir (the same command without --resume does so, too)",
    )
    group.add_argument("--checkpoint", type=path, metavar="FILE", help="with --resume: the checkpoint to go on from")
    group.add_argument(
        "--overwrite",
        action="store_true",
        help="start anew; the run in --save_dir is moved to SAVE_DIR.old, which replaces the one that an earlier "
        "--overwrite moved there",
    )


def add_data(group) -> None:
    group.add_argument(
        "--data",
        type=path,
        default=None,
        help="directory of the data set; ./data if not given. A function of your own gets it as its parameter data",
    )
    group.add_argument(
        "--dataset",
        default=None,
        help=f"{', '.join(DATASETS)}; digits, which needs no files, if --data is not given; for data of your own "
        "path/to/file.py:function, or package.module:function, looked for in the current directory first: a function "
        "that returns four arrays or two of torch's data sets",
    )
    group.add_argument(
        "--image_size", type=positive_int, help="imagefolder, imagenet: scale and crop to squares of this many pixels"
    )


def add_split(group) -> None:
    group.add_argument(
        "--split_file",
        type=path,
        metavar="FILE.npy",
        help="a permutation of (some) training examples: its first part trains, the rest validates "
        "(--val_fraction). Without it val/ validates in an image folder that has a test/, too; other data have the "
        "one shipped in npy_files/, or a stratified one made from the labels alone",
    )
    group.add_argument(
        "--val_fraction",
        type=number(float, "a number from 0 up, below 1", lambda value: 0 <= value < 1),
        default=0.1,
        help="share of the split that validates. With 0 all of it trains, the test accuracy is that of the last epoch, "
        "and whatever else goes by the best validation epoch goes by the last one",
    )


def add_batch_size(group, what: str) -> None:
    at_least_2 = number(int, "a whole number from 2 up, since batch norm needs two examples", lambda value: value >= 2)
    group.add_argument("--batch_size", type=at_least_2, default=128, help=what)


def _add_training(group) -> None:
    group.add_argument("--epochs", type=positive_int, default=182, help="epochs of a full training")
    add_batch_size(group, "examples per optimiser step")
    _add_optimizer(group)
    group.add_argument(
        "--label_smoothing",
        type=number(float, "in [0, 1)", lambda value: 0 <= value < 1),
        default=0.0,
        help="share of each training target that is spread evenly over all classes (Szegedy et al., CVPR 2016); "
        "evaluation and forgetting events know nothing of it",
    )
    group.add_argument(
        "--no_augmentation", action="store_true", help="train on the images as they are: no random crops, no flips"
    )
    _add_schedule(group)


def _add_optimizer(group) -> None:
    """Defaults that depend on other flags, here and in `_add_schedule`, are filled in by `checks.check_recipe`."""
    by_optimizer = ", ".join(f"{lr} for {name}" for name, lr in DEFAULT_LR.items())
    group.add_argument("--optimizer", choices=tuple(DEFAULT_LR), default="sgd", help="SGD with momentum, or Adam")
    group.add_argument("--lr", type=positive, help=f"initial learning rate; {by_optimizer} if not given")
    group.add_argument(
        "--momentum",
        type=number(float, "in [0, 1)", lambda m: 0 <= m < 1),
        default=0.9,
        help="momentum of SGD; beta1 of Adam, whose beta2 is 0.999",
    )
    group.add_argument(
        "--nesterov", action="store_true", help="SGD: Nesterov's momentum, which is applied ahead of the step"
    )
    group.add_argument(
        "--weight_decay",
        type=not_negative,
        default=1e-4,
        help="weight decay, on every parameter; added to the gradient, with Adam too",
    )


def _add_schedule(group) -> None:
    group.add_argument("--warmup", type=count_from_0, default=0, help="epochs of linear learning-rate warm-up")
    group.add_argument(
        "--schedule",
        choices=SCHEDULES,
        default="step",
        help="how the learning rate falls after the warm-up: step: it drops at each of --decreasing_lr; linear, "
        "cosine: step by step down to 0, which it reaches at the end of the training, be it a whole one or a shorter "
        "round",
    )
    group.add_argument(
        "--decreasing_lr",
        type=milestones,
        metavar="91,136",
        help="of --schedule step: epochs at which the learning rate drops; 91,136 if not given",
    )
    group.add_argument(
        "--gamma",
        type=number(float, "a number above 0, at most 1", lambda value: 0 < value <= 1),
        metavar="FACTOR",
        help="of --schedule step: what the learning rate is multiplied by at each drop; 0.1 if not given",
    )


def add_batch_selection(group) -> None:
    """`checks.check_batch_selection` fills in the numbers."""
    group.add_argument(
        "--batch_selection",
        choices=BATCH_SELECTIONS,
        help="infobatch: in each epoch leave out a share of the examples whose last loss is below the mean, at random, "
        "and give the others of them more weight, which leaves the expected gradient as it is (InfoBatch; Qin et al., "
        "ICLR 2024). All examples are trained on if it is not given",
    )
    group.add_argument(
        "--selection_rate",
        type=share,
        metavar="SHARE",
        help=f"share of those below the mean that is left out, r in the paper; {SELECTION_RATE} if not given",
    )
    group.add_argument(
        "--selection_until",
        type=number(float, "a number above 0, at most 1", lambda value: 0 < value <= 1),
        metavar="FRACTION",
        help="fraction of the epochs after which nothing is left out any more, delta in the paper; "
        f"{SELECTION_UNTIL} if not given",
    )


def add_rewind_lr(group, what: str) -> None:
    group.add_argument(
        "--rewind_lr",
        action="store_true",
        help=f"{what}, with the learning rate, warm-up and order of examples of that step, instead of at its start",
    )


def add_order_seed(group) -> None:
    group.add_argument(
        "--order_seed",
        type=count_from_0,
        metavar="N",
        help="order and augmentation of examples, and dropout, follow from it instead of from --seed: vary N alone for "
        "another data order from the same initial weights, vary --seed alone for other initial weights in the same "
        "order",
    )


def add_ticket(group) -> None:
    """A ticket from files, in the place of the dense network with random weights."""
    group.add_argument(
        "--init_dir",
        type=path,
        metavar="FILE",
        help="starting weights: a checkpoint of a pruning script (its rewound weights), main_dst.py, main_elastic.py "
        "or main_init.py, or epoch_3_rewind_weight.pt, or a file of another tool (docs/tickets_elsewhere.md); random "
        "ones if not given",
    )
    group.add_argument(
        "--weights",
        type=path,
        metavar="FILE",
        help="instead of --init_dir: pre-trained weights that take the place of random ones, a state_dict as .pt, .pth "
        "or .safetensors. The classifier starts from random weights if the file's has another number of classes",
    )
    group.add_argument(
        "--mask_dir",
        type=path,
        metavar="FILE",
        help="mask: a checkpoint of a pruning script, main_dst.py, main_elastic.py or main_init.py, or one of your own "
        "or of another tool (docs/tickets_elsewhere.md); dense if not given",
    )
    group.add_argument(
        "--new_classifier",
        action="store_true",
        help="leave the classifier of the ticket or of --weights, the last linear layer, out: it starts dense, with "
        "random weights; for data with other classes",
    )

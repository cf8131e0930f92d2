"""What the laws of tickets are checked against, gathered from a checkpoint and the files beside it."""

from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dataset import VAL_FRACTION, read_permutation, split
from lottery.checkpointing.atomic_file import has_checksum
from lottery.checkpointing.checkpoint import read, split_state
from lottery.checkpointing.resume import is_best_network
from lottery.checkpointing.run_directory import OWN, RunDirectory, checkpoint_name
from lottery.checkpointing.run_settings import differences
from lottery.elastic.transfer import transfer_again
from lottery.tickets.invariants import Finding, Seen, TicketFacts, check, equal, unknown
from lottery.tickets.load import TicketFiles, checksum
from lottery.tickets.prac_set_files import read_sequence
from pruner import Mask, Ticket, Weights, count, kept_after, size
from utils import InputError, digest


def report(file: Path, rate: float, split_file: Path | None) -> bool:
    """Print what is found about one file; whether every law that could be checked holds."""
    print(f"{file}:")
    try:
        content, round_of = read(file), Rounds(file.parent)
        findings = [seal(file, content), place(file, content, round_of)]
        findings += check(gather(file, content, round_of, rate, split_file))
    except InputError as error:
        findings = [Finding("readable", False, str(error))]
    print("\n".join(lines(findings)))
    return all(finding.holds is not False for finding in findings)


def lines(findings: Iterable[Finding]) -> list[str]:
    words = {True: "holds", False: "BROKEN", None: "-"}
    return [f"  {finding.law:<31}  {words[finding.holds]:<6}  {finding.seen}" for finding in findings]


class Rounds:
    """The checkpoints of a directory by their round, each read at most once."""

    def __init__(self, folder: Path):
        self.directory = RunDirectory(folder)
        self.known: dict[int | None, dict | None] = {}

    def __call__(self, k: int | None) -> dict | None:
        """That of round k, or main_train.py's only one (k None); None if it is not there, or damaged, which is told of
        itself."""
        if k not in self.known:
            self.known[k] = self.read(self.directory.checkpoint(k))
        return self.known[k]

    def read(self, path: Path) -> dict | None:
        try:
            content = read(path) if path.exists() else {}
        except InputError:
            return None
        return content if "state_dict" in content else None


def seal(file: Path, content: dict) -> Finding:
    """Whether the file, which has been read and so is not damaged, carries a checksum."""
    if has_checksum(file):
        return Finding("checksum", True, "as it was written")
    if "format" in content:
        return Finding("checksum", False, "lost: every file of this suite is written with one")
    return Finding("checksum", None, "none in the file (the 2021 code writes none): unchecked")


def place(file: Path, content: dict, round_of: Rounds) -> Finding:
    """Whether the file is where its run put it: under its own name, beside others of the same run."""
    law, k = "its place in the run", content.get("state")
    later = round_of(k + 1) if isinstance(k, int) else None
    if "format" not in content:
        if later and "format" in later:
            return Finding(law, False, f"not written by this suite, as {checkpoint_name(later)} beside it was")
        return Finding(law, None, "not checked: only files of this suite say what they are")
    if OWN.fullmatch(file.name) and checkpoint_name(content) != file.name:
        return Finding(law, False, f"it was written as {checkpoint_name(content)}")
    is_best = "momentum" not in content
    beside = round_of(k if is_best else k - 1) if is_best or k else None
    beside = beside if beside and "format" in beside else None
    there, here = (beside or content)["settings"], content["settings"]
    if found := differences(here, there) and differences(there, here):  # either may have fewer --pruning_times
        return Finding(law, False, f"{checkpoint_name(beside)} beside it has other settings: {'; '.join(found)}")
    if wrong := unlike_later(content, later):
        return Finding(law, False, wrong)
    if beside is None:
        return Finding(law, None, "not checked: the checkpoint it goes with is not there")
    if is_best and not is_best_network(content, beside):
        return Finding(law, False, f"not the best network of {checkpoint_name(beside)}")
    return Finding(law, True, f"goes with {checkpoint_name(beside)}")


def unlike_later(content: dict, later: dict | None) -> str | None:
    """What the books of the round after say otherwise about a checkpoint, if they do."""
    rows = {row["round"]: row for row in later.get("rounds", [])} if later else {}
    row, epochs = rows.get(content["state"]), len(content["history"])
    if "momentum" not in content or row is None or row["epochs"] == epochs:
        return None
    return f"{epochs} epochs of a round that had {row['epochs']}, as {checkpoint_name(later)} knows"


def gather(file: Path, content: dict, round_of: Rounds, rate: float, split_file: Path | None) -> TicketFacts:
    """The ticket in `file`, and what this file, those beside it and the split file tell of it.

    `rate` is the pruning rate of a file that does not say its own.
    """
    if "state_dict" not in content:
        raise InputError(f"{file} is no checkpoint: it has no state_dict")
    weights, mask = ticket_in(content)
    settings, k = content.get("settings", {}), content.get("state")
    before = round_of(k - 1) if k and is_search(settings) else None
    training, validation = divided(split_file, settings) if split_file else split_told(content, round_of)
    carried, not_carried = carried_again(content, file.parent)
    return TicketFacts(
        mask=mask,
        weights=weights,
        rewound=content.get("init_weight"),
        untrained=bool(content.get("format") and not content.get("history")),
        kept=kept_of(content, mask, round_of, rate),
        before=None if before is None else split_state(before["state_dict"])[1],
        rewinding=rewinding_point(file, content, before),
        examples=torch.from_numpy(read_sequence(content, file)).long() if "sequence" in content else None,
        training=training,
        validation=validation,
        carried=carried,
        not_carried=not_carried,
    )


def kept_of(content: dict, mask: Mask, round_of: Rounds, rate: float) -> int | None:
    """How many weights the mask should keep; None where that is not known.

    A ticket that was found before training says so. A search prunes what its round 0 keeps: every weight, or those of
    the ticket it was given.
    """
    settings, k = content.get("settings", {}), content.get("state")
    if "kept" in settings:
        return settings["kept"]
    if not k or not mask or not is_search(settings):
        return None
    open_run = size(mask)
    if settings.get("mask_dir"):
        if (first := round_of(0)) is None:
            return None
        open_run = count(split_state(first["state_dict"])[1]) or open_run
    return kept_after(k, settings.get("rate", rate), open_run)


def is_search(settings: Mapping) -> bool:
    """Whether a round's mask comes of pruning that of the round before; main_channels.py selects each for itself."""
    return settings.get("script") != "main_channels.py"


def ticket_in(content: dict) -> tuple[Weights, Mask]:
    """Weights with plain keys, and the mask. Ours are as they stand in the file; where the 2021 code drops a weight it
    leaves a number that its network never sees."""
    state = content["state_dict"]
    weights, mask = split_state(state)
    if "format" in content:
        weights |= {name: state[f"{name}_orig"] for name in mask}
    return weights, mask


def rewinding_point(file: Path, content: dict, before: dict | None) -> Weights | None:
    """The weights every round is rewound to: in the file named after its epoch, or those of the round before.

    The 2021 code does not say which of the two it used: the one that fits is taken, if there is one.
    """
    settings, rewound = content.get("settings", {}), content.get("init_weight")
    files = sorted(file.parent.glob("epoch_*_rewind_weight.pt"))
    if settings:
        point = settings.get("rewind_epoch"), settings.get("rewind_iteration")
        rewinds = settings.get("prune_type") == "rewind_lt"
        files = [RunDirectory(file.parent).rewinding(*point)] if rewinds else []
    candidates = [read(path) for path in files if path.exists()]
    candidates += [before["init_weight"]] if before and before.get("init_weight") else []
    fitting = (each for each in candidates if rewound and equal(rewound, each, "")[0])
    return next(fitting, candidates[0] if candidates else None)


def carried_again(content: dict, folder: Path) -> tuple[Ticket | None, Seen | None]:
    """An elastic ticket's source, carried over as the file says it was; or what there is to say instead."""
    if content.get("settings", {}).get("script") != "main_elastic.py":
        return None, None
    source, why = source_of(content, folder)
    if source is None:
        return None, unknown(why)
    try:
        return transfer_again(content, source), None
    except InputError as error:
        return None, (False, f"its source cannot be carried over as it says: {error}")


def source_of(content: dict, folder: Path) -> tuple[Ticket | None, str]:
    """The ticket that an elastic one in `folder` was made of, if its files are still there and hold it; or why not."""
    if "carried_from" not in content:
        return None, "the file does not say where its source lies"
    expected, why = content["settings"]["ticket checksum"], ""
    there = {given: found(given, relative, folder) for given, relative in content["carried_from"].values()}
    if gone := [given for given, files in there.items() if not files]:
        return None, f"its source is gone: {gone[0]} is not there"
    for init, mask in product(*(there[given] for given, _ in content["carried_from"].values())):
        try:
            source = TicketFiles.read(init, mask).as_it_stands()
        except InputError as error:
            why = f"its source is gone: {error}"
            continue
        if checksum(source) == expected:
            return source, ""
        names = " and ".join(dict.fromkeys(map(str, (init, mask))))
        why = f"its source is gone: now another ticket is in {names}, checksum {checksum(source)}, not {expected}"
    return None, why


def found(given: str, relative: str, folder: Path) -> list[Path]:
    """A file at the path that was given and at the one from `folder`, as far as it is there; once, if that is one."""
    files = {path.resolve(): path for path in (folder / relative, Path(given)) if path.is_file()}
    return list(files.values())


def divided(split_file: Path, settings: Mapping) -> tuple[Tensor, Tensor]:
    """Training and validation examples by the split file; InputError if these settings tell of another split."""
    permutation = read_permutation(split_file)
    checksum = digest(permutation.astype(np.int64))
    if (known := settings.get("split checksum", checksum)) != checksum:
        raise InputError(
            f"it was made with another split than --split_file {split_file}: split checksum was {known}, is {checksum}"
        )
    return split(permutation, settings.get("val_fraction", VAL_FRACTION))


def split_told(content: dict, round_of: Rounds) -> tuple[Tensor | None, Tensor | None]:
    """Training and validation examples, as far as our own files tell: round 0 of a search trains on all that train."""
    validation = content.get("validation")
    settings = content.get("settings", {})
    first = round_of(0) if settings and not settings.get("prac_set") and "state" in content else None
    training = first and first.get("settings", {}).get("split checksum") == settings.get("split checksum")
    return (first["sequence"].long() if training else None), (None if validation is None else validation.long())

"""Notes on flags of a script that have no effect beside the others. Old commands pass them, so they are no error.

Importing this module does not import torch.
"""

from argparse import Namespace
from collections.abc import Callable, Sequence

from lottery.cli.parser import Parser

Reason = Callable[[Namespace], str | None]


def _rewinds_elsewhere(args: Namespace) -> str | None:
    if args.prune_type == "rewind_lt":
        return None
    return f"it is for --prune_type rewind_lt, and this run has --prune_type {args.prune_type}"


def _keeps_no_share(args: Namespace) -> str | None:
    if args.data_prune in ("constent", "constant"):
        return None
    return f"it is for --data_prune constent, and this run has --data_prune {args.data_prune}"


def _has_no_threshold(args: Namespace) -> str | None:
    if args.data_prune not in ("constent", "constant"):
        return None
    return f"--data_prune {args.data_prune} keeps the most forgotten examples, however often they were forgotten"


def _follows(args: Namespace) -> str | None:
    return "--like_run ends rounds where those of its run ended" if getattr(args, "like_run", None) else None


def _never_stops(args: Namespace) -> str | None:
    if reason := _follows(args) or _is_told_not_to_stop(args):
        return reason
    return "there is no early stop without --eb_eps" if args.eb_eps is None else None


def _is_told_not_to_stop(args: Namespace) -> str | None:
    if getattr(args, "like_run", None) or not getattr(args, "no_early_stop", False):
        return None  # --like_run refuses an --eb_eps beside it
    return "--no_early_stop trains every round to its end"


def _has_no_tolerance(args: Namespace) -> str | None:
    return "it is for --top1_tol, and layers end at a budget" if args.top1_tol is None else None


def _matches_no_dense_network(args: Namespace) -> str | None:
    if args.init_dir is None:
        return None
    return "the dense network is trained elsewhere, so how much pre-training is needed is not measured"


def _tunes_nothing(args: Namespace) -> str | None:
    if args.fine_tune_epochs or args.layer_tuning:
        return None
    return "nothing is trained after a selection, with --fine_tune_epochs 0 and without --layer_tuning"


IDLE: tuple[tuple[Sequence[str], Reason], ...] = (
    (("rewind_epoch", "rewind_iteration"), _rewinds_elsewhere),
    (("data_rate",), _keeps_no_share),
    (("threshold",), _has_no_threshold),
    (("queue_length", "eb_interval", "eb_arm"), _never_stops),
    (("eb_eps",), _is_told_not_to_stop),
    (("no_early_stop",), _follows),
    (("tolerance_of",), _has_no_tolerance),
    (("delta",), _matches_no_dense_network),
    (("fine_tune_lr",), _tunes_nothing),
)


def idle_notes(args: Namespace, parser: Parser) -> tuple[str, ...]:
    """A sentence for each flag of the command that changes nothing, in the order of `IDLE`. To be asked before the
    checks fill in values that were not given."""
    given = parser.given(args.command_line)
    return tuple(
        f"--{name}{_value(getattr(args, name))} has no effect: {reason}"
        for names, find_reason in IDLE
        for name in names
        if name in given and (reason := find_reason(args))
    )


def _value(value: object) -> str:
    return "" if value is True else f" {value}"

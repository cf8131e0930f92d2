"""A search before its first round: its flags and files made into what it works with, and checked."""

import argparse
from collections.abc import Callable
from dataclasses import replace

from lottery.checkpointing.resume import open_run
from lottery.checkpointing.run_directory import RunDirectory
from lottery.cli.flags import about, settings
from lottery.search.imp import ImpSearch
from lottery.search.prac_sets import ExampleSelection, FixedSets
from lottery.search.reference_run import LIKE_RUN, ReferenceRun, find_reference_run
from lottery.search.schedule import Schedule, nearest_epochs
from lottery.tickets.load import given_ticket, ticket_settings
from lottery.tickets.prac_set_files import check_sets, read_sets, set_notes
from lottery.training.checkpointer import Checkpointer
from lottery.training.context import TrainingContext, build_context
from lottery.training.network_notes import classifier_setting, network_notes
from pruner import Ticket
from utils import InputError, digest


def find_tickets(
    args: argparse.Namespace, script: str, policy_of: Callable[[TrainingContext, ReferenceRun | None], ExampleSelection]
) -> None:
    """Set up, decide whether to begin or to go on, and search. InputError before anything is written.

    `policy_of` is asked for the sets where none are given, with the course of the run that this search is to follow.
    """
    reference = find_reference_run(args)
    context = build_context(args)
    found = given_ticket(args, context)
    ticket = found.ticket
    check_layers(args, ticket, context)
    given = read_sets(args.prac_set, args.pruning_times) if args.prac_set else []
    sets = {f"PrAC set of round {k}": digest(each.entries) for k, each in enumerate(given)}
    decided = sets | ticket_settings(args, ticket) | found.settings | classifier_setting(context.model)
    chosen = settings(args, script, context.contents | decided)
    if reference:
        reference.check(chosen)
        chosen |= reference.recorded()
    policy = FixedSets(check_sets(given, context.whole, chosen)) if given else policy_of(context, reference)
    schedule = Schedule.from_flags(args, context.recipe, len(context.whole), len(policy.first()), ticket.step)
    schedule = following(reference, schedule) if reference else schedule
    directory = RunDirectory(args.save_dir)
    told = about(args, script) | {"ticket": found.origin}
    checkpointer = Checkpointer(
        context, directory, chosen, told, interval=args.save_interval, tensorboard=args.tensorboard
    )
    search = ImpSearch(args, context, directory, policy, schedule, context.complete(ticket), checkpointer)
    search.check()
    inputs = [args.prac_set, args.init_dir, args.mask_dir, reference and reference.path]
    with open_run(directory, chosen, args, inputs=inputs) as resume_point, context.progress:
        notes = [
            *found.told,
            *found.notes,
            *set_notes(given, chosen),
            *network_notes(context.model, args.prune_classifier),
        ]
        context.log_setup([*notes, *rounded(reference, schedule), *resume_point.notes])
        search.run(resume_point)


def check_layers(args: argparse.Namespace, ticket: Ticket, context: TrainingContext) -> None:
    """InputError if the mask of a given ticket decides about weights that this search would leave alone."""
    if strangers := [name for name in ticket.mask if name not in context.dense()]:
        raise InputError(
            f"--mask_dir {args.mask_dir} has a mask for {strangers[0]}, which this search does not prune: is "
            "--prune_classifier missing?"
        )


def following(reference: ReferenceRun, schedule: Schedule) -> Schedule:
    """The schedule of a search that follows the course: on sets as large its rounds end where those did; on all the
    data they have the nearest whole epochs to as many steps."""
    if reference.flag == LIKE_RUN:
        return replace(schedule, stops=reference.epochs)
    return replace(schedule, lengths=nearest_epochs(reference.steps, schedule.vanilla.steps_per_epoch))


def rounded(reference: ReferenceRun | None, schedule: Schedule) -> list[str]:
    """What rounding to whole epochs made of the steps that a search was to take."""
    if not schedule.lengths:
        return []
    each = schedule.vanilla.steps_per_epoch
    rounds = enumerate(zip(schedule.lengths, reference.steps, strict=True))
    told = (f"round {k} has {epochs} ({epochs * each:,} steps for {steps:,})" for k, (epochs, steps) in rounds)
    return [f"{reference}, in whole epochs of {each} steps: {', '.join(told)}"]

"""A search before its first round: its flags and files made into what it works with, and checked."""

import argparse
from collections.abc import Callable
from dataclasses import replace

from lottery.checkpointing.resume import begun
from lottery.checkpointing.run_directory import RunDirectory
from lottery.cli.flags import about, settings
from lottery.search.imp import Search
from lottery.search.prac_sets import FixedSets, Policy
from lottery.search.reference_run import LIKE_RUN, Course, course_of
from lottery.search.schedule import Schedule, nearest_epochs
from lottery.tickets.load import given_ticket, ticket_settings
from lottery.tickets.prac_set_files import check_sets, read_sets, set_notes
from lottery.training.checkpointer import SavedRun
from lottery.training.context import Workbench, set_up
from lottery.training.network_notes import classifier_setting, network_notes
from pruner import Ticket
from utils import InputError, digest


def find_tickets(
    args: argparse.Namespace, script: str, policy_of: Callable[[Workbench, Course | None], Policy]
) -> None:
    """Set up, decide whether to begin or to go on, and search. InputError before anything is written.

    `policy_of` is asked for the sets where none are given, with the course of the run that this search is to follow.
    """
    course = course_of(args)
    bench = set_up(args)
    found = given_ticket(args, bench)
    ticket = found.ticket
    check_layers(args, ticket, bench)
    given = read_sets(args.prac_set, args.pruning_times) if args.prac_set else []
    sets = {f"PrAC set of round {k}": digest(each.entries) for k, each in enumerate(given)}
    decided = sets | ticket_settings(args, ticket) | found.settings | classifier_setting(bench.model)
    chosen = settings(args, script, bench.contents | decided)
    if course:
        course.check(chosen)
        chosen |= course.recorded()
    policy = FixedSets(check_sets(given, bench.whole, chosen)) if given else policy_of(bench, course)
    schedule = Schedule.from_flags(args, bench.recipe, len(bench.whole), len(policy.first()), ticket.step)
    schedule = following(course, schedule) if course else schedule
    directory = RunDirectory(args.save_dir)
    told = about(args, script) | {"ticket": found.origin}
    saved = SavedRun(bench, directory, chosen, told, interval=args.save_interval, tensorboard=args.tensorboard)
    search = Search(args, bench, directory, policy, schedule, bench.complete(ticket), saved)
    search.check()
    inputs = [args.prac_set, args.init_dir, args.mask_dir, course and course.path]
    with begun(directory, chosen, args, inputs=inputs) as opening, bench.feedback:
        notes = [
            *found.told,
            *found.notes,
            *set_notes(given, chosen),
            *network_notes(bench.model, args.prune_classifier),
        ]
        bench.tell_set_up([*notes, *rounded(course, schedule), *opening.notes])
        search.run(opening)


def check_layers(args: argparse.Namespace, ticket: Ticket, bench: Workbench) -> None:
    """InputError if the mask of a given ticket decides about weights that this search would leave alone."""
    if strangers := [name for name in ticket.mask if name not in bench.dense()]:
        raise InputError(
            f"--mask_dir {args.mask_dir} has a mask for {strangers[0]}, which this search does not prune: is "
            "--prune_classifier missing?"
        )


def following(course: Course, schedule: Schedule) -> Schedule:
    """The schedule of a search that follows the course: on sets as large its rounds end where those did; on all the
    data they have the nearest whole epochs to as many steps."""
    if course.flag == LIKE_RUN:
        return replace(schedule, stops=course.epochs)
    return replace(schedule, lengths=nearest_epochs(course.steps, schedule.vanilla.steps_per_epoch))


def rounded(course: Course | None, schedule: Schedule) -> list[str]:
    """What rounding to whole epochs made of the steps that a search was to take."""
    if not schedule.lengths:
        return []
    each = schedule.vanilla.steps_per_epoch
    rounds = enumerate(zip(schedule.lengths, course.steps, strict=True))
    told = (f"round {k} has {epochs} ({epochs * each:,} steps for {steps:,})" for k, (epochs, steps) in rounds)
    return [f"{course}, in whole epochs of {each} steps: {', '.join(told)}"]

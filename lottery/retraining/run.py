"""Train one ticket on all the training data: the test that a subnetwork trains as well as the whole network."""

import argparse
from dataclasses import replace

from lottery.checkpointing.resume import Opening, begun
from lottery.checkpointing.run_directory import RunDirectory
from lottery.cli.flags import about, settings
from lottery.retraining.rules import RULES, recipe_under, takes_trained
from lottery.search.schedule import check_begin
from lottery.tickets.controls import CONTROLS, Chance, coincidence, controlled
from lottery.tickets.load import GivenTicket, TicketFiles, given_ticket, own_parts, ticket_settings
from lottery.training.checkpointer import SavedRun, restore
from lottery.training.context import Workbench, set_up
from lottery.training.costs import Vanilla
from lottery.training.progress import draw_curves, epoch_line, measured_at, round_table
from lottery.training.recipe import steps_per_epoch
from lottery.training.training_run import Trial, plan_lines, short_warnings, summary, watch
from pruner import Ticket


def train_ticket(args: argparse.Namespace, bench: Workbench | None = None) -> None:
    """Set up, load the ticket, begin or go on, and train. InputError before anything is written.

    A `bench` that is given has the initial weights of --seed in its network, and the order seed of `args`.
    """
    bench = bench or set_up(args)
    given, ticket, notes = read_ticket(args, bench)
    first_step = first_step_of(args, ticket, bench)
    bench = replace(bench, recipe=recipe_under(args.rule, bench.recipe))
    notes += rule_notes(args, first_step, bench)
    chosen = settings(args, "main_train.py", bench.contents | ticket_settings(args, ticket) | given.settings)
    directory = RunDirectory(args.save_dir)
    rule = rule_told(args, given.files, first_step, bench)
    told = about(args, "main_train.py") | {"ticket": given.origin, "rule": rule}
    saved = SavedRun(bench, directory, chosen, told, interval=args.save_interval, tensorboard=args.tensorboard)
    with begun(directory, chosen, args, inputs=[args.init_dir, args.mask_dir]) as opening, bench.feedback:
        bench.tell_set_up([*notes, *opening.notes])
        train(first_trial(opening, bench.complete(ticket), first_step, bench, saved), bench, saved)


def read_ticket(args: argparse.Namespace, bench: Workbench) -> tuple[GivenTicket, Ticket, list[str]]:
    """What is given, what of it is to be trained, and what is to be said of that; InputError for what cannot be, also
    where it is to begin."""
    given = given_ticket(args, bench, takes_trained(args.rule))
    ticket, notes = trained_ticket(given, args.control, bench)
    if takes_trained(args.rule):
        given.files.check_kept(ticket.mask, bench.model, own_parts(bench.model, args.new_classifier))
    first_step_of(args, ticket, bench)
    return given, ticket, notes


def trained_ticket(given: GivenTicket, control: str | None, bench: Workbench) -> tuple[Ticket, list[str]]:
    """The ticket that is given, or its control, and what is to be said of it; nothing of given weights where the
    control has others. InputError for a control that would be what it should be a control of."""
    if control is None:
        return given.ticket, [*given.told, *given.notes]
    found = controlled(control, given.ticket, Chance(bench.seed, bench.initial))
    asked = f"--control {control}: not the ticket itself, but {CONTROLS[control].help}"
    told = [] if CONTROLS[control].fresh else given.told
    return found, [*told, *given.notes, asked, *coincidence(control, found, given.ticket)]


def first_step_of(args: argparse.Namespace, ticket: Ticket, bench: Workbench) -> int:
    """Where in the schedule the training begins; InputError if a rule, or --rewind_lr, cannot begin where the ticket
    stands."""
    if not args.rewind_lr:
        return 0
    check_begin(ticket.step, steps_of(bench), f"--rule {args.rule}" if vars(args).get("rule") else "--rewind_lr")
    return ticket.step


def steps_of(bench: Workbench) -> int:
    """All optimiser steps of the schedule."""
    return bench.recipe.epochs * steps_per_epoch(len(bench.whole), bench.recipe.batch_size)


def rule_told(args: argparse.Namespace, files: TicketFiles, first_step: int, bench: Workbench) -> dict | None:
    """For the records: the rule, which weights it begins with, and its steps; None without a rule."""
    if args.rule is None:
        return None
    weights = "trained" if takes_trained(args.rule) else "starting"
    steps = {"first_step": first_step, "steps": steps_of(bench) - first_step}
    return {"name": args.rule, "file": str(files.init.path), "weights": weights} | steps


def rule_notes(args: argparse.Namespace, first_step: int, bench: Workbench) -> list[str]:
    """What is to be said of a rule, if there is one."""
    if args.rule is None:
        return []
    steps = f"{steps_of(bench) - first_step:,} steps after step t = {first_step:,} of T = {steps_of(bench):,}"
    return [f"--rule {args.rule}: {RULES[args.rule].help}; {steps}"]


def first_trial(opening: Opening, ticket: Ticket, first_step: int, bench: Workbench, saved: SavedRun) -> Trial:
    """The training as it was saved, or at its beginning."""
    if opening.saved:
        trial = restore(opening, bench.recipe, bench)
        saved.go_on(trial)
        if trial.over:
            bench.feedback.say("this training is finished; its result again:")
        return trial
    bench.step.load_(ticket)
    trial = Trial(ticket, bench.whole, bench.recipe, first_step=first_step)
    saved.keep(trial, ticket.weights, ticket.step)  # from now on the directory is this run's
    return trial


def train(trial: Trial, bench: Workbench, saved: SavedRun) -> None:
    """Train to the end of the schedule, saving now and then; then the curves and the table."""
    feedback = bench.feedback
    feedback.begin(trial.steps)
    feedback.expect(trial.planned_steps, trial.describe())
    feedback.say(*plan_lines(trial, bench))
    try:
        for _, row in watch(trial, bench):
            feedback.say(epoch_line(row, trial.recipe.epochs))
            saved.keep(trial, trial.ticket.weights, trial.ticket.step)
    finally:
        saved.flush()
    row = summary(trial, bench)
    saved.summarize([row], Vanilla(trial.recipe.epochs, trial.steps_per_epoch), round=0, finished=True)
    draw_curves(trial.history, saved.directory.curves(None), f"{100 * row['sparsity']:.2f} % sparse")
    feedback.say(*(f"warning: {line}" for line in short_warnings(trial)), "")
    feedback.say(*round_table([row], "round"), f"test accuracy at {measured_at(row)}: {row['test']:.2f}")

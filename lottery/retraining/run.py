"""Train one ticket on all the training data: the test that a subnetwork trains as well as the whole network."""

import argparse
from dataclasses import replace

from lottery.checkpointing.resume import ResumePoint, open_run
from lottery.checkpointing.run_directory import RunDirectory
from lottery.cli.flags import about, settings
from lottery.retraining.rules import RULES, recipe_under, takes_trained
from lottery.search.schedule import check_begin
from lottery.tickets.controls import CONTROLS, RandomSource, coincidence, controlled
from lottery.tickets.load import GivenTicket, TicketFiles, given_ticket, own_parts, ticket_settings
from lottery.training.checkpointer import Checkpointer, restore_training
from lottery.training.context import TrainingContext, build_context
from lottery.training.costs import Vanilla
from lottery.training.progress import draw_curves, epoch_line, measured_at, round_table
from lottery.training.recipe import steps_per_epoch
from lottery.training.training_run import TrainingRun, plan_lines, short_warnings, summary, train_epochs
from pruner import Ticket


def train_ticket(args: argparse.Namespace, context: TrainingContext | None = None) -> None:
    """Set up, load the ticket, begin or go on, and train. InputError before anything is written.

    A `context` that is given has the initial weights of --seed in its network, and the order seed of `args`.
    """
    context = context or build_context(args)
    given, ticket, notes = read_ticket(args, context)
    first_step = first_step_of(args, ticket, context)
    context = replace(context, recipe=recipe_under(args.rule, context.recipe))
    notes += rule_notes(args, first_step, context)
    chosen = settings(args, "main_train.py", context.contents | ticket_settings(args, ticket) | given.settings)
    directory = RunDirectory(args.save_dir)
    rule = rule_told(args, given.files, first_step, context)
    told = about(args, "main_train.py") | {"ticket": given.origin, "rule": rule}
    checkpointer = Checkpointer(
        context, directory, chosen, told, interval=args.save_interval, tensorboard=args.tensorboard
    )
    with open_run(directory, chosen, args, inputs=[args.init_dir, args.mask_dir]) as resume_point, context.progress:
        context.log_setup([*notes, *resume_point.notes])
        train(
            start_training(resume_point, context.complete(ticket), first_step, context, checkpointer),
            context,
            checkpointer,
        )


def read_ticket(args: argparse.Namespace, context: TrainingContext) -> tuple[GivenTicket, Ticket, list[str]]:
    """What is given, what of it is to be trained, and what is to be said of that; InputError for what cannot be, also
    where it is to begin."""
    given = given_ticket(args, context, takes_trained(args.rule))
    ticket, notes = trained_ticket(given, args.control, context)
    if takes_trained(args.rule):
        given.files.check_kept(ticket.mask, context.model, own_parts(context.model, args.new_classifier))
    first_step_of(args, ticket, context)
    return given, ticket, notes


def trained_ticket(given: GivenTicket, control: str | None, context: TrainingContext) -> tuple[Ticket, list[str]]:
    """The ticket that is given, or its control, and what is to be said of it; nothing of given weights where the
    control has others. InputError for a control that would be what it should be a control of."""
    if control is None:
        return given.ticket, [*given.told, *given.notes]
    found = controlled(control, given.ticket, RandomSource(context.seed, context.initial))
    asked = f"--control {control}: not the ticket itself, but {CONTROLS[control].help}"
    told = [] if CONTROLS[control].fresh else given.told
    return found, [*told, *given.notes, asked, *coincidence(control, found, given.ticket)]


def first_step_of(args: argparse.Namespace, ticket: Ticket, context: TrainingContext) -> int:
    """Where in the schedule the training begins; InputError if a rule, or --rewind_lr, cannot begin where the ticket
    stands."""
    if not args.rewind_lr:
        return 0
    check_begin(ticket.step, steps_of(context), f"--rule {args.rule}" if vars(args).get("rule") else "--rewind_lr")
    return ticket.step


def steps_of(context: TrainingContext) -> int:
    """All optimiser steps of the schedule."""
    return context.recipe.epochs * steps_per_epoch(len(context.whole), context.recipe.batch_size)


def rule_told(args: argparse.Namespace, files: TicketFiles, first_step: int, context: TrainingContext) -> dict | None:
    """For the records: the rule, which weights it begins with, and its steps; None without a rule."""
    if args.rule is None:
        return None
    weights = "trained" if takes_trained(args.rule) else "starting"
    steps = {"first_step": first_step, "steps": steps_of(context) - first_step}
    return {"name": args.rule, "file": str(files.init.path), "weights": weights} | steps


def rule_notes(args: argparse.Namespace, first_step: int, context: TrainingContext) -> list[str]:
    """What is to be said of a rule, if there is one."""
    if args.rule is None:
        return []
    steps = f"{steps_of(context) - first_step:,} steps after step t = {first_step:,} of T = {steps_of(context):,}"
    return [f"--rule {args.rule}: {RULES[args.rule].help}; {steps}"]


def start_training(
    resume_point: ResumePoint, ticket: Ticket, first_step: int, context: TrainingContext, checkpointer: Checkpointer
) -> TrainingRun:
    """The training as it was saved, or at its beginning."""
    if resume_point.saved:
        training = restore_training(resume_point, context.recipe, context)
        checkpointer.resume(training)
        if training.over:
            context.progress.log("this training is finished; its result again:")
        return training
    context.step.load_(ticket)
    training = TrainingRun(ticket, context.whole, context.recipe, first_step=first_step)
    checkpointer.save(training, ticket.weights, ticket.step)  # from now on the directory is this run's
    return training


def train(training: TrainingRun, context: TrainingContext, checkpointer: Checkpointer) -> None:
    """Train to the end of the schedule, saving now and then; then the curves and the table."""
    progress = context.progress
    progress.begin(training.steps)
    progress.expect(training.planned_steps, training.describe())
    progress.log(*plan_lines(training, context))
    try:
        for _, row in train_epochs(training, context):
            progress.log(epoch_line(row, training.recipe.epochs))
            checkpointer.save(training, training.ticket.weights, training.ticket.step)
    finally:
        checkpointer.flush()
    row = summary(training, context)
    checkpointer.summarize([row], Vanilla(training.recipe.epochs, training.steps_per_epoch), round=0, finished=True)
    draw_curves(training.history, checkpointer.directory.curves(None), f"{100 * row['sparsity']:.2f} % sparse")
    progress.log(*(f"warning: {line}" for line in short_warnings(training)), "")
    progress.log(*round_table([row], "round"), f"test accuracy at {measured_at(row)}: {row['test']:.2f}")

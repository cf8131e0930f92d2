"""Train one ticket on all the training data: the test that a subnetwork trains as well as the whole network."""

import argparse

from controls import CONTROLS, Chance, controlled
from feedback import draw_curves, epoch_line, measured_at, round_table
from flags import about, settings
from ledger import Vanilla
from opening import Opening, begun
from pruner import Ticket
from recipe import steps_per_epoch
from rundir import RunDirectory
from saved_run import SavedRun, restore
from schedule import check_begin
from tickets import given_ticket, ticket_settings
from trial import Trial, plan_lines, short_warnings, summary, watch
from workbench import Workbench, set_up


def train_ticket(args: argparse.Namespace) -> None:
    """Set up, load the ticket, begin or go on, and train. InputError before anything is written."""
    bench = set_up(args)
    files, ticket, notes = given_ticket(args, bench)
    if args.control:
        ticket = controlled(args.control, ticket, Chance(bench.seed, bench.initial))
        notes.append(f"--control {args.control}: not the ticket itself, but {CONTROLS[args.control].help}")
    first_step = first_step_of(args, ticket, bench)
    chosen = settings(args, "main_train.py", bench.contents | ticket_settings(args, ticket))
    directory = RunDirectory(args.save_dir)
    told = about(args, "main_train.py") | {"ticket": files.origin}
    saved = SavedRun(bench, directory, chosen, told, interval=args.save_interval, tensorboard=args.tensorboard)
    with begun(directory, chosen, args, inputs=[args.init_dir, args.mask_dir]) as opening, bench.feedback:
        bench.tell_set_up([*notes, *opening.notes])
        train(first_trial(opening, bench.complete(ticket), first_step, bench, saved), bench, saved)


def first_step_of(args: argparse.Namespace, ticket: Ticket, bench: Workbench) -> int:
    """Where in the schedule the training begins; InputError if --rewind_lr cannot begin where the ticket stands."""
    if not args.rewind_lr:
        return 0
    check_begin(ticket.step, bench.recipe.epochs * steps_per_epoch(len(bench.whole), bench.recipe.batch_size))
    return ticket.step


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

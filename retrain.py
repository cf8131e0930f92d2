"""Train one ticket on all the training data: the test that a subnetwork trains as well as the whole network."""

import argparse

from feedback import draw_curves, epoch_line, measured_at, round_table
from flags import about, settings
from ledger import Vanilla
from opening import Opening, begun
from pruner import Ticket, dense
from rundir import RunDirectory
from saved_run import SavedRun, restore
from tickets import check_ticket_data, checksum, origin, read_ticket
from trial import Trial, plan_lines, short_warnings, summary, watch
from workbench import Workbench, set_up


def train_ticket(args: argparse.Namespace) -> None:
    """Set up, load the ticket, begin or go on, and train. InputError before anything is written."""
    bench = set_up(args)
    ticket, notes = read_ticket(args.init_dir, args.mask_dir, bench.model)
    for path in dict.fromkeys(filter(None, (args.init_dir, args.mask_dir))):
        notes += check_ticket_data(path, *bench.contents.values(), bench.split.validation)
    chosen = settings(args, "main_train.py", bench.contents | {"ticket checksum": checksum(ticket)})
    directory = RunDirectory(args.save_dir)
    told = about(args, "main_train.py") | {"ticket": origin(args.mask_dir or args.init_dir)}
    saved = SavedRun(bench, directory, chosen, told, interval=args.save_interval, tensorboard=args.tensorboard)
    with begun(directory, chosen, args, inputs=[args.init_dir, args.mask_dir]) as opening, bench.feedback:
        bench.tell_set_up([*notes, *opening.notes])
        train(first_trial(opening, ticket, bench, saved), ticket, bench, saved)


def first_trial(opening: Opening, ticket: Ticket, bench: Workbench, saved: SavedRun) -> Trial:
    """The training as it was saved, or at its beginning."""
    if opening.saved:
        trial = restore(opening, bench.recipe, bench)
        saved.go_on(trial)
        if trial.over:
            bench.feedback.say("this training is finished; its result again:")
        return trial
    trial = begin(ticket, bench)
    saved.keep(trial, ticket.weights)  # from now on the directory is this run's
    return trial


def begin(ticket: Ticket, bench: Workbench) -> Trial:
    """The ticket in the step, its training not yet begun."""
    mask = {name: layer.to(bench.device) for name, layer in ticket.mask.items()} or dense(bench.model)
    bench.step.load_(Ticket(mask, ticket.weights))
    return Trial(Ticket(mask, ticket.weights), bench.whole, bench.recipe)


def train(trial: Trial, ticket: Ticket, bench: Workbench, saved: SavedRun) -> None:
    """Train to the end of the schedule, saving now and then; then the curves and the table."""
    feedback = bench.feedback
    feedback.begin(trial.steps)
    feedback.expect(trial.planned_steps, trial.describe())
    feedback.say(*plan_lines(trial, bench))
    try:
        for _, row in watch(trial, bench):
            feedback.say(epoch_line(row, trial.recipe.epochs))
            saved.keep(trial, ticket.weights)
    finally:
        saved.flush()
    row = summary(trial, bench)
    saved.summarize([row], Vanilla(trial.recipe.epochs, trial.steps_per_epoch), round=0, finished=True)
    draw_curves(trial.history, saved.directory.curves(None), f"{100 * row['sparsity']:.2f} % sparse")
    feedback.say(*(f"warning: {line}" for line in short_warnings(trial)), "")
    feedback.say(*round_table([row], "round"), f"test accuracy at {measured_at(row)}: {row['test']:.2f}")

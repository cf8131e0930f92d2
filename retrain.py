"""Train one ticket on all the training data: the test that a subnetwork trains as well as the whole network."""

import argparse

import trial as trials
from checkpoint import read_mask, starting_weights
from dataset import digest
from feedback import round_table
from flags import settings
from pruner import Mask, Ticket, dense
from rundir import Opening, RunDirectory, open_run
from training import copy_weights
from trial import Trial, watch
from workbench import Workbench, set_up


def train_ticket(args: argparse.Namespace) -> None:
    """Set up, load the ticket, decide whether to begin or to go on, and train."""
    bench = set_up(args)
    ticket = load_ticket(args, bench)
    contents = bench.contents | {"ticket checksum": checksum(ticket)}
    chosen = settings(args, "main_train.py", contents)
    directory = RunDirectory(args.save_dir)
    opening = open_run(directory, chosen, resume=args.resume, checkpoint=args.checkpoint, overwrite=args.overwrite)
    directory.make(opening)
    train(begin_or_go_on(opening, ticket, bench), ticket, bench, directory, chosen)


def load_ticket(args: argparse.Namespace, bench: Workbench) -> Ticket:
    """The ticket the flags name, checked against the network; what is missing is said and made up for."""
    say = bench.feedback.say
    weights, mask = copy_weights(bench.model), {}
    if args.init_dir:
        weights, notes = starting_weights(args.init_dir, bench.model)
        say(*(f"note: {note}" for note in notes))
    if args.mask_dir:
        mask = read_mask(args.mask_dir, bench.model)
    if not mask:
        say(f"{args.mask_dir} holds no mask: the dense network is trained" if args.mask_dir else "no mask: dense")
    mask = on_device(mask, bench) or dense(bench.model)
    return Ticket(mask, weights)


def on_device(mask: Mask, bench: Workbench) -> Mask:
    return {name: layer.to(bench.device) for name, layer in mask.items()}


def checksum(ticket: Ticket) -> str:
    arrays = [value.cpu().numpy() for part in ticket for _, value in sorted(part.items())]
    return digest(*arrays)


def begin_or_go_on(opening: Opening, ticket: Ticket, bench: Workbench) -> Trial:
    if opening.saved:
        bench.feedback.say(*trials.changes(opening.saved, bench))
        trial = trials.restore(opening.saved, bench.recipe, bench)
        bench.feedback.say(f"going on from {opening.source}, epoch {trial.epoch}")
        return trial
    trial = Trial(ticket, bench.whole, bench.recipe)
    trials.start(trial, bench)
    return trial


def train(trial: Trial, ticket: Ticket, bench: Workbench, directory: RunDirectory, chosen: dict) -> None:
    """Train to the end of the schedule, saving after every epoch; then the curves and the table."""
    bench.feedback.begin(trial.steps)
    bench.feedback.expect(trial.planned_steps, "training")
    bench.feedback.say(trials.plan_line(trial))
    for _, row in watch(trial, bench):
        trials.show_epoch(trial, row, bench)
        trials.save(trial, bench, directory, trials.content(trial, bench, chosen, ticket.weights))
    bench.feedback.close()
    trials.draw(trial, directory)
    row = trials.summary(trial, bench)
    bench.feedback.say(*(f"warning: {line}" for line in trials.warnings(trial)))
    bench.feedback.say("", *round_table([row]), f"test accuracy at the best validation epoch: {row['test']:.2f}")

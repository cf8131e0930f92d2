"""Train one ticket on all the training data: the test that a subnetwork trains as well as the whole network."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lottery.bases.config import check_optimizer
from lottery.checkpointing.run_settings import run_settings
from lottery.retraining.config import TicketTrainingConfig
from lottery.retraining.rules import RULES, recipe_under, takes_trained
from lottery.tickets.controls import CONTROLS, RandomSource, coincidence, controlled
from lottery.tickets.load import LoadedTicket, TicketFiles, check_step, load_ticket, own_modules
from lottery.training.context import TrainingContext
from lottery.training.single_training import SingleTraining
from lottery.training.training_run import TrainingRun
from pruner import Mask, Ticket, whole
from utils import InputError


@dataclass(frozen=True)
class TicketToTrain:
    """What is trained: the ticket that the files hold, or its control; where in the schedule it begins; and notes."""

    loaded: LoadedTicket
    ticket: Ticket
    first_step: int
    notes: Sequence[str]


def ticket_to_train(config: TicketTrainingConfig, context: TrainingContext) -> TicketToTrain:
    """The ticket, or its control, checked; InputError for one that cannot be trained, or not begin where it should."""
    loaded = load_ticket(config.ticket, context, takes_trained(config.rule))
    if loaded.ticket.masks_coefficients:
        check_optimizer(context.recipe.optimizer)
    ticket, notes = ticket_or_control(loaded, config.control, context)
    if takes_trained(config.rule):
        loaded.files.check_kept(ticket.mask, context.model, own_modules(context.model, config.ticket.new_classifier))
    first_step = 0
    if config.rewind_lr:
        asked = f"--rule {config.rule}" if config.rule else "--rewind_lr"
        if loaded.files.init and loaded.files.init.starts_trained and not takes_trained(config.rule):
            raise InputError(
                f"{loaded.files.init.path} has trained weights to start from, and not those of step t, with which "
                f"{asked} begins: --rule lr_rewinding trains them at the same learning rates"
            )
        check_step(ticket.step, context.schedule_steps, asked)
        first_step = ticket.step
    return TicketToTrain(loaded, ticket, first_step, [*notes, *rule_notes(config.rule, first_step, context)])


def ticket_or_control(loaded: LoadedTicket, control: str | None, context: TrainingContext) -> tuple[Ticket, list[str]]:
    """The ticket that is given, or its control, and notes on it; nothing of given weights where the control has others.

    InputError for a control that would be what it should be a control of.
    """
    if control is None:
        return loaded.ticket, [*loaded.description, *loaded.notes]
    found = controlled(control, loaded.ticket, RandomSource(context.seed, context.initial))
    asked = f"--control {control}: not the ticket itself, but {CONTROLS[control].help}"
    description = [] if CONTROLS[control].fresh else loaded.description
    return found, [*description, *loaded.notes, asked, *coincidence(control, found, loaded.ticket)]


class TicketTraining(SingleTraining):
    """A ticket's training: what it works with, and where it stands.

    The network of `context` must hold the initial weights of its seed.
    """

    def __init__(self, config: TicketTrainingConfig, context: TrainingContext, found: TicketToTrain):
        self.found = found
        run, ticket = config.training.run, config.ticket
        contents = context.contents | found.loaded.settings(found.ticket, with_step=config.rewind_lr)
        about = run.about(config.training.data.data) | {
            "ticket": found.loaded.origin,
            "rule": rule_record(config.rule, found.loaded.files, found.first_step, context),
        }
        super().__init__(
            replace(context, recipe=recipe_under(config.rule, context.recipe)),
            run,
            run_settings(run.script, config, contents=contents),
            about,
            inputs=ticket.files,
        )

    def notes(self) -> list[str]:
        return [*self.found.notes]

    @property
    def planned_steps(self) -> int:
        return super().planned_steps - self.found.first_step

    @property
    def dense_mask(self) -> Mask:
        return whole(self.found.ticket.mask) or super().dense_mask

    def begin(self) -> TrainingRun:
        ticket = self.context.fill_missing_masks(self.found.ticket)
        self.context.step.load_(ticket)
        return TrainingRun(ticket, self.context.training_indices, self.context.recipe, first_step=self.found.first_step)


def rule_record(rule: str | None, files: TicketFiles, first_step: int, context: TrainingContext) -> dict | None:
    """For the records: the rule, which weights it begins with, and its steps; None without a rule."""
    if rule is None:
        return None
    weights = "trained" if takes_trained(rule) else "starting"
    steps = {"first_step": first_step, "steps": context.schedule_steps - first_step}
    return {"name": rule, "file": str(files.init.path), "weights": weights} | steps


def rule_notes(rule: str | None, first_step: int, context: TrainingContext) -> list[str]:
    """The rule that the training goes by, if there is one, and how long that is."""
    if rule is None:
        return []
    steps = context.schedule_steps
    left = f"{steps - first_step:,} steps after step t = {first_step:,} of T = {steps:,}"
    return [f"--rule {rule}: {RULES[rule].help}; {left}"]

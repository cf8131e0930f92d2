"""What decides the results of a search, as its checkpoints record it."""

from lottery.checkpointing.run_settings import run_settings
from lottery.patterns import Pattern, kept_by_pattern
from lottery.search.config import SearchConfig
from lottery.search.pruning_plan import KEPT_BY_PATTERN
from lottery.search.reference_run import ReferenceRun
from lottery.tickets.load import LoadedTicket
from lottery.training.context import TrainingContext
from lottery.training.network_notes import classifier_setting
from pruner import size


def search_settings(
    config: SearchConfig, context: TrainingContext, loaded: LoadedTicket, reference: ReferenceRun | None = None
) -> dict:
    """The recorded fields of the flags, and checksums of data, split, ticket and of the run that a control follows.

    InputError where this search could be no control for that run: other data, or another schedule.
    """
    contents = context.contents | loaded.settings(loaded.ticket, with_step=config.pruning.rewind_lr)
    contents |= classifier_setting(context.model)
    if config.pruning.densities:  # what the report needs to tell whether another search prunes to the same counts
        contents |= {"prunable": size(context.dense())}
    if config.pruning.pattern:
        left = kept_by_pattern(context.dense(), Pattern.parse(config.pruning.pattern))
        contents |= {"prunable": size(context.dense()), KEPT_BY_PATTERN: left}
    found = run_settings(config.training.run.script, config, contents=contents)
    if reference is None:
        return found
    reference.check(found)
    return found | reference.settings_to_record()

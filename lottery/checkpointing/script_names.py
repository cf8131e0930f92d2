"""The scripts whose runs leave files, by the names that these files record, and what their runs do.

A member equals its name, so that it compares with the `script` of any settings, from old files too. Write the plain
string into files, ``str(Script.IMP)``: a checkpoint with a pickled member could not be read without this module.
"""

from enum import StrEnum


class Script(StrEnum):
    IMP = "main_imp.py"
    PRAC_IMP = "main_PrAC_imp.py"
    TRAIN = "main_train.py"
    DST = "main_dst.py"
    INIT = "main_init.py"
    ELASTIC = "main_elastic.py"
    STABILITY = "main_stability.py"
    ROBUSTNESS = "main_robustness.py"
    GREEDY = "main_greedy.py"
    CHANNELS = "main_channels.py"

    @classmethod
    def named(cls, name: object) -> "Script | None":
        """The script with this name; None for any other value, as in runs of other versions and of the 2021 code."""
        return next((script for script in cls if script == name), None)

    @property
    def is_search(self) -> bool:
        """Finds tickets in rounds of training and pruning, and leaves each round's trained weights."""
        return self in (Script.IMP, Script.PRAC_IMP)

    @property
    def trains_tickets(self) -> bool:
        """Trains networks under masks, each of which is a row of `rounds` in its summary: searches, training under a
        mask that changes, and retraining."""
        return self.is_search or self in (Script.TRAIN, Script.DST)

    @property
    def finds_tickets(self) -> bool:
        """Finds tickets by training: in rounds, or in one training whose mask changes."""
        return self.is_search or self is Script.DST

    @property
    def makes_one_ticket(self) -> bool:
        """Leaves one ticket, in a checkpoint without a number, that can be trained."""
        return self in (Script.INIT, Script.DST)

    @property
    def only_makes_ticket(self) -> bool:
        """Leaves one ticket, without training it: no summary, no metrics."""
        return self in (Script.INIT, Script.ELASTIC)

    @property
    def holds_trained_weights(self) -> bool:
        """Its tickets start from weights that are trained already, and are trained further."""
        return self is Script.CHANNELS

    @property
    def prunes_previous_mask(self) -> bool:
        """Each round's mask is a subset of the one before it; otherwise every round selects from the dense network."""
        return self is not Script.CHANNELS


SEARCHES = tuple(script for script in Script if script.is_search)

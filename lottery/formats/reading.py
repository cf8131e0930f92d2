"""The content of a file that holds a ticket, whatever its format."""

from pathlib import Path

from lottery.checkpointing import checkpoint


def read_content(path: Path) -> dict:
    """The content of a checkpoint as `TicketFile` knows it, from a file or directory of any format that is read here:
    "state_dict" (`NAME_orig` and `NAME_mask`, or plain), "init_weight" if there are starting weights, "settings",
    "metadata". The format is recognised by what is there, not by the name alone; what is not recognised is read as a
    checkpoint.

    InputError for a file that is none; DamagedFile if its checksum does not match.
    """
    return checkpoint.read(path)

"""Whether a checkpoint, ours or of the 2021 code, is what it claims to be: undamaged, where its run put it, and with a
ticket that obeys the invariants."""

from collections.abc import Iterable
from pathlib import Path

from lottery.analysis.config import VerificationConfig
from lottery.analysis.ticket_facts import RunCheckpoints, collect_facts
from lottery.checkpointing.resume import is_best_network
from lottery.checkpointing.run_directory import OWN, checkpoint_name
from lottery.checkpointing.run_settings import differences
from lottery.formats.exported_ticket import format_of
from lottery.formats.masks import MASKS
from lottery.formats.reading import has_checksum
from lottery.tickets.export import is_foreign
from lottery.tickets.invariants import Finding, check
from lottery.tickets.recorded_facts import is_best_epoch
from lottery.tickets.ticket_file import TicketFile
from utils import InputError

VERDICTS = {True: "holds", False: "BROKEN", None: "-"}


def check_file(file: Path, config: VerificationConfig) -> list[Finding]:
    """Whether the file is undamaged and in its place, and what holds of its ticket."""
    try:
        ticket, checkpoints = TicketFile(file), RunCheckpoints(file.parent)
        findings = [check_checksum(file, ticket.content), check_position(file, ticket.content, checkpoints)]
        found = check(collect_facts(ticket, checkpoints, config))
    except InputError as error:
        return [Finding("readable", False, str(error))]
    others = is_foreign(ticket) or MASKS in ticket.content
    return findings + ([of_others(each) for each in found] if others else found)


def of_others(finding: Finding) -> Finding:
    """What is found in a file of other tools: they leave weights under a mask as they are, and only the layers that
    have a mask can be counted, since the network is not known."""
    if finding.invariant == "dropped weights" and finding.holds is False:
        return finding._replace(holds=None, seen=f"{finding.seen}: a training under the mask begins with zeros there")
    if finding.invariant == "exact density" and "kept" in finding.seen:
        return finding._replace(seen=f"{finding.seen}; it counts the layers that have a mask")
    return finding


def all_hold(findings: Iterable[Finding]) -> bool:
    """Whether everything that could be checked holds."""
    return all(finding.holds is not False for finding in findings)


def finding_lines(findings: Iterable[Finding]) -> list[str]:
    return [f"  {finding.invariant:<31}  {VERDICTS[finding.holds]:<6}  {finding.seen}" for finding in findings]


def check_checksum(file: Path, content: dict) -> Finding:
    """Whether a file that could be read carries a checksum; if it does, reading it has compared it."""
    if has_checksum(file, content):
        return Finding("checksum", True, "as it was written")
    if "format" in content:
        return Finding("checksum", False, "lost: every file of this suite is written with one")
    return Finding("checksum", None, "none in the file (the 2021 code writes none): unchecked")


def check_position(file: Path, content: dict, checkpoints: RunCheckpoints) -> Finding:
    """Whether the file has the name that its run gave it, and lies beside other checkpoints of the same run."""
    name, round = "its place in the run", content.get("state")
    if format_of(content):
        return Finding(name, None, "not checked: convert.py wrote it")
    later = checkpoints[round + 1] if isinstance(round, int) else None
    if "format" not in content:
        if later and "format" in later:
            return Finding(name, False, f"not written by this suite, as {checkpoint_name(later)} beside it was")
        return Finding(name, None, "not checked: only files of this suite say what they are")
    if OWN.fullmatch(file.name) and checkpoint_name(content) != file.name:
        return Finding(name, False, f"it was written as {checkpoint_name(content)}")
    beside = neighbour(content, checkpoints)
    conflict = settings_conflict(content, beside) or history_conflict(content, later) or best_conflict(content, beside)
    if conflict:
        return Finding(name, False, conflict)
    if beside is None:
        return Finding(name, None, "not checked: the checkpoint it goes with is not there")
    return Finding(name, True, f"goes with {checkpoint_name(beside)}")


def neighbour(content: dict, checkpoints: RunCheckpoints) -> dict | None:
    """The checkpoint that a file goes with, if it is there and ours: of the same round for a best network, of the round
    before for a checkpoint."""
    round = content.get("state")
    if not is_best_epoch(content) and not round:
        return None
    beside = checkpoints[round if is_best_epoch(content) else round - 1]
    return beside if beside and "format" in beside else None


def settings_conflict(content: dict, beside: dict | None) -> str | None:
    """How the settings differ from those of the checkpoint beside, in either of which --pruning_times may be larger."""
    if beside is None:
        return None
    there, here = beside["settings"], content["settings"]
    if not differences(here, there) or not (found := differences(there, here)):
        return None
    return f"{checkpoint_name(beside)} beside it has other settings: {'; '.join(found)}"


def history_conflict(content: dict, later: dict | None) -> str | None:
    """How the number of epochs differs from what the checkpoint of the round after records."""
    rows = {row["round"]: row for row in later.get("rounds", [])} if later else {}
    row, epochs = rows.get(content["state"]), len(content["history"])
    if is_best_epoch(content) or row is None or row["epochs"] == epochs:
        return None
    return f"{epochs} epochs of a round that had {row['epochs']}, as {checkpoint_name(later)} knows"


def best_conflict(content: dict, beside: dict | None) -> str | None:
    """Whether a best network is not that of the best epoch in its round's checkpoint."""
    if beside is None or not is_best_epoch(content) or is_best_network(content, beside):
        return None
    return f"not the best network of {checkpoint_name(beside)}"

"""Runs of a study on several GPUs of one machine: the command that starts them, and what it adds to a log."""

import re
from collections.abc import Iterator, Sequence

from lottery.study.jobs import Job

NOTICE = re.compile(r"[WEIC]\d{4} [\d:.]+ \d+ (\S+/)?torch/distributed/")  # how torchrun begins to report a failure
BORDER = re.compile("={10,}")  # above and below its summary, which it ends with
SPOKEN = re.compile(r"\w+\.py: |seed \d")  # what a script says as it fails, and as it begins


def ranks(job: Job, gpus: int) -> int:
    """On how many of so many GPUs, a power of two, a run can compute: on no more than it has shards."""
    return min(gpus, job.shards)


def words_of(words: Sequence[str], count: int) -> list[str]:
    """The words that start a script by torchrun, of those that start it by Python: `python -u SCRIPT ...`."""
    python, _, *script = words
    return [python, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count), *script]


def without_reports(lines: Sequence[str]) -> Iterator[str]:
    """The lines of a log without what torchrun reports when a script fails, which stands below the script's words."""
    borders = None  # of the report that we are in
    for line in lines:
        if SPOKEN.match(line):
            borders = None
        elif borders is None and NOTICE.match(line):
            borders = 0
        if borders is None:
            yield line
        elif BORDER.fullmatch(line):
            borders = borders + 1 if borders == 0 else None

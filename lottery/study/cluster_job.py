"""A run of a study as a job of a cluster: what submitit pickles, and calls where the job computes."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from submitit.helpers import Checkpointable, DelayedSubmission

ASKED_TO_END = {130, 143, -signal.SIGINT, -signal.SIGTERM}
WARNINGS = {signal.SIGUSR1, signal.SIGUSR2}  # with either of which a cluster says that a job's time is over


class ClusterJob(Checkpointable):
    """Called, it runs a command with its output appended to a log, and returns the command's exit status.

    If the job's time is over or its place is needed, submitit calls `checkpoint()`, which lets the run save and end,
    and queues the job again: the same command resumes. The run gets none of the cluster's signals but SIGTERM, which is
    passed on. Variables of the environment that are None are taken away. After a run that SIGTERM has ended the job
    waits for `patience` seconds, since the cluster that sent it is about to end the job or to queue it again.
    """

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str | None], folder: Path, patience: float
    ):
        self.command, self.log, self.folder, self.patience = list(command), log, folder, patience
        self.environment = dict(environment)
        self.pid: int | None = None
        self.asked_to_end = False

    def __call__(self) -> int:
        self.asked_to_end = False
        process = self.start()
        signal.signal(signal.SIGTERM, lambda *_: self.terminate())
        status = process.wait()
        self.pid = None
        if status in ASKED_TO_END or (status and self.asked_to_end):  # torchrun's status is 1 then
            time.sleep(self.patience)
        return status

    def start(self) -> subprocess.Popen:
        """Start the command. What warns of the job's end is held back meanwhile, and from the command for good."""
        held_back = signal.pthread_sigmask(signal.SIG_BLOCK, WARNINGS)
        try:
            with self.log.open("ab") as output:
                process = subprocess.Popen(
                    self.command,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL,
                    cwd=self.folder,
                    env=changed(os.environ, self.environment),
                    start_new_session=True,
                )
            self.pid = process.pid
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held_back)
        return process

    def terminate(self) -> None:
        """Ask the run to save and end, if there is one."""
        self.asked_to_end = True
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def checkpoint(self) -> DelayedSubmission:
        """This job, for its next attempt, once the run has saved and ended. It may be called amid `process.wait()`,
        which must find the run's status afterwards."""
        self.terminate()
        if self.pid is not None:
            with suppress(ChildProcessError):
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            self.pid = None
        return super().checkpoint()


def changed(environment: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """An environment with other values, and without those variables whose value is None."""
    return {name: value for name, value in {**environment, **changes}.items() if value is not None}

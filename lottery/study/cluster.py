"""The runs of a study as jobs of a cluster, through submitit: of SLURM, or processes of this machine (local).

Each run is a job of its own, submitted once the run that it needs is done. Jobs do not need this process: if it ends,
they go on, and the next one finds them by what `Submissions` has on record. All files but those of the runs are in
`cluster/` in the study's directory.
"""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from io import StringIO
from pathlib import Path
from typing import Any, NoReturn

from filelock import Timeout

from lottery.checkpointing.file_system import lock_file
from lottery.cli.cluster_options import asks_for_gpu, gpus_of_job
from lottery.study import torchrun
from lottery.study.executors import ask_for_gpus_, local_executor, out_of_reach, outside_of_jobs, slurm_executor
from lottery.study.job_states import log_file
from lottery.study.jobs import Job, Study
from lottery.study.lines import append_line
from lottery.study.processes import words_of
from lottery.study.queues import LocalQueue, Queue, SlurmQueue
from lottery.study.runner import Runner, RunningJob
from lottery.study.slots import Slot, find_slots, requested_threads
from lottery.study.submissions import Submissions
from lottery.terminal import counted
from utils import InputError, RunError

NAMES = {"slurm": "SLURM", "local": "this machine"}
FOLDER = "cluster"  # in the study's directory
NEEDED = ("sbatch", "srun", "squeue")  # of SLURM's commands
LOST = ("TIMEOUT", "PREEMPTED", "NODE_FAIL", "BOOT_FAIL")  # how SLURM says that a job ended for no fault of its run
ATTEMPTS = 10  # submissions of a run that is lost again and again
PATIENCE = {"slurm": 120.0, "local": 0.0}  # seconds that a terminated job waits for what SLURM does to it
INTERVALS = {"slurm": 5.0, "local": 0.5}  # seconds between two looks at the jobs' results


def run_on_cluster(
    study: Study,
    waiting: Sequence[Job],
    cluster: str,
    options: Mapping[str, str | int],
    jobs: int | None = None,
    gpus: Sequence[int] | None = None,
) -> dict[Path, str]:
    """Run these jobs of a study; the directories of those that failed, and why.

    With slurm, `jobs` bounds how many are queued or run at a time; with local, `jobs` and `gpus` say how many run at a
    time and where, as for processes. InputError if the cluster cannot be used, or another process submits this study.
    """
    check_cluster(study, cluster, options)
    number = min(jobs or len(waiting), len(waiting))
    slots = slurm_slots(options, number) if cluster == "slurm" else find_slots(jobs, gpus)
    at_a_time = f"{number if cluster == 'slurm' else len(slots)} at a time, as jobs of {NAMES[cluster]}"
    with submitting(study.save_dir / FOLDER) as folder:
        found = Cluster(study, folder, cluster, options, at_a_time)
        found.check_queued(waiting)
        return run_jobs(found, waiting, slots)


def check_cluster(study: Study, cluster: str, options: Mapping[str, str | int]) -> None:
    """InputError without submitit or SLURM's commands, for several GPUs that no run could use, and for a directory
    whose name they would read otherwise."""
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise InputError("--cluster needs a package that is not installed: pip install submitit") from None
    if cluster == "local" and shutil.which("ps") is None:
        raise InputError("--cluster local looks for its jobs by the command ps, which was not found: install procps")
    missing = [name for name in NEEDED if cluster == "slurm" and shutil.which(name) is None]
    if missing:
        raise InputError(f"--cluster slurm: there is no SLURM here, whose command {missing[0]} was not found")
    gpus = gpus_of_job(options)
    if gpus > 1 and all(torchrun.ranks(job, gpus) == 1 for job in study.jobs):
        raise InputError(
            f"--cluster_options gpus_per_node={options['gpus_per_node']}: each run of this study computes on one GPU, "
            f"since none has shards: with shards = {gpus} in the study file a run would use {gpus}"
        )
    if letter := next((letter for letter in "%\\" if letter in str(study.save_dir.absolute())), None):
        raise InputError(f"--cluster cannot keep its files in {study.save_dir}: SLURM reads a {letter} otherwise")
    if any(job.save_dir.is_relative_to(study.save_dir / FOLDER) for job in study.jobs):
        raise InputError(f"--cluster keeps its files in {study.save_dir / FOLDER}, where a run lies: name it otherwise")


def slurm_slots(options: Mapping[str, str | int], number: int) -> list[Slot]:
    """Slots for jobs of SLURM: the GPU that it gives each is the first that the job sees; without one, as many threads
    as CPUs."""
    slot = Slot(0) if asks_for_gpu(options) else Slot(-1, requested_threads() or int(options["cpus_per_task"]))
    return [slot] * number


@contextmanager
def submitting(folder: Path) -> Iterator[Path]:
    """Within it, this is the only process that submits jobs of a study. InputError if there is another one."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = lock_file(folder / ".lock")
    except Timeout:
        raise InputError(
            f"another study.py is submitting the runs of {folder.parent}: wait for it, or end it"
        ) from None
    try:
        yield folder
    finally:
        if lock:
            lock.release()


def run_jobs(cluster: "Cluster", waiting: Sequence[Job], slots: Sequence[Slot]) -> dict[Path, str]:
    """Run jobs and wait for them; whatever interrupts this leaves them to the cluster, and says so."""
    runner = Runner(cluster.study, waiting, slots, cluster)
    try:
        return runner.run()
    finally:
        numbers = [each.process.number for each in runner.running if isinstance(each.process, Submitted)]
        if numbers:
            print(what_goes_on(cluster.name, numbers), flush=True)


def what_goes_on(cluster: str, numbers: Sequence[str]) -> str:
    """A note on the jobs that outlive this process."""
    jobs = f"{counted(len(numbers), 'job')} {'goes' if len(numbers) == 1 else 'go'} on"
    end = "scancel" if cluster == "slurm" else "kill"
    return f"note: {jobs}, and the same command waits for them again. To end them: {end} {' '.join(numbers)}"


class Cluster:
    """Submits the runs of one study to a cluster, and finds those that were submitted before."""

    def __init__(self, study: Study, folder: Path, name: str, options: Mapping[str, str | int], at_a_time: str):
        slurm, executor = name == "slurm", slurm_executor if name == "slurm" else local_executor
        self.study, self.folder, self.name, self.at_a_time = study, folder.absolute(), name, at_a_time
        self.executor, self.interval, self.submitted = executor(folder, options), INTERVALS[name], 0
        self.options, self.gpus = options, gpus_of_job(options)
        self.submissions = Submissions(study.save_dir, folder, name)
        self.queue: Queue = SlurmQueue() if slurm else LocalQueue(self.folder)

    def check_queued(self, jobs: Sequence[Job]) -> None:
        """InputError for one that is queued or runs with other flags, since the study file was changed."""
        changed = [job for job in jobs if self.submissions.has_other_flags(job)]
        old = {self.submissions.name(job): number for job in changed if (number := self.queued(job))}
        if old:
            end = "scancel" if self.name == "slurm" else "kill"
            raise InputError(
                f"{counted(len(old), 'run')} of this study, {next(iter(old))} the first, "
                f"{'is' if len(old) == 1 else 'are'} queued or running with other flags than the study file now gives: "
                f"wait for the old jobs with the old file, or end them: {end} {' '.join(old.values())}"
            )

    def queued(self, job: Job) -> str | None:
        """The number under which a job is queued or runs; None if it does not."""
        number = self.submissions.number(job)
        return number if number is not None and self.queue.holds(number) else None

    def start(self, job: Job, slot: Slot) -> RunningJob:
        """Submit a job, unless it is queued or runs already."""
        log_file(job).parent.mkdir(parents=True, exist_ok=True)
        number = self.queued(job)
        return RunningJob(job, slot, Submitted(self, job, slot, self.handle(number) if number else None))

    def handle(self, number: str) -> Any:
        """submitit's view of a job that was submitted before."""
        return self.executor.job_class(folder=self.folder, job_id=number)

    def submit(self, job: Job, slot: Slot) -> Any:
        """Hand a job to the cluster; submitit's view of it."""
        from lottery.study.cluster_job import ClusterJob

        log = log_file(job).absolute()
        called = ClusterJob(self.words(job, slot), log, self.environment(slot), Path.cwd(), PATIENCE[self.name])
        if self.gpus > 1:
            ask_for_gpus_(self.executor, self.options, torchrun.ranks(job, self.gpus))
        self.executor.update_parameters(job_name=self.submissions.name(job))  # what squeue calls it
        old_results = {*self.folder.glob("*_result.pkl")}
        with outside_of_jobs(), out_of_reach(), redirect_stderr(StringIO()):  # where submitit repeats its error
            try:
                handle = self.executor.submit(called)
            except (RuntimeError, OSError) as error:
                self.refuse(str(error))
        if handle.paths.result_pickle in old_results:  # of a job that nobody waited for, and had the same number
            handle.paths.result_pickle.unlink()
        self.submissions.add(job, handle.job_id)
        self.submitted += 1
        return handle

    def words(self, job: Job, slot: Slot) -> list[str]:
        """The command of a run: by torchrun on several GPUs, of which each rank takes its own."""
        count = torchrun.ranks(job, self.gpus)
        if count > 1:
            return torchrun.words_of(words_of(job.command), count)
        return words_of([*job.command, *(slot.flags if job.has_gpu_flag else [])])

    def environment(self, slot: Slot) -> dict[str, str | None]:
        """The variables of a run: those of this process in place of submitit's, which give jobs of this machine no
        GPU; SLURM's are right."""
        ours: dict[str, str | None] = {"PYTHONPATH": os.environ.get("PYTHONPATH"), **slot.environment}
        return ours if self.name == "slurm" else ours | {"CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES")}

    def refuse(self, said: str) -> NoReturn:
        """The cluster has not taken a job: an InputError if it is the first one, before any work."""
        lines = [line.removeprefix("sbatch: error: ") for line in said.splitlines() if line.strip()]
        why = "; ".join(lines) or "no reason is given"
        if not self.submitted:
            raise InputError(f"--cluster {self.name} takes no job: {why}")
        raise RunError(
            f"--cluster {self.name} takes no further job: {why}. --jobs bounds how many are queued at a time"
        )


class Submitted:
    """A run that is a job of a cluster, with what `Runner` asks of a process."""

    returncode: int | None = None

    def __init__(self, cluster: Cluster, job: Job, slot: Slot, handle: Any | None):
        self.cluster, self.job, self.slot, self.attempts = cluster, job, slot, 1
        self.handle = handle or cluster.submit(job, slot)

    @property
    def number(self) -> str:
        """What the cluster calls the job."""
        return self.handle.job_id

    def poll(self) -> int | None:
        """The exit status of the run, once the job is over. A job that is lost for no fault of the run is submitted
        again."""
        if self.returncode is None and (self.has_result() or self.cluster.queue.is_over(self.number)):
            self.returncode = self.result() if self.has_result() else self.without_result()
        return self.returncode

    def has_result(self) -> bool:
        return self.handle.paths.result_pickle.exists()

    def result(self) -> int:
        """The status that the job has left; if it failed itself, the log is told why. Its file is removed, since a
        machine gives the number to another process some day."""
        from submitit.core.utils import UncompletedJobError

        try:
            return self.handle.result()
        except UncompletedJobError as error:
            lines = [line for line in str(error).splitlines() if "Error: " in line]
            return self.failed(lines[-1].rpartition("Error: ")[2] if lines else "its job failed")
        finally:
            self.handle.paths.result_pickle.unlink(missing_ok=True)

    def without_result(self) -> int | None:
        """A job that has vanished: submitted again if the cluster says that it is to blame; otherwise failed."""
        state = self.cluster.queue.last_state(self.number)
        if state.startswith(LOST) and self.attempts < ATTEMPTS:
            self.attempts += 1
            self.handle = self.cluster.submit(self.job, self.slot)
            return None
        said = f"SLURM says {state}" if state else "nothing is known of why"
        return self.failed(f"its job ended before it did: {said}")

    def failed(self, why: str) -> int:
        """Status 1, with the reason in the log of the run."""
        output = self.handle.paths.stdout
        wrote = f"wrote {output}" if output.exists() else "wrote nothing"
        with suppress(OSError):  # the disk may be full
            append_line(log_file(self.job), f"study.py: error: {why}; job {self.number} {wrote}")
        return 1

    def terminate(self) -> None:
        """Nothing: the job goes on without this process."""

    def wait(self) -> int:
        """Nothing to wait for."""
        return 0

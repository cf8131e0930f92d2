"""What a study is made of: jobs, each one run of one script, and which of them needs which."""

from dataclasses import dataclass
from pathlib import Path

from lottery.checkpointing.run_directory import RunDirectory
from lottery.checkpointing.script_names import Script


@dataclass(frozen=True)
class Job:
    """One run of one script; with `after`, on the ticket that this other job makes, or following its run.

    A search makes a ticket after each of its prunings, and `prunings` says which one is used; a job that makes a single
    ticket has none (None). With `trained`, only the mask is the ticket's: the weights are the trained ones of that
    round. With `follows`, the name of a flag, the job is given the directory of the other one.
    """

    script: Script
    flags: tuple[str, ...]  # as typed, without those that `arguments` adds
    save_dir: Path
    after: "Job | None" = None
    prunings: int | None = None
    trained: int | None = None
    follows: str | None = None

    @property
    def command(self) -> list[str]:
        """The script and its arguments."""
        return [str(self.script), *self.arguments]

    @property
    def arguments(self) -> list[str]:
        """Everything after the script: flags, what it needs of the job before it, and its directory."""
        given = [word for flag, path in self._inputs.items() for word in (f"--{flag}", str(path))]
        return [*self.flags, *given, "--save_dir", str(self.save_dir)]

    @property
    def flags_made_later(self) -> tuple[str, ...]:
        """The flags that name what the job before it makes."""
        return tuple(self._inputs)

    @property
    def _inputs(self) -> dict[str, Path]:
        """What it is given of the job before it, by flag."""
        if self.after is None:
            return {}
        directory = RunDirectory(self.after.save_dir)
        if self.follows:
            return {self.follows: directory.path}
        mask = directory.checkpoint(self.prunings)
        return {"init_dir": mask if self.trained is None else directory.checkpoint(self.trained), "mask_dir": mask}

    @property
    def needs(self) -> str:
        """What it needs of the job before it, in a word."""
        return "run" if self.follows else "ticket"

    @property
    def only_makes_ticket(self) -> bool:
        return self.script.only_makes_ticket

    @property
    def shards(self) -> int:
        """The parts of its batches, which several GPUs can share out."""
        return int(self.flags[self.flags.index("--shards") + 1]) if "--shards" in self.flags else 1

    @property
    def has_gpu_flag(self) -> bool:
        return self.script is not Script.ELASTIC


@dataclass(frozen=True)
class Study:
    """All jobs, each after the one that it needs, and the directory they share."""

    save_dir: Path
    jobs: tuple[Job, ...]

"""Decide whether a run starts afresh or resumes, and refuse what a command may not resume or overwrite."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from lottery import ranks
from lottery.checkpointing import overwrite_flag
from lottery.checkpointing.atomic_file import DamagedFile, has_checksum
from lottery.checkpointing.backup import back_up_, backup_path, check_backup_path, is_worth_keeping, repair_
from lottery.checkpointing.checkpoint import FORMAT, read, write
from lottery.checkpointing.metrics import best_row_index
from lottery.checkpointing.recorded_flags import split_flags
from lottery.checkpointing.run_directory import OWN, RunDirectory, checkpoint_name, locked, progress
from lottery.checkpointing.run_settings import RunConfig, differences
from lottery.checkpointing.script_names import Script
from utils import InputError


@contextmanager
def open_run(
    run: RunConfig,
    settings: Mapping,
    inputs: Sequence[Path | None],
    copies: Sequence[RunDirectory] = (),
) -> Iterator["ResumePoint"]:
    """Lock the run's directory for this process and bring it to where the run begins or resumes; of several ranks the
    first does so for all.

    `inputs` are files that the run reads, which --overwrite must not remove; `copies` are directories within it that
    belong to the run, those of trainings that it makes with main_train.py. InputError, with nothing touched, where the
    command may neither begin there nor resume what is there (`find_resume_point`).
    """
    with ExitStack() as held:
        yield ranks.from_first(partial(lock_and_prepare, held, run, settings, inputs, copies))


def keep_command(file: Path, resume_point: "ResumePoint", run: RunConfig) -> None:
    """The file of a ticket that was there already says the newest command that made it: a study goes by it."""
    if resume_point.saved and resume_point.saved.get("command") != run.command:
        write(file, resume_point.saved | {"command": run.command})


def lock_and_prepare(
    held: ExitStack, run: RunConfig, settings: Mapping, inputs: Sequence[Path | None], copies: Sequence[RunDirectory]
) -> "ResumePoint":
    """`open_run` on one rank; the lock is `held` on to. What --overwrite replaces, it has replaced before torchrun
    started the ranks again."""
    directory = RunDirectory(run.save_dir)
    held.enter_context(locked(directory))
    with lock_existing(copies):
        repair_([directory, *copies])
        found = find_resume_point(
            directory,
            settings,
            resume=run.resume,
            checkpoint=run.checkpoint,
            overwrite=run.overwrite and not ranks.is_restarted(),
            inputs=inputs,
            copies=copies,
        )
        return prepare_directory(directory, found, copies)


@contextmanager
def lock_existing(copies: Sequence[RunDirectory]) -> Iterator[None]:
    """Lock those of the directories that exist, for this process alone."""
    with ExitStack() as stack:
        for copy in copies:
            if copy.path.is_dir():
                stack.enter_context(locked(copy))
        yield


@dataclass(frozen=True)
class ResumePoint:
    """Where a run begins: at the `saved` state, read from `source`, or afresh (None).

    `elsewhere`: the state comes from another directory. `clear`: the files of an old run are removed first, or moved to
    `kept` if that is given. `notes`: damaged files that were passed over, and where the old run is now.
    """

    saved: dict | None = None
    source: Path | None = None
    elsewhere: bool = False
    clear: bool = False
    kept: Path | None = None
    notes: tuple[str, ...] = ()


def find_resume_point(
    directory: RunDirectory,
    settings: Mapping,
    *,
    resume: bool,
    checkpoint: Path | None,
    overwrite: bool,
    inputs: Sequence[Path | None] = (),
    copies: Sequence[RunDirectory] = (),
) -> ResumePoint:
    """Whether to start or to go on; InputError, with nothing touched, where neither is right.

    The same command on the same directory goes on from its newest whole checkpoint. Another one is refused with the
    settings that differ. `checkpoint` names the file to go on from, in this directory or another; once this one has
    checkpoints of its own, or later ones, they count. `inputs` are files and directories the run reads: they are not
    cleared away under it.
    """
    if overwrite:
        return _overwriting(directory, settings, [path for path in inputs if path], copies)
    own = directory.checkpoints()
    elsewhere = checkpoint is not None and checkpoint.parent.resolve() != directory.path.resolve()
    if not own and directory.summary.exists():
        raise InputError(
            f"{directory.path} holds the records of a run and none of its checkpoints: --overwrite keeps them elsewhere"
            " and begins anew, another --save_dir leaves them alone"
        )
    if checkpoint and not own:
        return ResumePoint(_saved_in(checkpoint, settings), checkpoint, elsewhere)
    if not own and resume:
        raise InputError(f"nothing to resume: {directory.path} holds no checkpoint")
    if checkpoint and not elsewhere:
        return _from_own(checkpoint, own, settings)
    return _newest_whole(own, settings) if own else ResumePoint()


def _from_own(checkpoint: Path, own: Sequence[Path], settings: Mapping) -> ResumePoint:
    """From a file in the run's directory; from the newest of the run's own where that is further, since the same
    command is to go on from where it was ended."""
    earlier = checkpoint.name in {file.name for file in own[1:]}
    given = None if earlier else ResumePoint(_saved_in(checkpoint, settings), checkpoint)  # the newest, or a copy
    found = _newest_whole(own, settings, otherwise=given)
    if given and progress(given.saved) >= progress(found.saved):
        return given
    note = f"--checkpoint {checkpoint} is not the newest here: without the later ones the run would go on from it"
    return replace(found, notes=(note, *found.notes))


def _newest_whole(files: Sequence[Path], settings: Mapping, otherwise: ResumePoint | None = None) -> ResumePoint:
    """The newest of the checkpoints, newest first, that can be gone on from; if all are damaged, what there is
    `otherwise`, or InputError."""
    notes: list[str] = []
    for file in files:
        try:
            return ResumePoint(_saved_in(file, settings), file, notes=tuple(notes))
        except DamagedFile as error:
            notes.append(f"{error}; what came before it is used")
    if otherwise:
        return otherwise
    raise InputError(
        f"{notes[0].removesuffix('; what came before it is used')}, and there is no whole checkpoint before it: "
        "--overwrite starts anew"
    )


def _saved_in(file: Path, settings: Mapping) -> dict:
    """The state in `file`, if a run with these settings can go on from it."""
    saved = _check_own(file, settings)
    _check_best(saved, RunDirectory(file.parent), settings)
    return saved


def prepare_directory(
    directory: RunDirectory, resume_point: ResumePoint, copies: Sequence[RunDirectory] = ()
) -> ResumePoint:
    """Bring the directory to where the run begins.

    Temporary files are removed; under --overwrite an old run is moved to its backup place, or removed if it had done
    nothing; files of a checkpoint from another directory are copied here. Returns the resume point with added notes.
    """
    for file in directory.leftovers():
        file.unlink()
    if resume_point.kept:
        back_up_([directory, *copies], resume_point.kept)
        note = f"the run that was in {directory.path} is now in {resume_point.kept}, until the next --overwrite"
        resume_point = replace(resume_point, notes=(*resume_point.notes, note))
    elif resume_point.clear:
        for each in (directory, *copies):
            for file in each.files():
                file.unlink()
            remove_events(each.tensorboard)
    if resume_point.clear:
        overwrite_flag.mark_done()
    if resume_point.elsewhere:
        round = resume_point.saved["state"]
        best = RunDirectory(resume_point.source.parent).best(round)
        if best.exists():
            write(directory.best(round), read(best))
        write(directory.checkpoint(round), resume_point.saved)
    return resume_point


def remove_events(tensorboard: Path) -> None:
    """Delete TensorBoard's files of a run, and their directory if it holds nothing else."""
    for file in tensorboard.glob("events.out.tfevents.*"):
        file.unlink()
    with suppress(OSError):
        tensorboard.rmdir()


def _check_own(source: Path, settings: Mapping) -> dict:
    """The saved state in `source`, made by us under these settings."""
    if "model_SA_best" in source.name:
        raise InputError(f"{source} is the network at its best epoch; a run goes on from a file named ...checkpoint")
    saved = read(source)
    if "format" not in saved:
        raise InputError(
            f"{source} was not written by this suite (a checkpoint of the 2021 code is a ticket, not a run to go on "
            "with): choose another --save_dir, or start anew with --overwrite"
        )
    if saved["format"] != FORMAT:
        raise InputError(f"{source} has file format {saved['format']}, this version goes on from format {FORMAT} only")
    if not has_checksum(source):
        raise DamagedFile(f"{source} has lost its checksum: it is not as it was written")
    if checkpoint_name(saved) != source.name and (OWN.fullmatch(source.name) or "momentum" not in saved):
        raise DamagedFile(f"{source} is another file under this name: it was written as {checkpoint_name(saved)}")
    if (script := saved["settings"]["script"]) != settings["script"]:
        raise InputError(f"{source.parent} holds a run of {script}: give another --save_dir")
    if found := differences(saved["settings"], settings):
        raise InputError(
            f"{source.parent} holds a run with other settings: {'; '.join(found)}. "
            f"{_ways(source.parent, saved, settings)}"
        )
    return saved


def _ways(directory: Path, saved: Mapping, here: Mapping) -> str:
    """What can be done about a run that has other settings."""
    there, same = saved["settings"], "the same settings"
    if there.get("data checksum", here.get("data checksum")) != here.get("data checksum"):
        same = "--data as it was (an image that was added, removed or exchanged makes it other data)"
        if ":" in (named := there.get("dataset", "")):  # a user's function, which may read no folder
            same = f"the data as {named} returned them then"
    elif there.get("split checksum", here.get("split checksum")) != here.get("split checksum"):
        flags = split_flags(directory, saved)
        same += f" ({flags})" if flags else ""
    return f"Give {same} to go on, another --save_dir, or --overwrite to start anew"


def _check_best(saved: dict, there: RunDirectory, settings: Mapping) -> None:
    """A round that has begun needs its best network at its end: it must come along, whole, and be of this run."""
    file = there.best(saved["state"])
    if not saved["history"]:
        return
    if not file.exists():
        raise DamagedFile(f"{file} is missing, which the end of its round needs")
    best = read(file)
    ours = best.get("format") == FORMAT and has_checksum(file) and not differences(best["settings"], settings)
    if not (ours and checkpoint_name(best) == file.name and is_best_network(best, saved)):
        raise DamagedFile(f"{file} is not the best network of this run's {there.checkpoint(saved['state']).name}")


def _overwriting(
    directory: RunDirectory, settings: Mapping, inputs: Sequence[Path], copies: Sequence[RunDirectory]
) -> ResumePoint:
    """A new beginning, which keeps the old run if there is something to be kept; InputError, with nothing touched,
    where that run or the one that was kept before is not to be replaced."""
    _check_overwrite(directory, settings["script"], inputs)
    for copy in copies:
        _check_overwrite(copy, Script.TRAIN, inputs)
    if not any(map(is_worth_keeping, (directory, *copies))):
        return ResumePoint(clear=True)
    place = backup_path(directory)
    check_backup_path(place, inputs)
    return ResumePoint(clear=True, kept=place)


def _check_overwrite(directory: RunDirectory, script: str, inputs: Sequence[Path]) -> None:
    """--overwrite replaces a run of this script; not another script's, nor what this very run reads."""
    for path in inputs:
        if directory.path.resolve() in (path.resolve(), path.resolve().parent):
            raise InputError(f"--overwrite would remove {path}, which this run reads: choose another --save_dir")
    found = next(filter(None, map(_script_in, directory.checkpoints())), None)
    if found and found != script:
        raise InputError(f"{directory.path} holds a run of {found}: remove it yourself, or choose another --save_dir")


def _script_in(checkpoint: Path) -> str | None:
    """Which of our scripts wrote it; None for a file that is damaged or not ours."""
    try:
        return read(checkpoint).get("settings", {}).get("script")
    except InputError:
        return None


def is_best_network(best: Mapping, saved: Mapping) -> bool:
    """Whether `best` was written in the training that `saved` tells of, at its best epoch so far.

    It may be the newer of the two, where a run was killed after the one and before the other.
    """
    short, long = sorted([_without_times(best["history"]), _without_times(saved["history"])], key=len)
    return long[: len(short)] == short and best_row_index(long) == len(best["history"]) - 1


def _without_times(history: Sequence[Mapping]) -> list[dict]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in history]

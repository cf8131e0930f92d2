"""Until every script has settings of its own."""

from argparse import Namespace

from lottery.cli.configs import command

NOT_RESULTS = {
    "data",
    "save_dir",
    "gpu",
    "compile",
    "deterministic",
    "print_freq",
    "save_interval",
    "resume",
    "checkpoint",
    "overwrite",
    "save_model",
    "tensorboard",
    "delta",
    "export",
    "command_line",
}
FILES = ("split_file", "prac_set", "init_dir", "mask_dir", "like", "like_run", "steps_of")


def settings(args: Namespace, script: str, contents: dict) -> dict:
    flags = {name: value for name, value in vars(args).items() if name not in {*NOT_RESULTS, *FILES}}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in flags.items()}
    given = {name: getattr(args, name) is not None for name in FILES if name in vars(args) and name != "split_file"}
    return {"script": script, **plain, **given, **contents}


def about(args: Namespace, script: str) -> dict:
    return {"command": command(args, script), "data": str(args.data)}

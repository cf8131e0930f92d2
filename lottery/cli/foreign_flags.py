"""Names that flags of the same meaning have in other tools of the field and in older commands."""

from collections.abc import Container

SAME = {  # another name, without dashes: the flags here that mean the same, of which a script has one at most
    "learning_rate": ("lr",),
    "base_lr": ("lr",),
    "wd": ("weight_decay",),
    "batch": ("batch_size",),
    "bs": ("batch_size",),
    "b": ("batch_size",),
    "train_batch_size": ("batch_size",),
    "num_epochs": ("epochs",),
    "training_epochs": ("epochs",),
    "max_epochs": ("epochs",),
    "n_epochs": ("epochs",),
    "training_steps": ("epochs",),  # of open_lth, where 160ep are epochs
    "milestones": ("decreasing_lr",),
    "lr_milestones": ("decreasing_lr",),
    "milestone_steps": ("decreasing_lr",),
    "lr_decay": ("gamma",),
    "warmup_epochs": ("warmup",),
    "optim": ("optimizer",),
    "opt": ("optimizer",),
    "lr_schedule": ("schedule",),
    "lr_scheduler": ("schedule",),
    "scheduler": ("schedule",),
    "smoothing": ("label_smoothing",),
    "data_dir": ("data",),
    "data_path": ("data",),
    "dataset_dir": ("data",),
    "dataset_path": ("data",),
    "data_root": ("data",),
    "dataset_name": ("dataset",),
    "num_workers": ("workers",),
    "j": ("workers",),
    "model": ("arch",),
    "model_name": ("arch",),
    "network": ("arch",),
    "out": ("save_dir", "output"),
    "out_dir": ("save_dir", "output"),
    "output_dir": ("save_dir", "output"),
    "save_path": ("save_dir", "output"),
    "log_dir": ("save_dir",),
    "results_dir": ("save_dir",),
    "device": ("gpu",),
    "gpu_id": ("gpu",),
    "seeds": ("seed",),
    "random_seed": ("seed",),
    "replicate": ("seed",),
    "data_order_seed": ("order_seed",),
    "rewinding_epoch": ("rewind_epoch",),
    "rewinding_steps": ("rewind_iteration",),
    "rewind_step": ("rewind_iteration",),
    "rewind_steps": ("rewind_iteration",),
    "prune_rate": ("rate",),
    "pruning_rate": ("rate",),
    "pruning_fraction": ("rate",),
    "levels": ("pruning_times",),
    "rounds": ("pruning_times",),
    "prune_iterations": ("pruning_times",),
    "density": ("densities",),
    "target_sparsity": ("sparsity",),
    "pruner": ("criterion",),
    "init": ("init_dir",),
    "mask": ("mask_dir",),
    "split": ("split_file",),
    "amp": ("precision",),
    "force": ("overwrite",),
}


COMPLEMENTS = {"sparsity": ("density", "densities"), "sparsities": ("densities", "density")}  # one minus the other


def same_flag(name: str, known: Container[str]) -> str | None:
    """The flag among the `known` ones that means the same as another tool's of this name; None if there is none."""
    return next((flag for flag in SAME.get(name, ()) if flag in known), None)


def complement(name: str, known: Container[str]) -> str | None:
    """The flag among the `known` ones whose value is one minus that of a flag of this name; None if there is none."""
    return next((flag for flag in COMPLEMENTS.get(name, ()) if flag in known), None)

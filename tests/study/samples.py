"""Study files that several tests start from."""

QUICK = """
[common]
dataset = "digits"
arch = "lenet300"
epochs = 2
decreasing_lr = "1"
[grid]
seed = [0, 1]
[search]
pruning_times = 2
[methods.IMP]
script = "main_imp.py"
[methods."random pruning"]
script = "main_imp.py"
random_prune = true
[retrain]
dense = true
prunings = [1, 2]
weight_decay = 0.001
"""


ELASTIC = """
[common]
dataset = "digits"
epochs = 2
decreasing_lr = "1"
[grid]
arch = ["mlp2", "mlp3", "mlp4"]
seed = [0, 1]
[search]
pruning_times = 2
[methods.IMP]
script = "main_imp.py"
[retrain]
prunings = [2]
weight_decay = 0.001
[elastic]
"""


AT_ONCE = """
[common]
dataset = "digits"
epochs = 2
decreasing_lr = "1"
[grid]
arch = ["mlp2", "mlp3"]
seed = [0, 1]
[search]
pruning_times = 1
[methods.IMP]
script = "main_imp.py"
[methods."SNIP 0.8"]
script = "main_init.py"
criterion = "snip"
density = 0.8
score_examples = 100
[retrain]
dense = true
prunings = [1]
"""


SMALL = QUICK.replace("seed = [0, 1]", "seed = [0]").replace("prunings = [1, 2]", "prunings = [2]")


GRADUAL = """
[methods."IMP, cheaper"]
script = "main_imp.py"
between = "continue"
epochs = 1
schedule = "linear"
decreasing_lr = ""
vanilla_epochs = 2
[methods.GMP]
script = "main_dst.py"
method = "gmp"
density = 0.64
update_until = 0.8
"""

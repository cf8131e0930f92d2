import json
import pickle
import subprocess
import sys

from lottery.checkpointing.script_names import SEARCHES, Script
from tests.helpers import ROOT


def test_scripts_compare_with_the_names_in_files():
    assert Script.IMP == "main_imp.py" and "main_imp.py" in {Script.IMP} and {"main_imp.py": 1}[Script.IMP] == 1
    assert Script.named("main_imp.py") is Script.IMP
    assert [Script.named(name) for name in ("2021 code", "main_other.py", "IMP", None)] == [None] * 4
    assert "main_PrAC_imp.py" in SEARCHES and "main_train.py" not in SEARCHES
    assert all((ROOT / script).is_file() for script in Script)


def test_plain_strings_are_what_files_get():
    assert json.loads(json.dumps(Script.TRAIN)) == "main_train.py" == f"{Script.TRAIN}"
    assert type(str(Script.TRAIN)) is str and b"script_names" not in pickle.dumps(str(Script.TRAIN))


def test_names_of_scripts_need_no_torch():
    code = "import sys; from lottery.checkpointing import script_names; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0

"""What the tests of the analyses share."""

import pytest

import verify as verify_script


@pytest.fixture
def verify(capsys):
    """verify.py on files: its status and what it printed."""

    def run(*words):
        status = verify_script.main([str(word) for word in words])
        return status, capsys.readouterr()

    return run

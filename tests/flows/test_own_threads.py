"""The command's own process does its linear algebra on one core, unless it is told otherwise."""

import os
import subprocess
import sys

import pytest

COMMAND = "import flows.cli, os; print(os.environ['OPENBLAS_NUM_THREADS'])"


@pytest.mark.parametrize(("told", "used"), [(None, "1"), ("3", "3")])
def test_linear_algebra_of_the_command_has_one_thread_where_nothing_else_is_told(told, used):
    env = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    env |= {} if told is None else {"OPENBLAS_NUM_THREADS": told}
    done = subprocess.run(
        [sys.executable, "-c", COMMAND], env=env, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == used

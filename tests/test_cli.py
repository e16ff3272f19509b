"""The command line as a user meets it: a process, its output, its exit code."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

HERE = Path(__file__).parent
ENTRY = [sys.executable, "-c", "from paretax.cli import main; main()"]
SMALL = [
    "front",
    "two_lines:task",
    "--members",
    "3",
    "--batch-size",
    "2",
    "--learning-rate",
    "0.01",
]


def paretax(*words, cwd=HERE):
    env = {**os.environ, "PYTHONPATH": str(HERE), "COLUMNS": "200"}
    return subprocess.run(
        [*ENTRY, *words], capture_output=True, text=True, cwd=cwd, env=env
    )


def test_help_teaches_and_version_tells():
    told = paretax("--help")
    assert told.returncode == 0
    for word in ("front", "data", "doctor", "Pareto front"):
        assert word in told.stdout
    assert paretax("--version").stdout.startswith("paretax 0.")
    front = paretax("front", "--help").stdout
    for flag in (
        "--members",
        "--coupling",
        "--resume",
        "--overwrite",
        "--quick",
        "--devices",
    ):
        assert flag in front


def test_doctor_and_data_say_what_is_here():
    told = paretax("doctor").stdout
    for word in ("jax", "devices", "x64", "extra data", "multi_mnist/fashion"):
        assert word in told
    assert "multi_mnist/mnist" in paretax("data", "list").stdout
    assert "10 classes each" in paretax("data", "info", "multi_mnist").stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("front", "multi_mnits"), "Did you mean 'multi_mnist'"),
        (("front", "two_lines:nothing"), "has no 'nothing'"),
        (("front", "no_such_module:task"), "No module named 'no_such_module'"),
        (("front", "two_lines:task", "--members", "1"), "members: expected at least 2"),
        (("front", "two_lines:task", "--resume"), "say --out"),
        (("front", "two_lines:task", "--devices", "3"), "a divisor of the 8 members"),
        (("data", "prepare", "mnist"), "unknown data set 'mnist'"),
    ],
)
def test_errors_are_one_line_without_a_traceback(words, message, tmp_path):
    env_cwd = tmp_path
    told = paretax(*words, cwd=env_cwd)
    assert told.returncode != 0
    assert message in told.stderr + told.stdout
    assert "Traceback" not in told.stderr


def test_a_run_killed_at_any_moment_resumes_to_the_same_bits(tmp_path):
    """kill -9 in the middle, then --resume: parameters and curves of the whole run."""
    words = [*SMALL, "--epochs", "40"]
    whole = paretax(*words, "--out", str(tmp_path / "whole"))
    assert whole.returncode == 0, whole.stderr
    assert "test loss" in whole.stdout
    env = {**os.environ, "PYTHONPATH": str(HERE)}
    cut = tmp_path / "cut"
    process = subprocess.Popen(
        [*ENTRY, *words, "--out", str(cut)],
        cwd=HERE, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.time() + 120
    while not any((cut / "checkpoints").glob("[5-9]")) and time.time() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (cut / "front.json").exists()
    refused = paretax(*words, "--out", str(cut))
    assert refused.returncode == 1
    assert "--resume" in refused.stderr
    resumed = paretax(*words, "--out", str(cut), "--resume")
    assert resumed.returncode == 0, resumed.stderr
    reports = [
        json.loads((p / "front.json").read_text()) for p in (tmp_path / "whole", cut)
    ]
    for report in reports:
        del report["seconds"]
    assert reports[0] == reports[1]
    assert len(reports[1]["train_loss"]) == 40
    first, second = (final_state(tmp_path / name, 40) for name in ("whole", "cut"))
    jax.tree.map(np.testing.assert_array_equal, first, second)
    assert first["params"]["slope"].shape == (3,)


def final_state(folder, epoch):
    """Parameters, optimizer state and epoch of a finished run, as orbax reads them."""
    with ocp.CheckpointManager((folder / "checkpoints").absolute()) as kept:
        return kept.restore(
            epoch, args=ocp.args.Composite(state=ocp.args.StandardRestore())
        )["state"]


def test_ctrl_c_says_how_to_go_on(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(HERE)}
    out = tmp_path / "run"
    # A shell that starts the tests in the background has them ignore the signal.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    with subprocess.Popen(
        [*ENTRY[:2], heed + ENTRY[2], *SMALL, "--epochs", "4000", "--out", str(out)],
        cwd=HERE, env=env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        deadline = time.time() + 120
        while not any((out / "checkpoints").glob("[1-9]")) and time.time() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        try:
            _, told = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "--resume" in told

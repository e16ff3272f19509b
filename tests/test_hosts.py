"""Two processes on one machine train the front of one, also when one of them dies."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parent / "host.py"


def start(processes, out):
    """The processes of a run, on a port that was free a moment ago."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(i), str(processes), str(port), str(out)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "XLA_FLAGS": _flags()},
        )
        for i in range(processes)
    ]


def _flags():
    """Without a number of devices, which the script sets; as in processes.py."""
    flags = os.environ.get("XLA_FLAGS", "").split()
    kept = [f for f in flags if "device_count" not in f]
    return " ".join([*kept, "--xla_cpu_use_fusion_emitters=true"])


def finish(running):
    told = []
    for process in running:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        told.append(out)
    return told


def result(folder):
    report = json.loads((folder / "front.json").read_text())
    for name in ("seconds", "device", "git_commit"):
        del report[name]
    with np.load(folder / "params.npz") as params:
        return report, dict(params)


@pytest.mark.slow
def test_two_processes_give_the_bits_of_one_though_one_was_killed(tmp_path):
    """kill -9 of the second midway; both are started again and go on."""
    finish(start(1, tmp_path / "one"))
    out = tmp_path / "two"
    first, second = start(2, out)
    deadline = time.time() + 240
    while not any((out / "checkpoints").glob("[3-9]")) and time.time() < deadline:
        assert first.poll() is None, first.communicate()[1]
        time.sleep(0.02)
    second.send_signal(signal.SIGKILL)
    time.sleep(0.5)
    first.kill()  # it waits for the other
    for process in (first, second):
        process.communicate()
    assert not (out / "front.json").exists()
    told = finish(start(2, out))
    report, params = result(out)
    expected, whole = result(tmp_path / "one")
    assert report == expected
    assert len(report["train_loss"]) == 12
    assert params["slope"].shape == (4,)
    for name, values in params.items():
        np.testing.assert_array_equal(values, whole[name])
    for text in told:  # faults of a run on many hosts
        assert "members: expected a multiple of the 4 devices of the 2 hosts" in text
    assert "FileExistsError" in told[0]
    assert "RuntimeError: the first host failed" in told[1]

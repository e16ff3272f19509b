"""Scripts that need several devices, run in a process of their own."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path


@functools.cache
def report(script, devices):
    """The JSON object that a script beside this one prints last, on so many devices.

    Compiled with the fusion emitters that users have: without them the same program on
    another number of devices may round in another way.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    flags += " --xla_cpu_use_fusion_emitters=true"
    done = subprocess.run(
        [sys.executable, "-W", "error", str(Path(__file__).parent / script)],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count={devices}",
        },
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])

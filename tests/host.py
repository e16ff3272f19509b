"""Run by test_hosts.py: one of several processes that train one front together.

python host.py PROCESS PROCESSES PORT OUT: two devices a process if there are two
processes, else four; goes on with the run in OUT if there is one.
"""

import json
import sys
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils


def main(process, processes, port, out):
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 4 // processes)
    if processes > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(f"127.0.0.1:{port}", processes, process)
    assert jax.device_count() == 4

    from two_lines import task

    from paretax import experiments

    config = experiments.FrontConfig(
        members=4, epochs=12, batch_size=4, learning_rate=0.01
    )
    resume = (out / "checkpoints").exists()
    result = experiments.front(task, config, out=out, resume=resume)
    params = multihost_utils.process_allgather(result.params, tiled=True)
    if jax.process_index() == 0:
        np.savez(out / "params.npz", **params)
    try:
        experiments.front(
            task, experiments.FrontConfig(members=6, epochs=1), out=out / "six"
        )
    except ValueError as error:
        print(error)
    try:
        experiments.front(task, config, out=out)
    except (FileExistsError, RuntimeError) as error:
        print(json.dumps(f"{type(error).__name__}: {error}"))
    if processes > 1:
        jax.distributed.shutdown()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), Path(sys.argv[4]))

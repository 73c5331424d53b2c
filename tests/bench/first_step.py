#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Seconds from starting `barlow pretrain` on the bundled digits to the end of its first step, as the log tells.

    tests/bench/first_step.py build/src/cli/barlow [--rounds 5] [OPTION...]

Further options are pretrain's. Each round's seconds, then their median. Nothing else should run on the machine meanwhile.
"""
import argparse
import pathlib
import statistics
import subprocess
import tempfile
import time

DATA = pathlib.Path(__file__).resolve().parents[2] / "examples/data/mnist_tiny"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("program")
    p.add_argument("--rounds", type=int, default=5)
    args, options = p.parse_known_args()
    seconds = []
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory() as folder:
            log = pathlib.Path(folder, "run/log.jsonl")
            start = time.monotonic()
            process = subprocess.Popen(
                [args.program, "pretrain", DATA, "--out", log.parent, "--epochs", "1", *options], stdout=subprocess.DEVNULL)
            while process.poll() is None and not (log.exists() and log.stat().st_size > 0):
                time.sleep(0.005)
            seconds.append(time.monotonic() - start)
            assert log.exists() and log.stat().st_size > 0, "it ended before its first step"
            process.kill()
            process.wait()
        print(f"{seconds[-1]:.2f} s", flush=True)
    print(f"median {statistics.median(seconds):.2f} s")


if __name__ == "__main__":
    main()

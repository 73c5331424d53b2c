#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Kills a training run (SIGKILL) at random moments, starts it again until it is through, and compares with one that
nobody disturbed: parameters and log must be the same to the bit.

    tests/crash/kill.py PROGRAM [--kills 20] [--seed 0]

PROGRAM FOLDER trains and writes FOLDER/model.safetensors, log.jsonl and checkpoints/. A kill that leaves a temporary
file behind fell into a save. Prints a line with the counts; ends with status 1 at the first difference.
"""
import argparse
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time


def log(folder):
    """The log's lines without what a clock says."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "data_wait")} for line in lines]


def through(program, folder):
    start = time.monotonic()
    subprocess.run([program, folder], check=True, stderr=subprocess.DEVNULL)
    return time.monotonic() - start


def wait_for_a_save(process, folder):
    """Raises TimeoutExpired, as a wait that was too short, when the process is writing a file; returns when it ends."""
    while process.poll() is None:
        if folder.exists() and any(entry.name.endswith(f".{process.pid}.tmp") for entry in os.scandir(folder)):
            raise subprocess.TimeoutExpired(process.args, 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    moments = random.Random(args.seed)
    root = pathlib.Path(tempfile.mkdtemp(prefix="barlow_crash_"))
    try:
        whole = root / "undisturbed"
        whole.mkdir()
        seconds = through(args.program, whole)
        expected, expected_log = (whole / "model.safetensors").read_bytes(), log(whole)
        kills = in_saves = runs = early = 0
        while kills < args.kills:
            folder = root / f"run{runs}"
            folder.mkdir()
            runs += 1
            seen = set()
            while True:
                process = subprocess.Popen([args.program, folder], stderr=subprocess.DEVNULL)
                try:
                    # A moment of the whole run, or soon after a start, as in a crash loop; then, half of the time, the
                    # next save.
                    late = seconds if moments.random() < .5 else seconds / 3
                    into_save = moments.random() < .5
                    try:
                        process.wait(timeout=moments.uniform(0, late))
                    except subprocess.TimeoutExpired:
                        if not into_save:
                            raise
                        wait_for_a_save(process, folder / "checkpoints")
                    break
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    kills += 1
                    leftovers = set((folder / "checkpoints").glob("*.tmp")) - seen  # the next start removes them
                    seen |= leftovers
                    in_saves += bool(leftovers)
                    early += not list((folder / "checkpoints").glob("step-*"))
                    if kills >= args.kills:
                        through(args.program, folder)
                        break
            if process.returncode not in (0, -9):
                sys.exit(f"a run ended with status {process.returncode}")
            if (folder / "model.safetensors").read_bytes() != expected:
                sys.exit(f"run {runs}: other parameters after {kills} kills in all")
            if log(folder) != expected_log:
                sys.exit(f"run {runs}: another log after {kills} kills in all")
            if list(folder.rglob("*.tmp")):
                sys.exit(f"run {runs}: temporary files are left")
            shutil.rmtree(folder)
        print(f"{kills} kills in {runs} runs, {in_saves} of them within a save, {early} before the first checkpoint: "
              f"parameters and log as undisturbed ({len(expected_log)} lines)")
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()

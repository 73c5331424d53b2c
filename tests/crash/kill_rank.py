#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Kills one process (SIGKILL) of a training run by several at random moments: the others must end by themselves within
the limit and name it; all are started again until the run is through, and its parameters must be those of a run that
nobody disturbed, to the bit.

    tests/crash/kill_rank.py PROGRAM [--processes 2] [--kills 20] [--seed 0] [--torchrun TORCHRUN]

PROGRAM FOLDER trains by the processes that the environment tells of, as kill.py's does; it counts a process as dead
after 2 s. With --torchrun a process dies once and torchrun --max-restarts starts them again: nothing else is done.
"""
import argparse
import os
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time

LIMIT = 2 + 2 + 2  # seconds: without a sign of life, for the word to spread, and for processes to end on a busy machine
LIMIT_AT_START = 15 + 5 + LIMIT  # until all have come together


def free_port():
    with socket.socket() as s:
        s.bind(("", 0))
        return s.getsockname()[1]


def start(program, folder, processes):
    port = free_port()
    running = []
    for rank in range(processes):
        env = dict(os.environ, RANK=str(rank), WORLD_SIZE=str(processes), LOCAL_RANK=str(rank),
                   LOCAL_WORLD_SIZE=str(processes), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
                   OMP_NUM_THREADS="1")
        err = open(folder / f"stderr.{rank}", "w+")
        running.append((subprocess.Popen([program, folder], env=env, stderr=err), err))
    return running


def said(err):
    err.seek(0)
    return err.read()


def end(running):
    for process, err in running:
        process.kill()
        process.wait()
        err.close()


def through(program, folder, processes):
    begin = time.monotonic()
    running = start(program, folder, processes)
    try:
        for process, err in running:
            if process.wait(timeout=300) != 0:
                sys.exit(f"a run ended with status {process.returncode}: {said(err)}")
    finally:
        end(running)
    return time.monotonic() - begin


def kill_one(running, victim, folder, started):
    """Seconds until all others had ended, by themselves and naming the victim, and whether all had been together before;
    None if they were through."""
    newest = max((f.stat().st_mtime for f in (folder / "checkpoints").glob("step-*")), default=0)
    together = newest > started
    running[victim][0].kill()
    begin = time.monotonic()
    for rank, (process, err) in enumerate(running):
        if rank == victim:
            continue
        try:
            status = process.wait(timeout=LIMIT if together else LIMIT_AT_START)
        except subprocess.TimeoutExpired:
            sys.exit(f"rank {rank} still runs {time.monotonic() - begin:.1f} s after rank {victim} was killed: {said(err)}")
        if status == 0:
            return None
        text = said(err)
        if f"rank {victim}" not in text and f": {victim}" not in text and victim != 0:
            sys.exit(f"rank {rank} ended with status {status} and did not name rank {victim}: {text}")
    return time.monotonic() - begin, together


def by_torchrun(args, folder, expected):
    env = dict(os.environ, BARLOW_CRASH_AT="100", OMP_NUM_THREADS="1")
    subprocess.run([args.torchrun, "--no-python", "--max-restarts", "1", "--nproc-per-node", str(args.processes),
                    "--master-port", str(free_port()), args.program, folder], env=env, check=True, timeout=300)
    if (folder / "model.safetensors").read_bytes() != expected:
        sys.exit("other parameters after torchrun's restart")
    print("torchrun started the processes again: parameters as undisturbed")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--torchrun")
    args = parser.parse_args()
    moments = random.Random(args.seed)
    root = pathlib.Path(tempfile.mkdtemp(prefix="barlow_crash_"))

    def new_folder(name):
        (root / name).mkdir()
        return root / name

    try:
        whole = new_folder("undisturbed")
        seconds = through(args.program, whole, args.processes)
        expected = (whole / "model.safetensors").read_bytes()
        if args.torchrun:
            by_torchrun(args, new_folder("torchrun"), expected)
            return
        kills = runs = 0
        slowest = {True: 0., False: 0.}
        while kills < args.kills:
            folder = new_folder(f"run{runs}")
            runs += 1
            done = False
            while not done:
                started = time.time()
                running = start(args.program, folder, args.processes)
                try:
                    time.sleep(moments.uniform(0, seconds) * (1 if moments.random() < .5 else .5))
                    took = kill_one(running, moments.randrange(args.processes), folder, started)
                finally:
                    end(running)
                if took is None:
                    done = (folder / "model.safetensors").exists()
                    continue
                kills += 1
                seconds_taken, together = took
                slowest[together] = max(slowest[together], seconds_taken)
                if kills >= args.kills:
                    through(args.program, folder, args.processes)
                    done = True
            if (folder / "model.safetensors").read_bytes() != expected:
                sys.exit(f"run {runs}: other parameters after {kills} kills in all")
            shutil.rmtree(folder)
        print(f"{kills} kills of one of {args.processes} processes in {runs} runs: the others ended within "
              f"{slowest[True]:.1f} s ({slowest[False]:.1f} s while they still came together) and named it; parameters as "
              f"undisturbed")
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()

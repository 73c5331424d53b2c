#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Time and bytes of a training step against the number of processes, one thread each, on this machine.

    tests/bench/scaling.py build/tests/bench/barlow_scaling [--batch 64] [--width 1024] [--steps 20] [--rounds 3] [W...]

Prints a row for each W, the rounds in turn: the median time of a step, the speed-up over one process, the operations and
megabytes that a process gives to them, and the megabytes that it sends in a ring: 2 (W - 1) / W of what is summed.
"""
import argparse
import os
import socket
import statistics
import subprocess


def free_port():
    with socket.socket() as s:
        s.bind(("", 0))
        return s.getsockname()[1]


def run(args, world):
    port = free_port()
    running = []
    for rank in range(world):
        env = dict(os.environ, RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE=str(world),
                   MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), OMP_NUM_THREADS="1")
        command = [args.program, str(args.batch), str(args.width), str(args.steps)]
        running.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True))
    outputs = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise SystemExit(f"a process failed at W = {world}")
    _, milliseconds, operations, size = outputs[0].split()
    return float(milliseconds), int(operations), int(size)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("worlds", nargs="*", type=int, default=[1, 2, 4])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    results = {world: [] for world in args.worlds}
    for _ in range(args.rounds):
        for world in args.worlds:
            results[world].append(run(args, world))
    alone = None
    print("| W | ms a step | speed-up | operations | MB given | MB sent |\n| --- | --- | --- | --- | --- | --- |")
    for world, rounds in results.items():
        milliseconds = statistics.median(r[0] for r in rounds)
        operations, size = rounds[0][1:]
        alone = alone or milliseconds
        print(f"| {world} | {milliseconds:.1f} | {alone / milliseconds:.2f} | {operations} | {size / 1e6:.2f} | "
              f"{size / 1e6 * 2 * (world - 1) / world:.2f} |")


if __name__ == "__main__":
    main()

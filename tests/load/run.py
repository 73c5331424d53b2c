#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Load: a data set of millions of files, a run of many steps, many processes on one machine. Prints what each took.

    tests/load/run.py PROGRAM [--files 10000000] [--steps 100000] [--ranks 24] [--torchrun TORCHRUN] [--only PART]

PROGRAM is barlow_load. The files are links to one image, in a memory file system (needs root, and 3 GB of memory for ten
million), and lines of a list. Status 1 if
  - listing takes more than 150 bytes a file;
  - memory grows by more than 5 % from a tenth of the steps to the end;
  - the processes' loss is not that of one process to 1e-4, after 200 steps.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

MOST_BYTES, MOST_GROWTH, MOST_DIFFERENCE = 150, 0.05, 1e-4


def result(*command):
    done = subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def check(holds, what):
    if not holds:
        sys.exit(f"too much: {what}")


def report_listing(what, found, files):
    taken = (found["most"] - found["before"]) * 1e6 / files
    print(f"{what}: {found['files']} files, {found['classes']} classes listed and shuffled in {found['seconds']} s, "
          f"{found['most']} MB at most, {taken:.0f} bytes a file", flush=True)
    check(found["files"] == files, "files missing")
    check(taken < MOST_BYTES, f"{taken:.0f} bytes a file")


def listing(args, folder):
    names = [f"{i:07}.jpg" for i in range(args.files)]
    paths = folder / "paths.txt"
    paths.write_text("".join(f"class{i // 10000:04}/{name}\n" for i, name in enumerate(names)))
    report_listing("list", result(args.program, "list", paths), args.files)
    tree = folder / "tree"
    tree.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=0", "tmpfs", tree], check=True)
    try:
        start = time.monotonic()
        (tree / "one").write_bytes(b"an image")
        for i, name in enumerate(names):
            if i % 10000 == 0:
                here = tree / f"class{i // 10000:04}"
                here.mkdir()
            os.link(tree / "one", f"{here}/{name}")
        print(f"(made in {time.monotonic() - start:.0f} s)", flush=True)
        report_listing("folder", result(args.program, "list", tree), args.files)
    finally:
        subprocess.run(["umount", tree], check=True)


def steps(args, folder):
    found = result(args.program, "steps", args.steps, folder / "steps")
    memory = found["megabytes"]
    print(f"steps: {found['steps']} in {found['seconds']} s, memory at each twentieth {memory} MB", flush=True)
    check(memory[-1] < memory[1] * (1 + MOST_GROWTH), f"memory grows from {memory[1]} to {memory[-1]} MB")


def ranks(args, folder):
    count = 200
    alone = result(args.program, "steps", count, folder / "alone")
    start = time.monotonic()
    together = result(args.torchrun, "--no-python", "--nproc-per-node", args.ranks, args.program, "steps", count,
                      folder / "together")
    difference = abs(together["loss"] / alone["loss"] - 1)
    print(f"processes: {args.ranks}, {count} steps in {time.monotonic() - start:.0f} s; the last loss is that of one "
          f"process to {difference:.1e}", flush=True)
    check(difference < MOST_DIFFERENCE, f"the loss differs by {difference:.1e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--files", type=int, default=10_000_000)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--ranks", type=int, default=24)
    parser.add_argument("--torchrun", default=".venv/bin/torchrun")
    parser.add_argument("--only", choices=["listing", "steps", "ranks"])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="barlow_load_") as folder:
        for part in (listing, steps, ranks):
            if args.only in (None, part.__name__):
                part(args, pathlib.Path(folder))


if __name__ == "__main__":
    main()

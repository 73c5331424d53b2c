#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Lets a training run meet what a disk can do to it, at the very system calls that write, and compares with a run that
nobody disturbed: parameters and log must be the same to the bit in the end.

    tests/crash/faults.py PROGRAM SHIM [--barlow BARLOW] [--every K | --calls 8] [--moments 2] [--seed 0]

PROGRAM FOLDER is as kill.py's; SHIM is the library of faults.cpp, which counts the calls and disturbs some; with
BARLOW, the program barlow pretrains on some of the example's digits, too. The parts:

    kill      SIGKILL at a call: before it, after it, or when half of its bytes are written; half of the time another
              one soon after the next start
    error     one call fails (ENOSPC, EIO, EDQUOT, a short write): the run goes on to the same parameters, and has told
              which checkpoint could not be written; or it ends with status 1 and a message that names the file
    full      all calls from one on fail (ENOSPC, EROFS, EIO): the same
    vanished  BARLOW's folder of images or of results is renamed or removed while it trains: it ends by itself, as
              undisturbed, or with status 1 and a message that names the folder

Afterwards, started again without faults, and with the folder back, the run goes on from its newest checkpoint and ends
as the undisturbed one. Disturbed is each K-th call, or for each part --calls of them, of as many kinds as there are.
Prints a line of counts for each part. At the first violation, or with --go-on at the end, it ends with status 1; the
folder stays, and the commands that repeat the run are shown.
"""
import argparse
import concurrent.futures
import errno
import itertools
import os
import pathlib
import random
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import zlib

from kill import log

DIGITS = pathlib.Path(__file__).parents[2] / "examples/data/mnist_tiny"
EPOCHS = 2
PRETRAIN = ("--resume", "--checkpoint-steps", 1, "--encoder", "mobilenetv3_small_050", "--hidden-size", 64,
            "--projection-size", 64, "--batch-size", 8, "--epochs", EPOCHS, "--workers", 2, "--threads", 1,
            "--device", "cpu", "--valid-pct", 0, "--no-report")
PARAMETERS = ("model.safetensors", "encoder.safetensors")
LIMIT = 120  # seconds that a run may take


class Violation(Exception):
    pass


def files_of(folder):
    """What is to be as undisturbed: parameters, and logs without what a clock says."""
    def content(file):
        if file.suffix == ".csv":
            return [line.rsplit(",", 1)[0] for line in file.read_text().splitlines()]
        try:
            return log(folder) if file.suffix == ".jsonl" else file.suffix == ".toml" or file.read_bytes()
        except ValueError:
            return "no JSON"
    return {file.name: content(file) for file in folder.iterdir() if file.is_file()} if folder.exists() else {}


def steps_of(names):
    return [int(step) for name in names for step in re.findall(r"step-(\d+)\.safetensors$", str(name))]


def check_whole(checkpoint):
    """By the checksum within, as checkpoint.h says."""
    data = checkpoint.read_bytes()
    at = data.index(b'"checksum":"') + len(b'"checksum":"')
    if zlib.crc32(data[:at] + b"0" * 8 + data[at + 8:]) != int(data[at:at + 8], 16):
        raise Violation(f"{checkpoint} is damaged")


class Run:
    """A run in a folder of its own, and each process that goes on with it."""

    def __init__(self, program, folder):
        self.program, self.folder = program, folder
        self.out = folder / "out"
        self.list = folder / "calls"
        folder.mkdir()
        self.command = [str(word) for word in program.command(self)]
        self.repeat = ""

    def start(self, **fault):
        fault = {f"BARLOW_FAULT_{key}": str(value) for key, value in fault.items()}
        fault["BARLOW_FAULT_FOLDER"] = str(self.out)
        env = {"LD_PRELOAD": self.program.shim, "OMP_NUM_THREADS": "1", **fault}
        self.repeat += "\n  env " + shlex.join([f"{k}={v}" for k, v in env.items()] + self.command)
        self.list.unlink(missing_ok=True)
        return subprocess.Popen(self.command, env={**os.environ, **env, "BARLOW_FAULT_COUNT": str(self.list)},
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace")

    def through(self, **fault):
        """The status and what was said."""
        with self.start(**fault) as process:
            return self.end_of(process)

    def end_of(self, process):
        try:
            said = process.communicate(timeout=LIMIT)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            raise Violation(f"still runs after {LIMIT} s") from None
        return process.returncode, said

    def calls(self):
        """Of the last process: what is done to which file, under the name that it will have."""
        lines = self.list.read_text().splitlines() if self.list.exists() else []
        return [(kind, re.sub(r"\.\d+\.tmp$", "", file)) for kind, file in (line.split(" ", 1) for line in lines)]

    def differing(self):
        """Names of files that are not as undisturbed, or are not there."""
        there = files_of(self.out)
        return [name for name, content in self.program.files.items() if there.get(name) != content]

    def check_end(self, status, said, named):
        """Of a process that met a fault; `named` is the file or folder that a message must name."""
        if status == 0:
            for name in self.differing():
                if name in PARAMETERS or (name not in said and f"'{named}'" not in said):
                    raise Violation(f"status 0, and {name} is not as undisturbed, which nothing tells; said: {said}")
        elif status != 1 or not re.search(rf"\[[\w: ]+\].*{re.escape(str(named))}", said):
            raise Violation(f"ended with status {status} and no message that names '{named}'; said: {said}")

    def check_rest(self, newest, lost=()):
        """Started again it goes on from a checkpoint that is as new as that, and ends as undisturbed but for files that
        are lost."""
        for file in self.out.glob("checkpoints/*.safetensors"):
            check_whole(file)
        status, said = self.through()
        if status != 0:
            raise Violation(f"started again it ended with status {status}: {said}")
        begun = max(steps_of(re.findall(r"going on from '(.*)'", said)), default=0)
        if begun < newest:
            raise Violation(f"started again it went on from step {begun}, with step {newest} saved; said: {said}")
        if differing := set(self.differing()) - set(lost):
            raise Violation(f"started again it ended with another {', '.join(differing)}")

    def newest(self):
        return max(steps_of(self.out.glob("checkpoints/step-*")), default=0)


class Program:
    def __init__(self, name, command, shim, root):
        self.name, self.command, self.shim = name, command, str(shim)
        whole = Run(self, root / f"{len(os.listdir(root))}.undisturbed")
        begin = time.monotonic()
        status, said = whole.through()
        if status != 0:
            sys.exit(f"the undisturbed run ended with status {status}: {said}")
        seconds = time.monotonic() - begin
        self.calls, self.files = whole.calls(), files_of(whole.out)
        self.lines = len(self.files["log.jsonl"])
        kinds = {}
        for number, (kind, file) in enumerate(self.calls, 1):
            kinds.setdefault((kind, re.sub(r"\d+", "N", file[len(str(whole.out)):])), []).append(number)
        self.kinds = list(kinds.values())
        print(f"{name}: {len(self.calls)} calls that write, of {len(kinds)} kinds, in {seconds:.1f} s; "
              f"a log of {self.lines} lines", flush=True)

    def choose(self, args, rand):
        """The numbers of the calls to disturb."""
        if args.every:
            return range(1 + rand.randrange(args.every), len(self.calls) + 1, args.every)
        kinds = rand.sample(self.kinds, len(self.kinds))
        return sorted(rand.choice(kind) for kind in itertools.islice(itertools.cycle(kinds), args.calls))


# --- the parts: each trial returns words to count


def kill(run, rand, number):
    how = rand.choice([{"KILL": "before"}, {"KILL": "after"}, {"KILL": "before", "SHORT": 1}])
    status, said = run.through(AT=number, **how)
    if status != -9:
        raise Violation(f"call {number} did not come; status {status}: {said}")
    counts = [f"in {run.calls()[-1][0]}"]
    if rand.random() < .5:
        newest = run.newest()
        status, said = run.through(AT=rand.randint(1, 40), KILL="after")
        if status not in (-9, 0):
            raise Violation(f"killed and started again it ended with status {status}: {said}")
        if run.newest() < newest:
            raise Violation(f"step {newest} was saved and is gone")
        counts += ["twice"] * (status == -9)
    counts += ["temporary file left behind"] * len(list(run.out.rglob("*.tmp")))
    run.check_rest(run.newest())
    return counts


def fail(run, rand, number, errors, count):
    code = rand.choice(errors)
    status, said = run.through(AT=number, FOR=count, ERRNO=getattr(errno, code), SHORT=rand.randint(0, 1))
    calls = run.calls()
    if len(calls) < number:
        raise Violation(f"call {number} did not come; status {status}: {said}")
    kind, file = calls[number - 1]
    run.check_end(status, said, run.out)
    if kind != "remove" and "/checkpoints/" in file and file not in said:
        raise Violation(f"{kind} of '{file}' failed ({code}), which nothing tells; said: {said}")
    saved = steps_of(file for kind, file in calls[:number - 1] if kind == "rename")
    left = len(list(run.out.rglob("*.tmp")))
    run.check_rest(max(saved, default=0), lost=run.differing() if status == 0 else ())
    return [code, f"status {status}"] + ["temporary file left behind"] * left


def error(run, rand, number):
    return fail(run, rand, number, ["ENOSPC", "EIO", "EDQUOT"], 1)


def full(run, rand, number):
    return fail(run, rand, number, ["ENOSPC", "EROFS", "EIO"], 0)


def vanished(run, rand, what):
    lines = run.program.lines
    # Somewhere, or near the end of the first epoch: the few images that are left must not be taken for bad ones.
    line = rand.randrange(lines) if rand.random() < .5 else lines // EPOCHS - rand.randint(3, 8)
    target = run.folder / "images" if what == "images" else run.out
    gone = run.folder / "gone"
    with run.start() as process:
        end = time.monotonic() + LIMIT
        log_file = run.out / "log.jsonl"
        while process.poll() is None and time.monotonic() < end and (
                not log_file.exists() or log_file.read_bytes().count(b"\n") <= line):
            time.sleep(.001)
        run.repeat += f"\n  and after line {line + 1} of the log: mv {target} {gone}"
        target.rename(gone)
        if what == "results, removed":
            shutil.rmtree(gone)
        status, said = run.end_of(process)
    if what == "images" or status != 0 or target.exists():  # else it had written all before
        run.check_end(status, said, target)
    if gone.exists():
        shutil.rmtree(target, ignore_errors=True)
        gone.rename(target)
    run.check_rest(run.newest(), lost=["log.jsonl", "log.csv"] if what == "results, removed" else ())
    return [f"{what}: status {status}"]


def copy_digits(folder, held_out):
    """80 images to train on and 24 held out; or 200 to train on."""
    parts = [("train", "train", 40), ("valid", "valid", 12)] if held_out else [("train", "", 100)]
    for source, target, count in parts:
        for digit in ("3", "7"):
            (folder / target / digit).mkdir(parents=True)
            for file in sorted((DIGITS / source / digit).iterdir())[:count]:
                shutil.copy(file, folder / target / digit)
    return folder


def trials(args, programs, rand):
    """The program, the part, and what it is done to."""
    for program in programs[:2]:
        for part in (kill, error, full):
            for number in program.choose(args, rand):
                yield program, part, number
    for program, whats in zip(programs[1:], (["results", "results, removed"], ["images"] * 2)):
        for what in whats * args.moments:
            yield program, vanished, what


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("shim", type=pathlib.Path)
    parser.add_argument("--barlow", type=pathlib.Path)
    parser.add_argument("--every", type=int, default=0)
    parser.add_argument("--calls", type=int, default=8)
    parser.add_argument("--moments", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parts", nargs="+", default=["kill", "error", "full", "vanished"])
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--go-on", action="store_true")
    args = parser.parse_args()
    root = pathlib.Path(tempfile.mkdtemp(prefix="barlow_faults_")).resolve()
    shim = args.shim.resolve()
    programs = [Program("crash", lambda run: [args.program.resolve(), run.out], shim, root)]
    for name, held_out in (("pretrain", True), ("pretrain, none held out", False)) if args.barlow else ():
        programs.append(Program(name, lambda run, held_out=held_out: [
            args.barlow.resolve(), "pretrain", copy_digits(run.folder / "images", held_out), "--out", run.out,
            *PRETRAIN], shim, root))

    def run_trial(numbered):
        index, (program, part, what) = numbered
        run = Run(program, root / f"{index}.{part.__name__}")
        try:
            counts = part(run, random.Random(f"{args.seed} {index}"), what)
        except Violation as violation:
            where = f", call {what} ({' '.join(program.calls[what - 1])})" if isinstance(what, int) else f", {what}"
            return program, part, None, f"{program.name}, {part.__name__}{where}: {violation}{run.repeat}"
        shutil.rmtree(run.folder)
        return program, part, counts, ""

    counts, violations, begin = {}, [], time.monotonic()
    chosen = [(index, trial) for index, trial in enumerate(trials(args, programs, random.Random(args.seed)))
              if trial[1].__name__ in args.parts]
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for program, part, words, violation in pool.map(run_trial, chosen):
            if violation:
                print(violation, flush=True)
                violations.append(violation)
                if not args.go_on:
                    pool.shutdown(wait=False, cancel_futures=True)
                    break
                continue
            of_part = counts.setdefault((program.name, part.__name__), {"": 0})
            for word in ["", *words]:
                of_part[word] = of_part.get(word, 0) + 1
    for (program, part), words in counts.items():
        rest = ", ".join(f"{count} {word}" for word, count in sorted(words.items()) if word)
        print(f"{program}, {part}: {words['']} runs ended as they should; {rest}")
    print(f"{time.monotonic() - begin:.0f} s")
    if violations:
        sys.exit(f"{len(violations)} violations; the runs are in {root}")
    shutil.rmtree(root)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Do the tests notice faults? Makes those of mutants.toml, one at a time, and runs the tests that ought to fail then.

    tests/mutation/run.py BUILD [--only ID...] [--jobs 1] [--results FILE]

BUILD is a CMake folder (Ninja) in which barlow_tests is up to date. Its objects and the sources are copied to a
temporary folder first, so the tree can be edited and built meanwhile; a fault costs one compilation, one link and its
tests, which have to pass without it. An ID is area.fault, or an area.

Prints a line a fault: caught, by which test (or a crash, or the time limit); SURVIVED; DOES NOT COMPILE. Faults that
FILE has the outcome of are not made again, unless --only names them. Ends with status 1 when less than 95 % are caught.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from typing import NamedTuple

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ENOUGH = 0.95  # share of the faults that must be caught


class Mutant(NamedTuple):
    id: str
    file: str  # under src/
    old: str
    new: str
    tests: str  # GoogleTest filter


def load_mutants():
    areas = tomllib.loads((HERE / "mutants.toml").read_text())
    suites = areas.pop("suites")
    return [Mutant(f"{area}.{name}", m["file"], m["old"], m["new"], m.get("tests") or suites[m["file"]])
            for area, faults in areas.items() for name, m in faults.items()]


def ninja(build, tool):
    return subprocess.run(["ninja", "-t", tool], cwd=build, check=True, stdout=subprocess.PIPE, text=True).stdout


class Copy:
    """The sources, and what a build made of them, where nobody changes them."""

    def __init__(self, build, folder):
        self.folder = folder
        self.src = folder / "src"
        for name in ("src", "include"):
            shutil.copytree(ROOT / name, folder / name)
        commands = {c["output"]: shlex.split(c["command"]) for c in json.loads(ninja(build, "compdb"))}

        headers = build / "src/CMakeFiles/barlow.dir/cmake_pch.hxx"  # with the precompiled ones beside it
        for file in headers.parent.glob("cmake_pch.hxx*"):
            if file.suffix != ".d":
                shutil.copy2(file, folder)
        self.moved = [(f"{ROOT}/src", str(self.src)), (f"{ROOT}/include", str(folder / "include")),
                      (str(headers), str(folder / headers.name))]

        # The library's objects take its place, so that one of them can be exchanged.
        objects = [t for t in commands["src/libbarlow.a"] if t.endswith(".o")]
        self.compilations = {o: commands[o] for o in objects}
        link = commands["tests/barlow_tests"][2:]  # ": && c++ ... && what is done after it"
        link = link[:link.index("&&")]
        at = link.index("src/libbarlow.a")
        link[at:at + 1] = objects
        files = {t for t in link if re.search(r"^[^-/].*\.[oa]$", t)}
        self.require_up_to_date(build, files)
        for path in files:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(build / path, folder / path)
        self.link = link
        if shutil.which("ld.lld"):
            self.link.append("-fuse-ld=lld")

    @staticmethod
    def require_up_to_date(build, files):
        """No source may be newer than what was made of it. (Ninja's dry run ends where CMake would run again.)"""
        old = [file for file in files if not (build / file).exists()]
        file = None
        for line in ninja(build, "deps").splitlines():
            if not line.startswith(" "):
                file = line.split(":")[0]
                made = (build / file).stat().st_mtime if file in files and file not in old else None
            elif made and line.strip().startswith(f"{ROOT}/"):
                source = pathlib.Path(line.strip())
                if not source.exists() or source.stat().st_mtime > made:
                    old.append(f"{file} ({source.relative_to(ROOT)})")
                    made = None
        if old:
            sys.exit(f"barlow_tests is not up to date, build it first: {', '.join(sorted(old)[:5])} ...")

    def program(self, name, mutant=None):
        """The tests' program, with the fault if there is one; None if that does not compile."""
        objects = {}
        if mutant:
            source = (self.src / mutant.file).with_name(f"{name}.cpp")
            source.write_text((self.src / mutant.file).read_text().replace(mutant.old, mutant.new))
            object_file = f"src/CMakeFiles/barlow.dir/{mutant.file}.o"
            objects[object_file] = f"{name}.o"
            command = self.compilations[object_file]
            command = command[:command.index("-MD")] + ["-w", "-o", f"{name}.o", "-c", str(source)]
            for old, new in self.moved:
                command = [part.replace(old, new) for part in command]
            done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
            source.unlink()
            if done.returncode != 0:
                print(done.stderr[:2000], file=sys.stderr)
                return None
        link = [objects.get(part, part) for part in self.link]
        link[link.index("-o") + 1] = name
        subprocess.run(link, cwd=self.folder, check=True)
        return self.folder / name


def failure(program, tests, limit):
    """What tells of a fault: the name of a test, or what happened; None if all tests pass."""
    scratch = pathlib.Path(tempfile.mkdtemp(dir=program.parent))
    try:
        done = subprocess.run([program, f"--gtest_filter={tests}", "--gtest_brief=1", "--gtest_fail_fast"],
                              cwd=scratch, env={**os.environ, "TMPDIR": str(scratch)}, timeout=limit,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace")
    except subprocess.TimeoutExpired:
        return "the time limit"
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    failed = re.search(r"^\[  FAILED  \] ([^\s,]+)", done.stdout, re.MULTILINE)
    if failed:
        return failed[1]
    if done.returncode != 0:
        return f"a crash, signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
    if not re.search(r"^\[  PASSED  \] [1-9]", done.stdout, re.MULTILINE):
        return "no test, for there is none"
    return None


def seconds_of_tests(copy, filters, pool):
    """How long each filter's tests take without a fault. They have to pass."""
    program = copy.program("unmutated")

    def seconds(tests):
        start = time.monotonic()
        why = failure(program, tests, 1800)
        if why:
            sys.exit(f"without a fault, {tests} fails: {why}")
        return time.monotonic() - start
    return dict(zip(filters, pool.map(seconds, filters)))


def outcome(copy, mutant, usual_seconds):
    start = time.monotonic()
    program = copy.program(mutant.id, mutant)
    built = time.monotonic()
    result = {"outcome": "does not compile", "build_seconds": round(built - start, 1)}
    if program:
        by = failure(program, mutant.tests, 60 + 10 * usual_seconds)
        result |= {"outcome": "caught" if by else "survived", "by": by,
                   "test_seconds": round(time.monotonic() - built, 1)}
    for file in (mutant.id, f"{mutant.id}.o"):
        (copy.folder / file).unlink(missing_ok=True)
    return result


def line_of(mutant, r):
    what = f"caught by {r['by']}" if r["outcome"] == "caught" else r["outcome"].upper()
    return f"{mutant.id:<55} {what} ({r['build_seconds']} + {r.get('test_seconds', 0)} s)"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--only", nargs="+", default=[], metavar="ID")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--results", type=pathlib.Path)
    args = parser.parse_args()
    build = args.build.resolve()
    results = json.loads(args.results.read_text()) if args.results and args.results.exists() else {}
    mutants = load_mutants()
    named = set(args.only)
    unknown = named - {m.id for m in mutants} - {m.id.split(".")[0] for m in mutants}
    if unknown:
        sys.exit(f"mutants.toml has no {', '.join(sorted(unknown))}")
    if named:
        mutants = [m for m in mutants if named & {m.id, m.id.split(".")[0]}]
    to_do = [m for m in mutants if named or m.id not in results]

    folder = pathlib.Path(tempfile.mkdtemp(prefix="barlow_mutation_"))
    lock = threading.Lock()
    try:
        copy = Copy(build, folder)
        wrong = [m.id for m in mutants if (copy.src / m.file).read_text().count(m.old) != 1]
        if wrong:
            sys.exit(f"the source does not have the old text, or more than once: {', '.join(wrong)}")
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            usual = seconds_of_tests(copy, sorted({m.tests for m in to_do}), pool)

            def do(mutant):
                result = outcome(copy, mutant, usual[mutant.tests])
                with lock:
                    results[mutant.id] = result
                    print(line_of(mutant, result), flush=True)
                    if args.results:
                        args.results.write_text(json.dumps(results, indent=1))
            list(pool.map(do, to_do))
    finally:
        shutil.rmtree(folder, ignore_errors=True)

    caught = [m for m in mutants if results[m.id]["outcome"] == "caught"]
    print()
    for area in dict.fromkeys(m.id.split(".")[0] for m in mutants):
        of_area = [m for m in mutants if m.id.startswith(f"{area}.")]
        print(f"{area:<11} {sum(m in caught for m in of_area)} of {len(of_area)}")
    print(f"caught {len(caught)} of {len(mutants)}, {100 * len(caught) / len(mutants):.1f} %")
    sys.exit(len(caught) < ENOUGH * len(mutants))


if __name__ == "__main__":
    main()

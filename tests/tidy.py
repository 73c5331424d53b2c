#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs clang-tidy on many sources at once: `tidy.py CLANG_TIDY BUILD_FOLDER FILE...`

Parsing LibTorch's headers is nine tenths of clang-tidy's time on a file of barlow's, so files are
read in groups, as a unity build compiles them. A group holds files of one set of compiler flags that
define no function or type twice. Where a group has findings its files are run alone, and that is what
counts.
"""
import json
import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LARGEST_GROUP = 24
DEFINED = re.compile(r"^(?!\s|return|using|#|//|namespace|\}|[A-Z_]+\()[^(={;\n]*?(?<![:\w])(\w+)\s*[(={;[]", re.MULTILINE)
TYPE = re.compile(r"^(?:using(?= \w+ =)|class|struct|enum class) (\w+)", re.MULTILINE)
RENAMED = re.compile(r"k[A-Z]\w*|main|info_of")  # names that many have: another one in each file of a group


def names(source: Path) -> set[str]:
    """What a file defines outside functions: clang-format leaves those lines unindented."""
    text = source.read_text()
    return {*DEFINED.findall(text), *TYPE.findall(text)}


def text_of(group: list[str]) -> str:
    lines = []
    for i, file in enumerate(group):
        renamed = sorted(n for n in names(Path(file)) if RENAMED.fullmatch(n))
        lines += [f"#define {n} {n}_{i}" for n in renamed]
        lines += [f'#include "{file}"']
        lines += [f"#undef {n}" for n in renamed]
    return "\n".join(lines) + "\n"


def groups(commands: dict[str, list[str]]) -> list[list[str]]:
    found: list[tuple[list[str], set[str], list[str]]] = []  # flags, names, files
    for file, flags in commands.items():
        own = {n for n in names(Path(file)) if not RENAMED.fullmatch(n)}
        for group_flags, taken, files in found:
            if group_flags == flags and not taken & own and len(files) < LARGEST_GROUP:
                taken |= own
                files.append(file)
                break
        else:
            found.append((flags, own, [file]))
    return [files for _, _, files in found]


def main() -> int:
    tidy, build, *sources = sys.argv[1:]
    database = {e["file"]: e for e in json.loads(Path(build, "compile_commands.json").read_text())}
    wanted = [os.path.abspath(s) for s in sources]
    missing = [s for s in wanted if s not in database]
    if missing:
        print("not built, so not checked:", *missing)
    commands = {}
    for file in wanted:
        if file in database:
            words = shlex.split(database[file]["command"])
            commands[file] = words[: words.index("-o")]

    folder = Path(build, "tidy")
    folder.mkdir(exist_ok=True)
    entries = []
    together = {}
    for i, files in enumerate(groups(commands)):
        group = str(folder.resolve() / f"group_{i}.cpp")
        Path(group).write_text(text_of(files))
        together[group] = files
        entries.append({"file": group, "directory": build, "arguments": [*commands[files[0]], "-c", group]})
    (folder / "compile_commands.json").write_text(json.dumps(entries))

    def run(database_folder: str | Path, file: str, *more: str) -> tuple[bool, str]:
        done = subprocess.run([tidy, "-p", str(database_folder), "--quiet", *more, file], capture_output=True, text=True)
        return done.returncode == 0, done.stdout + done.stderr

    def check(group: str) -> bool:
        files = together[group]
        if len(files) > 1:
            # A renamed main returns nothing, and an alias of one file hides another's: the compiler judges both.
            unlike_alone = ("--extra-arg=-Wno-return-type", "--extra-arg=-Wno-shadow", "--checks=-bugprone-suspicious-include")
            passed, output = run(folder, group, "--config-file=.clang-tidy", *unlike_alone)
            if passed:
                return True
            first = next((line for line in output.splitlines() if "error:" in line), output)
            print(f"{len(files)} files apart, for together: {first}", flush=True)
        results = [run(build, file) for file in files]
        for passed, output in results:
            if not passed:
                print(output, flush=True)
        return all(passed for passed, _ in results)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return 0 if all(list(pool.map(check, together))) else 1


if __name__ == "__main__":
    sys.exit(main())

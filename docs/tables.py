#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes docs/commands.md, every option of the program, and docs/encoders.md, every network, as the program tells them.

    docs/tables.py build/src/cli/barlow           # makes each network: minutes
    docs/tables.py build/src/cli/barlow --check   # of commands.md alone; status 1 if it is not up to date
"""
import argparse
import pathlib
import re
import subprocess
import sys

DOCS = pathlib.Path(__file__).resolve().parent


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def commands(program):
    usage = output(program, "--help")
    text = f"# The program's commands and options\n\nWritten by `docs/tables.py`.\n\n```\n{usage.rstrip()}\n```\n"
    for name in re.findall(r"^  ([a-z-]+) +\S", usage.split("Commands:")[1].split("\n\n")[0], re.M):
        text += f"\n## {name}\n\n```\n{output(program, name, '--help').strip()}\n```\n"
    return text


def encoders(program):
    rows = [line.split() for line in output(program, "encoders", "--details").splitlines()[1:]]
    text = ("# The networks\n\nWritten by `docs/tables.py`. Parameters and features without a classifier, three channels,\n"
            "CatAvgMax pooling (twice the width) where the family can; pixels a side that the published weights were trained\n"
            "with. What the names mean: `include/barlow/encoders/`.\n\n"
            "| name | parameters | features | pixels |\n| --- | ---: | ---: | ---: |\n")
    return text + "".join(f"| `{name}` | {int(parameters):,} | {features} | {pixels} |\n"
                          for name, parameters, features, pixels in rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    page = DOCS / "commands.md"
    if args.check:
        if page.read_text() != commands(args.program):
            sys.exit(f"docs/commands.md is not what the program says; python3 docs/tables.py {args.program} writes it anew")
        return
    page.write_text(commands(args.program))
    (DOCS / "encoders.md").write_text(encoders(args.program))


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""What the scripts share that run a program of ours and a Python peer in turn."""
import argparse
import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]


def parser(description, program):
    """Arguments: the peer's Python, --threads, --ours; --as-peer is how such a script calls itself for the peer's side."""
    p = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("peer_python")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--ours", default=ROOT / "build/tests/bench" / program)
    p.add_argument("--as-peer", action="store_true", help=argparse.SUPPRESS)
    return p


def environment(threads):
    return {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}

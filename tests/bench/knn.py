#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Nearest neighbours of 10,000 queries among 100,000 features of 1,024: time and peak memory, ours and scikit-learn's.

    tests/bench/knn.py PEER_PYTHON [--rounds 3] [--threads 2] [--rows 100000] [--queries 10000] [--k 20]
                       [--ours build/tests/bench/barlow_knn]

The peer is scikit-learn's NearestNeighbors(algorithm="brute", metric="cosine"). Each side makes the same features, then
searches once; the features' own memory (the same on both sides) is in the peak. A Markdown table of medians. Nothing
else should run on the machine meanwhile.
"""
import json
import statistics
import subprocess
import sys

from side_by_side import environment, parser


def peer(rows, queries, k):
    import resource
    import time
    import numpy as np
    from sklearn.neighbors import NearestNeighbors
    random = np.random.default_rng(0)
    bank = random.standard_normal((rows, 1024), dtype=np.float32)
    query = random.standard_normal((queries, 1024), dtype=np.float32)
    start = time.perf_counter()
    NearestNeighbors(n_neighbors=k, algorithm="brute", metric="cosine").fit(bank).kneighbors(query)
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def main():
    p = parser(__doc__, "barlow_knn")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--rows", type=int, default=100_000)
    p.add_argument("--queries", type=int, default=10_000)
    p.add_argument("--k", type=int, default=20)
    args = p.parse_args()
    if args.as_peer:
        peer(args.rows, args.queries, args.k)
        return
    sizes = [str(args.rows), str(args.queries), str(args.k)]
    commands = {
        "ours": [args.ours, *sizes],
        "scikit-learn": [args.peer_python, __file__, args.peer_python, "--as-peer", "--rows", sizes[0], "--queries",
                         sizes[1], "--k", sizes[2]],
    }
    found = {name: [] for name in commands}
    for _ in range(args.rounds):
        for name, command in commands.items():
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment(args.threads))
            found[name].append(json.loads(done.stdout))
            print(name, found[name][-1], file=sys.stderr)
    print("| | seconds | peak MB |\n| --- | --- | --- |")
    for name, runs in found.items():
        print(f"| {name} | {statistics.median(r['seconds'] for r in runs):.2f} | "
              f"{statistics.median(r['peak_mb'] for r in runs):.0f} |")


if __name__ == "__main__":
    main()

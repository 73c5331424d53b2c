#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Pretrains on MNIST-5k with this library and with the documented Python one, in turn: accuracy and time an epoch.

    tests/bench/mnist5k.py PEER_PYTHON [--epochs 8] [--threads 2] [--seed 0] [--ours build/tests/bench/barlow_mnist5k]

Encoder xresnet18 for one channel, CatAvgMax; projector 1024-1024-1024 with batch norm; batch 64, drop_last; fastai's
Adam at 1e-3; lambda 0.005; views of 28 pixels, crop .5-1, rotation 15 degrees p .5; pixels in 0..1. After each epoch
the accuracy of a vote of the 20 nearest of 4,000 (cosine, T .1) on 1,000 queries, not timed. A Markdown table. The
Python library (1.0.4) does not rotate while it trains: its rotation is made for a validation split. Nothing else
should run on the machine meanwhile. PEER_PYTHON: see compare.py.
"""
import json
import subprocess
import sys

from side_by_side import ROOT, environment, parser

DATA = ROOT / "examples/data/mnist5k"


def peer(epochs, seed):
    """The documented library, by fastai's Learner; prints what our program prints."""
    import gzip
    import time
    import numpy as np
    import torch
    import torch.nn.functional as F
    from fastai.vision.all import Adam, Callback, CancelValidException, DataLoader, DataLoaders, Learner, create_body
    from fastai.vision.all import set_seed
    import self_supervised.augmentations as augmentations
    import self_supervised.layers as layers
    from self_supervised.vision.barlow_twins import BarlowTwins, create_barlow_twins_model
    layers.create_body = lambda arch, n_in, pretrained, cut=None: create_body(arch(pretrained=pretrained), n_in,
                                                                              pretrained, cut)
    set_seed(seed)

    def read(stem):
        images = np.frombuffer(gzip.open(DATA / f"{stem}-images-idx3-ubyte.gz").read()[16:], np.uint8)
        labels = np.frombuffer(gzip.open(DATA / f"{stem}-labels-idx1-ubyte.gz").read()[8:], np.uint8)
        return torch.tensor(images).view(-1, 1, 28, 28).float() / 255, torch.tensor(labels).long()
    (bank, bank_labels), (queries, query_labels) = read("train"), read("t10k")

    @torch.no_grad()
    def accuracy(network):
        features = lambda x: F.normalize(torch.cat([network(part) for part in x.split(250)]), dim=1)
        similarity, index = (features(queries) @ features(bank).T).topk(20, dim=1)
        votes = F.one_hot(bank_labels[index], 10) * (similarity / 0.1).exp().unsqueeze(2)
        return (votes.sum(1).argmax(1) == query_labels).float().mean().item()

    encoder = layers.create_encoder("xresnet18", n_in=1, pretrained=False)
    pixels = accuracy(lambda x: x.flatten(1))
    print(json.dumps({"pixels": round(pixels, 3), "random": round(accuracy(encoder.eval()), 3)}), flush=True)
    model = create_barlow_twins_model(encoder.train(), hidden_size=1024, projection_size=1024)

    class Measure(Callback):
        def before_train(self):
            self.start = time.perf_counter()

        def after_train(self):
            seconds = time.perf_counter() - self.start
            self.learn.model.eval()
            print(json.dumps({"epoch": self.epoch + 1, "seconds": round(seconds, 2),
                              "knn": round(accuracy(self.learn.model.encoder), 3)}), flush=True)

        def before_validate(self):
            raise CancelValidException

    loader = DataLoader(list(zip(bank, bank_labels)), bs=64, shuffle=True, drop_last=True, num_workers=0)
    pipelines = augmentations.get_multi_aug_pipelines(
        2, size=28, rotate=True, rotate_deg=15, rotate_p=0.5, jitter=False, bw=False, blur=False, flip_p=0.,
        resize_scale=(0.5, 1.), stats=None, cuda=False)
    learn = Learner(DataLoaders(loader, loader, device="cpu"), model, opt_func=Adam,
                    loss_func=torch.nn.functional.mse_loss,
                    cbs=[BarlowTwins(pipelines, print_augs=False), Measure()])
    with learn.no_bar(), learn.no_logging():
        learn.fit(epochs, 1e-3)


def run(command, threads):
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(threads)) as process:
        for line in process.stdout:
            if line.startswith("{"):
                lines.append(json.loads(line))
                print(line, end="", file=sys.stderr)
    if process.returncode != 0:
        sys.exit(f"{command[0]} failed")
    return lines[0], lines[1:]


def main():
    p = parser(__doc__, "barlow_mnist5k")
    p.add_argument("--epochs", type=int, default=8)
    p.add_argument("--seed", type=int, default=0)
    args = p.parse_args()
    if args.as_peer:
        peer(args.epochs, args.seed)
        return
    base, ours = run([args.ours, DATA, str(args.epochs), str(args.seed)], args.threads)
    their_base, theirs = run([args.peer_python, __file__, args.peer_python, "--as-peer", "--epochs", str(args.epochs),
                              "--seed", str(args.seed)], args.threads)
    print("| epoch | our kNN | the peer's | our seconds | the peer's | ratio |\n| --- | --- | --- | --- | --- | --- |")
    for a, b in zip(ours, theirs):
        print(f"| {a['epoch']} | {a['knn']:.3f} | {b['knn']:.3f} | {a['seconds']:.1f} | {b['seconds']:.1f} | "
              f"{a['seconds'] / b['seconds']:.2f} |")
    total = [sum(line["seconds"] for line in lines) for lines in (ours, theirs)]
    print(f"\nPixels {base['pixels']:.3f}, random encoder {base['random']:.3f} (the peer's {their_base['random']:.3f}); "
          f"all epochs {total[0]:.0f} s against {total[1]:.0f} s: {total[0] / total[1]:.2f}")


if __name__ == "__main__":
    main()

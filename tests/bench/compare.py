#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times rows of barlow_bench and the same work in the Python peers, in turn, with as many threads.

    tests/bench/compare.py PEER_PYTHON [FILTER] [--rounds 5] [--threads 2] [--bench build/tests/bench/barlow_bench]

PEER_PYTHON has torch, fastai, timm and self-supervised (pip install torch==2.11.0 torchvision==0.26.0 fastai timm kornia
lightly self-supervised scikit-learn). FILTER is a regular expression on the names. One line a row: name, our median in ms, the peer's,
the peer's over ours (above 1: we are faster). Nothing else should run on the machine meanwhile.
"""
import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
import types

# Seconds that one measurement takes, at least; a round is one measurement of each side.
SECONDS = 1.0


# ---- the peers' side: each function returns the work as a callable ----

def loss(n, d):
    """self_supervised's formula, forward and backward of both embeddings."""
    import torch
    from self_supervised.vision.barlow_twins import BarlowTwins
    me = types.SimpleNamespace(I=torch.eye(d), lmb=5e-3)
    z = torch.randn(2 * n, d, requires_grad=True)

    def work():
        z.grad = None
        BarlowTwins.lf(me, z).backward()
    return work


def page_learner():
    """The documented page's model and optimiser, in a fastai Learner (for its optimiser's settings)."""
    import torch
    from fastai.vision.all import DataLoaders, Learner, create_body
    import self_supervised.layers as layers
    from self_supervised.vision.barlow_twins import create_barlow_twins_model
    # self_supervised 1.0.4 hands create_body an architecture, newer fastai expects a model
    layers.create_body = lambda arch, n_in, pretrained, cut=None: create_body(arch(pretrained=pretrained), n_in,
                                                                              pretrained, cut)
    torch.manual_seed(0)
    encoder = layers.create_encoder("xresnet18", n_in=1, pretrained=False)
    model = create_barlow_twins_model(encoder, hidden_size=1024, projection_size=1024).train()
    learn = Learner(DataLoaders([], []), model, loss_func=torch.nn.functional.mse_loss)
    learn.create_opt()
    return learn


def seed_step(n):
    """Encoder, projector, loss, backward, fastai's Adam; the views are given."""
    import torch
    from self_supervised.vision.barlow_twins import BarlowTwins
    learn = page_learner()
    me = types.SimpleNamespace(I=torch.eye(1024), lmb=5e-3)
    views = torch.rand(2 * n, 1, 28, 28)

    def work():
        BarlowTwins.lf(me, learn.model(views)).backward()
        learn.opt.step()
        learn.opt.zero_grad()
    return work


def page_step(n):
    """A whole step of the documented page, by fastai's Learner: batch from memory, views, model, loss, optimiser."""
    import torch
    from fastai.vision.all import DataLoader, DataLoaders, Learner, Callback, CancelValidException
    import self_supervised.augmentations as augmentations
    from self_supervised.vision.barlow_twins import BarlowTwins

    class NoValidation(Callback):
        def before_validate(self):
            raise CancelValidException
    steps = 40
    images = [(torch.rand(1, 28, 28), torch.tensor(0)) for _ in range(n * steps)]
    loader = lambda: DataLoader(images, bs=n, shuffle=True, drop_last=True, num_workers=0)
    pipelines = augmentations.get_multi_aug_pipelines(2, size=28, rotate=False, jitter=False, bw=False, blur=False,
                                                      stats=None, cuda=False)
    learn = Learner(DataLoaders(loader(), loader(), device="cpu"), page_learner().model,
                    loss_func=torch.nn.functional.mse_loss,
                    cbs=[NoValidation(), BarlowTwins(pipelines, print_augs=False)])

    def work():
        with learn.no_bar(), learn.no_logging():
            learn.fit(1, 1e-3)
    work.calls = steps
    return work


def cifar_step(n):
    """lightly's loss and projector (of three layers) on torchvision's ResNet-18 with a 3x3 stem; views given."""
    import torch
    import torchvision
    from lightly.loss import BarlowTwinsLoss
    from lightly.models.modules.heads import BarlowTwinsProjectionHead
    torch.manual_seed(0)
    encoder = torchvision.models.resnet18()
    encoder.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
    encoder.maxpool, encoder.fc = torch.nn.Identity(), torch.nn.Identity()
    model = torch.nn.Sequential(encoder, BarlowTwinsProjectionHead(512, 2048, 2048)).train()
    loss = BarlowTwinsLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    x1, x2 = torch.rand(n, 3, 32, 32), torch.rand(n, 3, 32, 32)

    def work():
        loss(model(x1), model(x2)).backward()
        optimizer.step()
        optimizer.zero_grad()
    return work


def dlib_step(n):
    """dlib's loss_barlow_twins with the same network; a program of its own."""
    program = pathlib.Path(tempfile.gettempdir()) / "barlow_bench_dlib_step"
    source = pathlib.Path(__file__).with_name("dlib_step.cc")
    if not program.exists():
        subprocess.run(["g++", "-O3", "-march=native", "-DNDEBUG", "-std=c++17", "-DDLIB_USE_BLAS", str(source), "-o",
                        str(program), "-ldlib", "-lopenblas", "-lpthread"], check=True)
    os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"]
    return lambda: float(subprocess.run([program, str(n)], check=True, capture_output=True, text=True).stdout)


def encoder(name, n, size):
    """timm's network, forward and backward in training mode, pooled as ours by default."""
    import timm
    import torch
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=0, global_pool="catavgmax").train()
    x = torch.rand(n, 3, size, size)
    grad = torch.randn(n, model(x).shape[1])

    def work():
        model.zero_grad()
        model(x).backward(grad)
    return work


def optimizer(kind):
    """One step of fastai's Adam over the page's model."""
    import torch
    assert kind == "adam"
    learn = page_learner()
    for p in learn.model.parameters():
        p.grad = torch.randn_like(p)
    return learn.opt.step


def views(preset, n, size_from, size_to, **options):
    """One view of a batch by the documented library, called directly on a TensorImage so that all its steps act.

    Its time depends on what it draws, a blur above all, so this is the mean of 20 calls and not one call."""
    import torch
    from fastai.torch_core import TensorImage
    import self_supervised.augmentations as augmentations
    torch.manual_seed(0)
    x = TensorImage(torch.rand(n, 3, size_from, size_from))
    pipeline = getattr(augmentations, preset)(size_to, cuda=False, **options)
    pipeline(x)

    def work():
        for _ in range(20):
            pipeline(x)
    work.calls = 20
    return work


def load(what, n):
    """Batches of ImageFolder and DataLoader with torchvision's transforms of Pillow images; the paper's two views with
    the Pillow blur and solarisation of its program."""
    import random
    import torch
    from PIL import ImageFilter, ImageOps
    from torchvision import datasets, transforms as t
    bicubic = t.InterpolationMode.BICUBIC

    def view(blur_p, solarize_p):
        return t.Compose([
            t.RandomResizedCrop(224, interpolation=bicubic), t.RandomHorizontalFlip(),
            t.RandomApply([t.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=0.8), t.RandomGrayscale(0.2),
            lambda x: x.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2))) if random.random() < blur_p else x,
            lambda x: ImageOps.solarize(x) if random.random() < solarize_p else x,
            t.ToTensor(), t.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])
    if what == "crop":
        transform = t.Compose([t.RandomResizedCrop(224), t.RandomHorizontalFlip(), t.PILToTensor()])
    else:
        first, second = view(1.0, 0.0), view(0.1, 0.2)
        def transform(x):
            return first(x), second(x)
    cores = len(os.sched_getaffinity(0))
    loader = torch.utils.data.DataLoader(
        datasets.ImageFolder(os.environ["BARLOW_BENCH_IMAGES"], transform), batch_size=n, shuffle=True, drop_last=True,
        num_workers=0 if cores == 1 else cores)
    batches = iter(())

    def work():
        nonlocal batches
        try:
            next(batches)
        except StopIteration:
            batches = iter(loader)
            next(batches)
    work.least = 12  # more than an epoch: its first batches come late, its last early
    return work


ALL = dict(rotate_p=1., jitter_p=1., bw_p=1., blur_p=1.)
ROWS = {"loss/5/1024": (loss, 5, 1024), "loss/128/2048": (loss, 128, 2048), "loss/256/8192": (loss, 256, 8192),
        "encoder/resnet18/16/128": (encoder, "resnet18", 16, 128),
        "encoder/efficientnet_b0/8/224": (encoder, "efficientnet_b0", 8, 224),
        "seed_step/5": (seed_step, 5), "seed_step/64": (seed_step, 64), "optimizer/adam": (optimizer, "adam"),
        "page_step/5": (page_step, 5), "page_step/64": (page_step, 64),
        "cifar_step/64": (cifar_step, 64), "cifar_joint_step/32": (dlib_step, 32),
        "views/documented/64/256/224": (views, "get_batch_augs", 64, 256, 224),
        "views/kornia/64/256/224": (views, "get_kornia_batch_augs", 64, 256, 224),
        "views/all/64/256/224": (lambda *a: views(*a, **ALL), "get_batch_augs", 64, 256, 224),
        "load/crop/64": (load, "crop", 64), "load/paper/64": (load, "paper", 64),
        "views/documented/64/32/32": (views, "get_batch_augs", 64, 32, 32)}


def measure(name):
    """Prints the median time of one call, in ms; runs under PEER_PYTHON."""
    function, *args = ROWS[name]
    if function is dlib_step:  # it times itself
        print(dlib_step(*args)())
        return
    import torch
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    work = function(*args)
    calls = getattr(work, "calls", 1)  # in one call of work
    for _ in range(3 if calls == 1 else 0):
        work()
    least = getattr(work, "least", 3 if calls == 1 else 1)
    times, start = [], time.perf_counter()
    while len(times) < least or time.perf_counter() - start < SECONDS:
        before = time.perf_counter()
        work()
        times.append((time.perf_counter() - before) * 1e3 / calls)
    print(statistics.mean(times) if hasattr(work, "least") else statistics.median(times))


# ---- both in turn ----

def ours(bench, name):
    out = subprocess.run([bench, f"--benchmark_filter=^{name}(/iterations:[0-9]+)?/real_time$", "--benchmark_format=json",
                          f"--benchmark_min_time={SECONDS / 5}", "--benchmark_repetitions=5"],
                         check=True, capture_output=True, text=True).stdout
    runs = json.loads(out)["benchmarks"]
    return next(r["real_time"] for r in runs if r["run_type"] == "aggregate" and r["aggregate_name"] == "median")


def theirs(python, name):
    out = subprocess.run([python, __file__, "--work", name], check=True, capture_output=True, text=True).stdout
    return float(out.splitlines()[-1])


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("peer_python")
    p.add_argument("filter", nargs="?", default="")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--bench", default=str(root / "build/tests/bench/barlow_bench"))
    args = p.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:args.threads])
    if "BARLOW_BENCH_IMAGES" not in os.environ and any(re.search(args.filter, n) for n in ROWS if n.startswith("load")):
        folder = pathlib.Path(tempfile.gettempdir()) / "barlow_bench_images"
        if not folder.exists():
            subprocess.run([args.peer_python, str(root / "tests/bench/make_jpegs.py"), str(folder)], check=True)
        os.environ["BARLOW_BENCH_IMAGES"] = str(folder)
    for name in ROWS:
        if not re.search(args.filter, name):
            continue
        pairs = [(ours(args.bench, name), theirs(args.peer_python, name)) for _ in range(args.rounds)]
        a, b = (statistics.median(side) for side in zip(*pairs))
        print(f"{name:<30} {a:10.2f} {b:10.2f} {statistics.median(y / x for x, y in pairs):8.2f}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        measure(sys.argv[2])
    else:
        main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a GPU does of a training step: the rows of barlow_gpu_rows, then the same step in Python.

    tests/bench/gpu.py build/tests/bench/barlow_gpu_rows [FILTER]

Needs torch and torchvision. FILTER is a regular expression of the rows: views, loss, page, graph, bfloat16, float32 (ours),
eager, compile (Python's). Python's step gets its views for nothing: ResNet-50 and the paper's projector, the documented
formula of the loss, torch's fused AdamW, channels-last, bfloat16. Nothing else should run on the machine meanwhile.
"""
import re
import statistics
import subprocess
import sys
import time

IMAGES, SIZE, WIDE = 256, 224, 8192


def documented_loss(z1, z2, eye):
    a, b = (z1 - z1.mean(0)) / z1.std(0, unbiased=False), (z2 - z2.mean(0)) / z2.std(0, unbiased=False)
    difference = (a.T @ b / len(z1) - eye) ** 2
    return (difference * eye + difference * (1 - eye) * 0.005).sum()


def model():
    import torch
    import torchvision
    encoder = torchvision.models.resnet50()
    encoder.fc = torch.nn.Identity()
    layers = []
    for width in (2048, WIDE):
        layers += [torch.nn.Linear(width, WIDE, bias=False), torch.nn.BatchNorm1d(WIDE), torch.nn.ReLU()]
    projector = torch.nn.Sequential(*layers, torch.nn.Linear(WIDE, WIDE, bias=False))
    return torch.nn.Sequential(encoder, projector).cuda().train().to(memory_format=torch.channels_last)


def step(compiled):
    import torch
    torch.manual_seed(0)
    net = model()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, fused=True)
    x = torch.rand(2 * IMAGES, 3, SIZE, SIZE, device="cuda").contiguous(memory_format=torch.channels_last)
    eye = torch.eye(WIDE, device="cuda")

    def loss_of(x):
        with torch.autocast("cuda", torch.bfloat16):
            z = net(x)
        return documented_loss(*z.float().chunk(2), eye)
    loss_of = torch.compile(loss_of) if compiled else loss_of

    def work():
        loss_of(x).backward()
        optimizer.step()
        optimizer.zero_grad()
    for _ in range(5):
        work()
    rounds = []
    torch.cuda.reset_peak_memory_stats()
    for _ in range(3):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(15):
            work()
        torch.cuda.synchronize()
        rounds.append((time.perf_counter() - start) / 15 * 1e3)
    name = f"step/resnet50/bfloat16/python {'compile' if compiled else 'eager'}"
    print(f"{name:<40} {statistics.median(rounds):9.3f} ms {torch.cuda.max_memory_allocated() / 2**30:7.2f} GiB", flush=True)


def main():
    program, wanted = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ".*"
    subprocess.run([program, wanted], check=True)
    for name in ("eager", "compile"):
        if re.fullmatch(wanted, name):
            step(name == "compile")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""State dicts as PyTorch's torch.save writes them (torch 2.11), and the same tensors as safetensors.

    pytorch_files.py FOLDER

    state_dict.pth   an OrderedDict with _metadata, as module.state_dict() gives it
    checkpoint.pth   {"epoch", "model": names behind "module.backbone.", "optimizer"}: what training programs save
    types.pth        every supported type, a parameter, a transposed view, two views of one storage; pickle protocol 4
    *.safetensors    the expected tensors of the first and the last
"""
import pathlib
import sys

import torch
from safetensors.torch import save_file

folder = pathlib.Path(sys.argv[1])
torch.manual_seed(0)
module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3, bias=False), torch.nn.BatchNorm2d(2))
state = module.state_dict()
torch.save(state, folder / "state_dict.pth")
save_file(dict(state), folder / "state_dict.safetensors")

parallel = torch.nn.DataParallel(torch.nn.ModuleDict({"backbone": module}))
optimizer = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9)
for p in module.parameters():
    p.grad = torch.ones_like(p)
optimizer.step()
torch.save({"epoch": 3, "model": parallel.state_dict(), "optimizer": optimizer.state_dict(), "best": 0.5,
            "name": "run", "done": False, "none": None}, folder / "checkpoint.pth")
save_file(dict(module.state_dict()), folder / "checkpoint.safetensors")

base = torch.arange(24, dtype=torch.float32)
types = {str(t)[6:]: torch.arange(6).view(2, 3).to(t) for t in (
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool)}
types |= {"parameter": torch.nn.Parameter(torch.ones(2)), "transposed": base.view(4, 6).t(), "part": base[3:9],
          "scalar": torch.tensor(3.5), "empty": torch.zeros(0, 4)}
torch.save(types, folder / "types.pth", pickle_protocol=4)
save_file({k: v.detach().contiguous().clone() for k, v in types.items()}, folder / "types.safetensors")

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes any timm or fastai encoder as a TorchScript file that barlow::create_encoder("NAME.pt") trains.

    examples/export_encoder.py NAME [--out NAME.pt] [--n-in 3] [--pretrained] [--pool avg|max|avgmax|catavgmax]

NAME is timm's, or fastai:NAME. Needs torch and timm or fastai of any recent version. For the networks that barlow has
natively (barlow::list_encoders) this is not needed.
"""
import argparse
import json


def timm_encoder(name, args):
    import timm
    pool = {"global_pool": args.pool} if args.pool else {}
    # exportable: timm's plain layers, which TorchScript can compile
    model = timm.create_model(name, pretrained=args.pretrained, in_chans=args.n_in, num_classes=0, exportable=True,
                              scriptable=True, **pool)
    return model, model.pretrained_cfg["input_size"][-1]


def fastai_encoder(name, args):
    import fastai.vision.all as fv
    import torch
    body = fv.create_body(getattr(fv, name)(pretrained=args.pretrained), args.n_in, args.pretrained, cut=None)
    pool = {"catavgmax": fv.AdaptiveConcatPool2d(), "max": torch.nn.AdaptiveMaxPool2d(1)}.get(
        args.pool, torch.nn.AdaptiveAvgPool2d(1))
    return torch.nn.Sequential(*body, pool, torch.nn.Flatten()), 224


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("name")
    p.add_argument("--out", help="default: NAME.pt")
    p.add_argument("--n-in", type=int, default=3, help="input channels")
    p.add_argument("--pretrained", action="store_true", help="with the library's published weights")
    p.add_argument("--pool", choices=["avg", "max", "avgmax", "catavgmax"], help="default: the network's own")
    args = p.parse_args()
    import torch
    library, _, name = args.name.rpartition(":")
    model, size = (fastai_encoder if library == "fastai" else timm_encoder)(name, args)
    out = args.out or f"{name}.pt"
    extra = {"barlow.json": json.dumps({"name": args.name, "n_in": args.n_in, "input_size": size})}
    torch.jit.script(model).save(out, _extra_files=extra)
    print(f"wrote {out}: {sum(q.numel() for q in model.parameters())} parameters, input {args.n_in}x{size}x{size}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Facts of every network that timm and fastai build of the families of this library, without running them.

    encoder_facts.py > encoder_facts.json

One entry a name ("fastai:NAME" for fastai's own and for the torchvision networks in fastai's layout):
    parameters  their number, without a classifier, pooled as the family does by itself
    features    width of the output with that pooling
    digest      CRC-32 of "key:AxBxC;" over the state dict, in order
    input_size  pixels a side of the network's published weights, first if it has several
    mean, std   of the pixels that they expect
    first_conv  the convolution that sees the image
"""
import json
import sys
import warnings
import zlib

import torch

TIMM_MODULES = ("resnet senet efficientnet mobilenetv3 regnet densenet vgg convnext vision_transformer deit "
                "swin_transformer mlp_mixer resnetv2").split()
FASTAI_PREFIXES = ("xres", "xse", "resnet", "wide_resnet", "resnext", "vgg", "efficientnet", "convnext", "densenet",
                   "squeezenet", "mobilenet", "alexnet")


def digest(module):
    text = "".join(f"{key}:{'x'.join(map(str, value.shape))};" for key, value in module.state_dict().items())
    return zlib.crc32(text.encode())


def entry(module, features, **more):
    return {"parameters": sum(p.numel() for p in module.parameters()), "features": features, "digest": digest(module),
            **more}


def timm_facts():
    import timm
    facts = {}
    for module in TIMM_MODULES:
        for name in timm.list_models(module=module):
            with torch.device("meta"):
                model = timm.create_model(name, num_classes=0)
            cfg = model.pretrained_cfg
            first = cfg["first_conv"]
            facts[name] = entry(model, model.head_hidden_size, input_size=cfg["input_size"][-1], mean=cfg["mean"],
                                std=cfg["std"], first_conv=first if isinstance(first, str) else first[0])
    return facts


def fastai_facts():
    import fastai.vision.all as fv
    facts = {}
    for name in sorted(n for n in dir(fv) if n.startswith(FASTAI_PREFIXES) and callable(getattr(fv, n))):
        try:
            with torch.device("meta"):
                body = fv.create_body(getattr(fv, name)(), 3, False, cut=None)
                model = torch.nn.Sequential(*body, torch.nn.AdaptiveAvgPool2d(1), fv.Flatten()).eval()
                features = model(torch.zeros(2, 3, 224, 224)).shape[1]
        except Exception as e:  # fastai's xsenet154 cannot be built, and some names are no networks
            print(f"{name}: {type(e).__name__}: {e}", file=sys.stderr)
            continue
        facts["fastai:" + name] = entry(model, features)
    return facts


def main():
    warnings.simplefilter("ignore")
    facts = {**timm_facts(), **fastai_facts()}
    rows = ",\n".join(f" {json.dumps(name)}: {json.dumps(facts[name])}" for name in sorted(facts))
    print("{\n" + rows + "\n}")


if __name__ == "__main__":
    main()

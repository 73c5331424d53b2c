#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How timm and fastai initialise one network of each family: mean and standard deviation of every parameter.

    encoder_moments.py > encoder_moments.json
"""
import json
import warnings

import torch

NAMES = ("convnext_atto convnextv2_atto densenet121 efficientnet_b0 fastai:convnext_tiny fastai:efficientnet_b0 "
         "fastai:resnet18 fastai:vgg11_bn fastai:xse_resnext18 legacy_seresnet18 mixer_s32_224 mobilenetv2_050 "
         "mobilenetv3_small_050 mobilenetv4_conv_small regnetx_002 regnety_002 resnet18 resnetv2_50 seresnet18 "
         "swin_tiny_patch4_window7_224 tf_efficientnet_lite0 vgg11_bn vit_tiny_patch16_224 "
         "deit3_small_patch16_224").split()


def build(name):
    if name.startswith("fastai:"):
        import fastai.vision.all as fv
        model = fv.create_body(getattr(fv, name[7:])(), 3, False, cut=None)
        return torch.nn.Sequential(*model, torch.nn.AdaptiveAvgPool2d(1), fv.Flatten())
    import timm
    return timm.create_model(name, num_classes=0)


def main():
    warnings.simplefilter("ignore")
    rows = []
    for name in NAMES:
        torch.manual_seed(0)
        moments = {k: [float(f"{v:.4g}") for v in (p.mean().item(), p.std(unbiased=False).item())]
                   for k, p in build(name).named_parameters()}
        rows.append(f" {json.dumps(name)}: {json.dumps(moments)}")
    print("{\n" + ",\n".join(rows) + "\n}")


if __name__ == "__main__":
    main()

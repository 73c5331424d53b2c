#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Exchanges files with Python, each way: does everyone compute the same features?

    tests/interop/exchange.py PROGRAM onnx|timm [NAME...]

PROGRAM is build/tests/interop/barlow_exchange. onnx: onnxruntime runs what export_onnx wrote, after onnx's own checker,
within 1e-4 of the largest feature. timm: timm loads our weights, strictly, and we load its state_dict as torch.save
writes it (alone, as plain dictionary, of DataParallel within a checkpoint), within 1e-5. Some networks with random
weights amplify rounding: they may differ by 4 times what float32 differs from float64. One line a name. Needs the
packages of `bash cmake/setup.sh --peers`.
"""
import collections
import pathlib
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file

# Every family of this library, and what sets its members apart.
ONNX = """resnet18 resnet26t resnetaa50 resnetblur18 seresnet18 ecaresnet26t resnext50_32x4d
    resnetv2_18 resnetv2_50x1_bit resnetv2_50d_gn resnetv2_50d_evos resnetv2_50d_frn legacy_seresnet18
    xresnet18 xresnet18_deep fastai:xse_resnext18 fastai:resnet18 fastai:alexnet fastai:vgg11_bn fastai:squeezenet1_1
    fastai:mobilenet_v3_small fastai:efficientnet_b0 fastai:convnext_tiny
    densenet121 vgg11 convnext_atto convnext_zepto_rms convnextv2_atto
    efficientnet_b0 efficientnet_lite0 efficientnetv2_rw_t mixnet_s mnasnet_small mobilenetv2_035 tf_mobilenetv3_small_075
    lcnet_035 fbnetc_100 tinynet_e regnetx_002 regnety_002 regnetz_005 regnetv_040
    vit_tiny_patch16_224 vit_pwee_patch16_reg1_gap_256 vit_medium_patch16_gap_240 vit_xsmall_patch16_clip_224
    deit_tiny_distilled_patch16_224 deit3_small_patch16_224 beit3_base_patch16_224 flexivit_small
    swin_tiny_patch4_window7_224 mixer_s16_224 gmixer_12_224 resmlp_12_224 gmlp_ti16_224""".split()
TIMM = """resnet18 resnet26t seresnet18 resnetv2_50x1_bit densenet121 vgg11 convnext_atto efficientnet_b0
    tf_mobilenetv3_small_075 regnety_002 vit_tiny_patch16_224 swin_tiny_patch4_window7_224 mixer_s16_224""".split()


def ours(*arguments):
    return subprocess.run([PROGRAM, *map(str, arguments)], check=True, stdout=subprocess.PIPE, text=True).stdout


def distance(y, expected):
    return ((y - expected).abs().max() / expected.abs().max()).item()


def by_onnx(folder, name, stem):
    import onnx
    import onnxruntime
    file = folder / f"{stem}.onnx"
    onnx.checker.check_model(file, full_check=True)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    io = load_file(folder / f"{stem}.io.safetensors")
    y = session.run(None, {"images": io["images"].numpy()})[0]
    return {"onnxruntime": distance(torch.from_numpy(y), io["features"])}, 1e-4, distance(io["features"], io["exact"])


@torch.no_grad()
def by_timm(folder, name, stem):
    import timm
    io = load_file(folder / f"{stem}.io.safetensors")
    pool = {} if any(part in name for part in ("vit", "mixer", "convnext")) else {"global_pool": "catavgmax"}
    any_size = {"vit": {"dynamic_img_size": True}, "swin": {"strict_img_size": False}}.get(name.split("_")[0], {})
    model = timm.create_model(name, num_classes=0, **pool, **any_size).eval()
    model.load_state_dict(load_file(folder / f"{stem}.safetensors"), strict=True)
    found = {"timm reads ours": distance(model(io["images"]), io["features"])}

    for p in model.parameters():
        p.mul_(1 + 0.01 * torch.rand_like(p))
    features = model(io["images"]).contiguous()
    save_file({"images": io["images"], "features": features}, folder / f"{stem}.io.safetensors")
    state = model.state_dict()
    parallel = collections.OrderedDict((f"module.backbone.{key}", value) for key, value in state.items())
    for what, saved in {"state_dict": state, "dict": dict(state), "checkpoint": {"epoch": 1, "model": parallel}}.items():
        file = folder / f"{stem}.{what}.pth"
        torch.save(saved, file)
        found[f"we read its {what}"] = float(ours("read", folder, name, file))
    exact = model.double()(io["images"].double())
    return found, 1e-5, distance(features, exact)


def main():
    check = {"onnx": by_onnx, "timm": by_timm}[sys.argv[2]]
    names = sys.argv[3:] or {"onnx": ONNX, "timm": TIMM}[sys.argv[2]]
    failed = []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            ours("write", folder, name)
            found, limit, rounding = check(folder, name, name.replace(":", "_"))
        print(f"{name}: " + ", ".join(f"{what} {value:.1e}" for what, value in found.items()) +
              f" (rounding {rounding:.1e})", flush=True)
        if not all(value < max(limit, 4 * rounding) for value in found.values()):
            failed.append(name)
    sys.exit(f"differ: {' '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    PROGRAM = sys.argv[1]
    main()

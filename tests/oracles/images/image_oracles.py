#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the image files of the reading tests into files/, what Pillow reads in them, and Pillow's resized crops.

    image_oracles.py      (needs Pillow, numpy, scikit-learn for its sample photograph, safetensors)

images.safetensors: decoded/FILE, [H,W] or [H,W,C]; crop/K, the box of photo.jpg that images.json describes, resized;
truth/K, the box of the uncompressed photograph of large.jpg, resized: what a reduced decoding is measured against.
Photograph: flower.jpg by vultilion, CC BY 2.0, from scikit-learn's samples.
"""
import json
import pathlib

import numpy as np
import PIL
from PIL import Image
from safetensors.numpy import save_file
from sklearn.datasets import load_sample_image

here = pathlib.Path(__file__).parent
files = here / "files"
files.mkdir(exist_ok=True)
flower = Image.fromarray(load_sample_image("flower.jpg"))
photo = flower.crop((100, 60, 550, 398)).resize((200, 150), Image.BICUBIC)
medium, small = photo.resize((120, 90), Image.BICUBIC), photo.resize((60, 45), Image.BICUBIC)
tensors, info = {}, {"pillow": PIL.__version__, "crops": [], "truths": []}


def remember(name, image):
    tensors["decoded/" + name] = np.ascontiguousarray(np.asarray(image))


# ---- files; what is read is what Pillow reads, upright

photo.save(files / "photo.jpg", quality=90)
medium.save(files / "photo_444.jpg", quality=90, subsampling=0)
medium.save(files / "photo_422.jpg", quality=90, subsampling=1)
medium.save(files / "photo_progressive.jpg", quality=85, progressive=True)
photo.convert("L").save(files / "photo_gray.jpg", quality=90)
small.convert("CMYK").save(files / "cmyk.jpg", quality=95)
flower.save(files / "large.jpg", quality=90)
for orientation in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo.resize((110, 70), Image.BICUBIC).save(files / f"orientation_{orientation}.jpg", quality=90, exif=exif)
small.save(files / "rgb.png")
small.save(files / "png_named.jpg", format="PNG")
small.convert("P", palette=Image.ADAPTIVE).save(files / "palette.png")
small.convert("RGBA").save(files / "rgba.png")
small.save(files / "rgb.bmp")
small.save(files / "rgb.webp", lossless=True)
small.save(files / "rgb.tif", compression="tiff_lzw")
small.save(files / "animated.webp", save_all=True, append_images=[small.transpose(Image.FLIP_LEFT_RIGHT)], lossless=True)
gray16 = (np.asarray(small.convert("L")).astype(np.uint16) * 257) ^ 0x0055  # every bit matters
Image.fromarray(gray16).save(files / "gray16.png")
Image.fromarray(gray16).save(files / "gray16.tif")
floats = np.asarray(small.convert("L")).astype(np.float32) / 300
Image.fromarray(floats).save(files / "float.tif")

for file in sorted(files.iterdir()):
    image = Image.open(file)
    name = file.name
    if name.startswith("orientation"):
        from PIL import ImageOps
        image = ImageOps.exif_transpose(image)
    if name in ("gray16.png", "gray16.tif"):
        remember(name, gray16.astype(np.int32))
    elif name == "float.tif":
        remember(name, floats)
    elif name == "photo_gray.jpg":
        remember(name, image)
    elif name not in ("animated.webp", "large.jpg"):
        remember(name, image.convert("RGB"))

# ---- crops as torchvision makes them of Pillow's images: crop, then resize

decoded = Image.open(files / "photo.jpg").convert("RGB")
BOXES = [(0, 0, 200, 150, 64, 64), (10, 20, 110, 95, 120, 120), (37, 11, 137, 140, 96, 96), (150, 100, 190, 130, 96, 96),
         (20, 30, 120, 105, 100, 75), (3, 5, 199, 12, 40, 40), (199, 0, 200, 150, 16, 16), (20, 30, 84, 94, 64, 64),
         (60, 0, 61, 1, 8, 8), (0, 0, 199, 149, 33, 47), (5, 9, 60, 149, 90, 17), (5, 9, 105, 109, 90, 79),
         (5, 9, 105, 109, 90, 80)]
for left, top, right, bottom, width, height in BOXES:
    for name, filter in (("bilinear", Image.BILINEAR), ("bicubic", Image.BICUBIC)):
        key = f"crop/{len(info['crops'])}"
        tensors[key] = np.asarray(decoded.crop((left, top, right, bottom)).resize((width, height), filter))
        info["crops"].append({"key": key, "filter": name, "box": [top, left, bottom - top, right - left],
                              "size": [height, width]})

# ---- crops of the photograph before it was compressed

rng = np.random.default_rng(0)
for k in range(12):
    size = int(rng.integers(32, 65))
    width, height = int(rng.integers(2 * 2 * size, 427)), int(rng.integers(2 * 2 * size, 427))
    left, top = int(rng.integers(0, 640 - width)), int(rng.integers(0, 427 - height))
    key = f"truth/{k}"
    tensors[key] = np.asarray(flower.crop((left, top, left + width, top + height)).resize((size, size), Image.BILINEAR))
    info["truths"].append({"key": key, "box": [top, left, height, width], "size": size})

save_file(tensors, here / "images.safetensors")
(here / "images.json").write_text(json.dumps(info, indent=1) + "\n")

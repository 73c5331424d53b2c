#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the JPEG folder that the loading benchmarks use: 400 crops (500x375, quality 90) of scikit-learn's two sample photographs.

usage: make_jpegs.py OUT_DIR      (needs scikit-learn and Pillow)
"""
import pathlib
import sys

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

out = pathlib.Path(sys.argv[1])
rng = np.random.default_rng(0)
photos = load_sample_images().images
for k in range(400):
    photo = Image.fromarray(photos[k % 2])
    width, height = photo.size
    scale = rng.uniform(0.6, 1.0)
    w, h = int(width * scale), int(height * scale)
    x, y = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
    crop = photo.crop((x, y, x + w, y + h)).resize((500, 375), Image.BICUBIC)
    if rng.random() < 0.5:
        crop = crop.transpose(Image.FLIP_LEFT_RIGHT)
    folder = out / ("temple" if k % 2 == 0 else "flower")
    folder.mkdir(parents=True, exist_ok=True)
    crop.save(folder / f"{k:03d}.jpg", quality=90)

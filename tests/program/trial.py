#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tries the program as a new user would: from a folder of images to an exported encoder in use, and each step wrongly.

    tests/program/trial.py build/src/cli/barlow [--inference build/examples/inference] [--keep FOLDER] [--page FILE]

Prints each command and what came out; docs/trial.md is such a page. What the program writes is read by those it is for:
TensorBoard, onnxruntime, a headless browser. Needs the packages of `bash cmake/setup.sh --peers`.
"""
import argparse
import json
import os
import pathlib
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import numpy
from PIL import Image, ImageDraw

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("program", type=pathlib.Path)
parser.add_argument("--inference", type=pathlib.Path)
parser.add_argument("--keep", type=pathlib.Path, help="Folder to work in, and to leave")
parser.add_argument("--page", type=pathlib.Path, help="Markdown file of what is printed")
ARGS = parser.parse_args()
PROGRAM = ARGS.program.resolve()
INFERENCE = ARGS.inference and ARGS.inference.resolve()
PAGE = ARGS.page and ARGS.page.resolve()
SAID = []


def say(*words):
    print(*words, flush=True)
    SAID.append(" ".join(map(str, words)))


def write_page():
    intro = ("# The program, tried as by a new user\n\nWritten by `tests/program/trial.py --page`: 240 small photos of "
             "discs, squares and triangles, two cores, no GPU. First\nthe right way, then each step with something wrong, "
             "then Ctrl-C.\n")
    repository = str(pathlib.Path(__file__).resolve().parents[2])
    PAGE.write_text(f"{intro}\n```\n" + "\n".join(SAID).strip().replace(repository, "barlow") + "\n```\n")


def run(*arguments, status=0, says=(), program=PROGRAM):
    command = [str(program), *map(str, arguments)]
    say("\n$", " ".join(["barlow" if program == PROGRAM else program.name, *command[1:]]))
    start = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    say(done.stdout + f"({time.monotonic() - start:.1f} s, status {done.returncode})")
    assert done.returncode == status, f"status {done.returncode}, expected {status}"
    for text in [says] if isinstance(says, str) else says:
        assert text in done.stdout, f"not said: {text}"
    assert "\x1b" not in done.stdout, "an escape sequence in a pipe"
    return done.stdout


def draw_photos(folder, count=240):
    """Discs, squares and triangles in colour on noise, of sizes that differ."""
    random = numpy.random.default_rng(0)
    for i in range(count):
        kind = ("disc", "square", "triangle")[i % 3]
        width, height = (int(n) for n in random.integers(64, 110, 2))
        image = Image.fromarray(random.integers(90, 160, (height, width, 3), dtype=numpy.uint8))
        x, y = width * random.uniform(0.35, 0.65), height * random.uniform(0.35, 0.65)
        r = min(width, height) * random.uniform(0.2, 0.35)
        colour = tuple(int(c) for c in random.integers(0, 256, 3))
        pen = ImageDraw.Draw(image)
        if kind == "disc":
            pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)
        elif kind == "square":
            pen.rectangle((x - r, y - r, x + r, y + r), fill=colour)
        else:
            pen.polygon(((x, y - r), (x - r, y + r), (x + r, y + r)), fill=colour)
        (folder / kind).mkdir(parents=True, exist_ok=True)
        image.save(folder / kind / f"{i:04}.jpg", quality=90)


def right_way():
    start = time.monotonic()
    run("--help", says=("pretrain", "doctor"))
    run("doctor", says=("LibTorch", "threads", "memory"))
    run("encoders", "resnet1*", "--details", says=("resnet18", "11176512"))
    run("views", "photos", "--out", "look", says="RandomResizedCrop")
    run("pretrain", "photos", "--epochs", 4, "--out", "run", "--tensorboard",
        says=("216 to train on, 24 to validate with", "resnet18", "s a step: about", "k 20", "next:"))
    for name in ("encoder.safetensors", "report.html", "views.png", "log.jsonl", "log.csv", "config.toml"):
        assert (pathlib.Path("run") / name).stat().st_size > 0, name
    run("evaluate", "run/encoder.safetensors", "photos", "--json", "figures.json", says=("pixels", "untrained", "logistic"))
    assert set(json.loads(pathlib.Path("figures.json").read_text())) == {"pixels", "untrained encoder", "encoder"}
    run("embed", "run/encoder.safetensors", "photos", "--out", "features.npy", says="240 images, 512 features")
    run("export", "run/encoder.safetensors", "encoder.onnx", says="opset 17")
    if INFERENCE:
        photos = sorted(map(str, pathlib.Path("photos").glob("*/*.jpg")))[::40]
        run("run/encoder.safetensors", *photos, program=INFERENCE, says="is most like")
    say(f"\nfrom the folder to the exported encoder in use: {time.monotonic() - start:.0f} s")
    assert time.monotonic() - start < 600
    check_onnx()
    run("finetune", "run/encoder.safetensors", "photos", "--labels", 0.5, "--epochs", 1, says="accuracy")
    run("lr-find", "photos", "--batch-size", 16, "--out", "rates", says=("valley", "barlow pretrain photos --lr"))
    run("report", "run", "--out", "page.html", says="page.html")
    check_config()
    check_tensorboard(pathlib.Path("run/tensorboard"))
    look_at_page(pathlib.Path("page.html"))


def check_onnx():
    """onnxruntime's features of the images, prepared by Pillow, are those of `embed`."""
    import onnxruntime
    ours = numpy.load("features.npy")
    session = onnxruntime.InferenceSession("encoder.onnx", providers=["CPUExecutionProvider"])
    meta = session.get_modelmeta().custom_metadata_map
    size = int(meta["size"])
    mean, std = (numpy.array(meta[key].split(), dtype=numpy.float32).reshape(3, 1, 1) for key in ("mean", "std"))
    assert ours.shape == (240, 512)
    assert session.get_inputs()[0].shape[1:] == [3, size, size]
    constant = (numpy.full((2, 3, size, size), 0.5, dtype=numpy.float32) - mean) / std
    assert numpy.isfinite(session.run(None, {"images": constant})[0]).all()


def check_config():
    """A run's configuration gives the same run."""
    run("pretrain", "--config", "run/config.toml", "--out", "again", "--no-report", "--no-tensorboard")
    first, second = (pathlib.Path(folder, "log.jsonl").read_text().splitlines() for folder in ("run", "again"))
    losses = [[json.loads(line).get("loss") for line in lines] for lines in (first, second)]
    assert losses[0] == losses[1]


def check_tensorboard(folder):
    from tensorboard.backend.event_processing import event_accumulator
    accumulator = event_accumulator.EventAccumulator(str(folder), {"scalars": 0, "images": 0}).Reload()
    scalars = accumulator.Tags()["scalars"]
    say("\nTensorBoard reads", scalars, accumulator.Tags()["images"])
    log = [json.loads(line) for line in pathlib.Path("run/log.jsonl").read_text().splitlines()]
    ours = numpy.array([line["loss"] for line in log if "loss" in line], dtype=numpy.float32)
    theirs = numpy.array([event.value for event in accumulator.Scalars("train/loss")], dtype=numpy.float32)
    assert (ours == theirs).all()
    assert {"train/lr", "train/on_diagonal", "epoch/valid_loss", "epoch/knn"} <= set(scalars)
    assert accumulator.Images("views")[0].encoded_image_string.startswith(b"\x89PNG")
    from tensorboard.plugins.projector import projector_config_pb2
    from google.protobuf import text_format
    config = text_format.Parse((folder / "projector_config.pbtxt").read_text(), projector_config_pb2.ProjectorConfig())
    points = numpy.loadtxt(folder / config.embeddings[0].tensor_path)
    labels = (folder / config.embeddings[0].metadata_path).read_text().splitlines()
    assert len(points) == len(labels) > 0


def look_at_page(page):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    assert browser, "no browser; bash cmake/setup.sh --peers installs one"
    shot = pathlib.Path("page.png").resolve()
    subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1000,6000", f"--screenshot={shot}",
         page.resolve().as_uri()], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120)
    pixels = numpy.asarray(Image.open(shot).convert("RGB"))
    drawn = (pixels != pixels[0, 0]).any(axis=2)
    say(f"\nthe page in a browser: {pixels.shape[1]}x{pixels.shape[0]}, {drawn.mean():.0%} of it drawn on")
    assert drawn.mean() > 0.1
    dom = subprocess.run([browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", page.resolve().as_uri()],
                         check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=120).stdout
    assert "Nearest" in dom or "nearest" in dom
    assert not re.search(r'src="(?!data:)', dom)


def wrong_ways():
    """Each step with one thing wrong: the message says what to do."""
    run("pretrian", status=2, says="did you mean 'pretrain'?")
    run("pretrain", "photos", "--epcohs", 3, status=2, says="did you mean '--epochs'?")
    run("pretrain", "photso", status=1, says="'photso' is not there")
    run("pretrain", "photos", "--channels", 5, status=1, says="channels")
    run("pretrain", "photos", "--encoder", "resnet81", "--epochs", 1, "--out", "w1", status=1, says="did you mean 'resnet")
    run("pretrain", "photos", "--out", "run", "--epochs", 4, status=1, says="--resume")
    run("pretrain", "photos", "--out", "/proc/no", "--epochs", 1, status=1, says="/proc/no")
    run("pretrain", "photos", "--batch-size", 100000, "--out", "w2", status=1, says="batch")
    pathlib.Path("flat").mkdir()
    shutil.copy(next(pathlib.Path("photos").glob("*/*.jpg")), "flat/one.jpg")
    run("pretrain", "flat", "--out", "w3", status=1, says="images")
    run("evaluate", "run/report.html", "photos", status=1, says="run/report.html")
    run("evaluate", "run/encoder.safetensors", "flat", status=1, says="--valid-pct")
    run("embed", "run/encoder.safetensors", "photos", "--out", "features.txt", status=1, says=".npy")
    run("export", "nowhere.safetensors", status=1, says="nowhere.safetensors")
    run("export", "run/encoder.safetensors", "/proc/no.onnx", status=1, says="/proc/no.onnx")
    run("finetune", "run/encoder.safetensors", "flat", status=1, says="folder of each class")
    run("report", "photos", status=1, says="config.toml")
    run("encoders", "resnte*", status=2, says="nearest")
    run("views", "photos", "--views", "papre", status=2, says="paper")
    pathlib.Path("full").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", "full"]
    if os.geteuid() == 0 and subprocess.run(mount, stderr=subprocess.DEVNULL).returncode == 0:
        try:
            run("pretrain", "photos", "--epochs", 1, "--out", "full/run", status=1, says=("MB free", "--out"))
        finally:
            subprocess.run(["umount", "full"], check=True)


def started(*arguments):
    """The program on a terminal; what it says up to now is in the list."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(PROGRAM, [str(PROGRAM), *map(str, arguments)])
    return pid, terminal


def read_until(terminal, text, seconds=120):
    said, end = "", time.monotonic() + seconds
    while text not in said and time.monotonic() < end:
        try:
            said += os.read(terminal, 65536).decode(errors="replace")
        except OSError:  # it has ended
            break
    return said


def interrupted():
    """Ctrl-C saves and ends; the run goes on from there. A second one ends at once."""
    arguments = ("pretrain", "photos", "--epochs", 8, "--no-report")
    pid, terminal = started(*arguments, "--out", "stopped")
    said = read_until(terminal, "train 1")
    assert "|" in said and "batch/s" in said, said[-300:]
    os.write(terminal, b"\x03")
    said = read_until(terminal, "--resume")
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    say("\nCtrl-C:", said.strip().splitlines()[-2:], "status", status)
    assert status == 75
    run("pretrain", "--config", "stopped/config.toml", "--resume", says="next:")
    run(*arguments, "--out", "whole")
    losses = [[json.loads(line).get("loss") for line in pathlib.Path(folder, "log.jsonl").read_text().splitlines()]
              for folder in ("stopped", "whole")]
    assert losses[0] == losses[1], "the interrupted run has other losses"

    pid, terminal = started(*arguments, "--out", "twice")
    read_until(terminal, "train 1")
    os.kill(pid, signal.SIGINT)
    time.sleep(0.05)  # two at the same moment are one
    os.kill(pid, signal.SIGINT)
    start = time.monotonic()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    say(f"two Ctrl-C: ended after {time.monotonic() - start:.2f} s, status {status}")
    assert status == -signal.SIGINT


def main():
    folder = ARGS.keep or pathlib.Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    draw_photos(pathlib.Path("photos"))
    right_way()
    wrong_ways()
    interrupted()
    say("\nall went as it should")
    if PAGE:
        write_page()
    if not ARGS.keep:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()

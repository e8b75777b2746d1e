#!/usr/bin/env python3
"""STDO's own table (CVPR 2023, arXiv 2303.08331) at its own size: WDSR of 1.2 M weights, overfitted on a GPU by PyTorch.

    bench/stdo_paper.py train tears_of_steel.webm --general big_buck_bunny.mp4 car.mp4 flower.mp4 -o FOLDER
    bench/stdo_paper.py table FOLDER

The clip is cut to patches that do not overlap, scaled down by the bicubic, and each method trains from random weights: *one*
network on all patches, *timeK* (a network for each K-th of the clip's time, as NAS), *stdoK* (for each K-th of the patches by the
PSNR that a general network leaves them), *jstdo* (one network on the hardest quarter, half of the two in the middle, none of the
easiest: the paper names no shares). Batch 16, Adam, L1, 1e-3 on a cosine to 4e-8, --epochs of what the network is trained on: the
published code's settings. The general network is trained on the other clips: the paper's is of DIV2K.

Needs torch and av. A method that FOLDER has a result of is not run again, so that methods can run side by side (--only). PSNR is
of RGB in 8 bits: over all pixels, and as the published code counts, without 6 pixels along each patch's edge (x2).
"""
import argparse
import json
import math
import pathlib
import sys
import time

import torch
from torch import nn
from torch.nn import functional

BLOCKS, UNITS, WIDER, BATCH, RATE, LAST_RATE = 16, 32, 4, 16, 1e-3, 4e-8


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.wide, self.narrow = convolution(UNITS, WIDER * UNITS, 3), convolution(WIDER * UNITS, UNITS, 3, BLOCKS ** -0.5)

    def forward(self, x):
        return x + self.narrow(functional.relu(self.wide(x)))


def convolution(inputs, outputs, size, scale=1.0):
    layer = nn.Conv2d(inputs, outputs, size, padding=size // 2)
    nn.init.zeros_(layer.bias)
    layer = nn.utils.parametrizations.weight_norm(layer)
    with torch.no_grad():
        layer.parametrizations.weight.original0 *= scale
    return layer


class Wdsr(nn.Module):
    """WDSR-B without its bottleneck (arXiv 1808.08718), as STDO's code has it: 1,187,484 weights at x2, folded."""
    def __init__(self, scale):
        super().__init__()
        channels = 3 * scale ** 2
        self.head, self.tail = convolution(3, UNITS, 3), convolution(UNITS, channels, 3)
        self.body, self.skip = nn.Sequential(*(Block() for _ in range(BLOCKS))), convolution(3, channels, 5)
        self.scale = scale

    def forward(self, x):
        x = x - 0.5
        return functional.pixel_shuffle(self.tail(self.body(self.head(x))) + self.skip(x), self.scale) + 0.5


def weights(network):
    """Folded: what has to be sent."""
    return sum(m.weight.numel() + m.bias.numel() for m in network.modules() if isinstance(m, nn.Conv2d))


def frames_of(path, most):
    import av
    with av.open(str(path)) as source:
        source.streams.video[0].thread_type = "AUTO"
        for number, frame in enumerate(source.decode(video=0)):
            if number == most:
                return
            yield torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)


def patches_of(paths, most, patch, scale, device):
    """uint8: small [n][3][h][w], original [n][3][scale h][scale w], and how many patches a frame has. What is left over at
    the right and below is cut off, as the published code does."""
    small, original, per_frame = [], [], 0
    width, height = patch
    for path in paths:
        for frame in frames_of(path, most):
            rows, columns = frame.shape[1] // (height * scale), frame.shape[2] // (width * scale)
            frame = frame[:, :rows * height * scale, :columns * width * scale].to(device)
            reduced = functional.interpolate(frame[None].float(), scale_factor=1 / scale, mode="bicubic", antialias=True)[0]
            reduced = reduced.round().clamp(0, 255).to(torch.uint8)
            per_frame = rows * columns
            for picture, times, into in ((reduced, 1, small), (frame, scale, original)):
                cut = picture.unfold(1, height * times, height * times).unfold(2, width * times, width * times)
                into.append(cut.permute(1, 2, 0, 3, 4).reshape(per_frame, 3, height * times, width * times))
    if not small:
        sys.exit(f"{', '.join(map(str, paths))}: no frames of at least {width * scale}×{height * scale}")
    return torch.cat(small), torch.cat(original), per_frame


def as_input(patches):
    return patches.to(memory_format=torch.channels_last).float() / 255


def train(small, original, chosen, epochs, scale, device, seed, tell):
    """A network overfitted to the chosen patches, and the seconds it took."""
    torch.manual_seed(seed)
    network = Wdsr(scale).to(device, memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(network.parameters(), RATE, fused=device.type == "cuda")
    batches = max(1, len(chosen) // BATCH)  # the last, smaller one is dropped, as published
    steps, step, began = epochs * batches, 0, time.monotonic()
    for epoch in range(epochs):
        order = chosen[torch.randperm(len(chosen), device=device)]
        for batch in order.split(BATCH)[:batches]:
            for group in optimiser.param_groups:
                group["lr"] = LAST_RATE + (RATE - LAST_RATE) / 2 * (1 + math.cos(math.pi * step / steps))
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                restored = network(as_input(small[batch]))
            loss = functional.l1_loss(restored.float(), as_input(original[batch]))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            step += 1
        tell(f"epoch {epoch + 1} of {epochs}, {step} steps, loss {loss.item():.5f}, {time.monotonic() - began:.0f} s")
    if device.type == "cuda":
        torch.cuda.synchronize()
    return network.eval(), time.monotonic() - began


@torch.no_grad()
def errors_of(network, small, original, scale):
    """Mean squared errors in 8 bits a patch: [2][n], of all pixels and without scale + 4 along the edges."""
    shave, found = scale + 4, []
    for few, wanted in zip(small.split(256), original.split(256)):
        restored = (network(as_input(few)).float() * 255).round().clamp(0, 255)
        squared = (restored - wanted.float()) ** 2
        found.append(torch.stack([squared.mean((1, 2, 3)), squared[..., shave:-shave, shave:-shave].mean((1, 2, 3))]))
    return torch.cat(found, 1)


class Bicubic(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        return functional.interpolate(x, scale_factor=self.scale, mode="bicubic")


def to_psnr(error):
    return 10 * math.log10(255 ** 2 / max(error, 1e-9))


def parts_of(method, scores, device):
    """The patches of each of a method's networks: (trained on, served)."""
    everything = torch.arange(len(scores), device=device)
    by_hardness = scores.argsort()
    if method == "one":
        return [(everything, everything)]
    if method == "jstdo":
        quarters = by_hardness.tensor_split(4)
        some = [q[torch.randperm(len(q), device=device)[:len(q) // 2]] for q in quarters[1:3]]
        return [(torch.cat([quarters[0], *some]), everything)]
    kind, count = method.rstrip("0123456789"), int(method.lstrip("abcdefghijklmnopqrstuvwxyz"))
    if kind not in ("time", "stdo"):
        sys.exit(f"{method}: no such method (one, jstdo, timeK, stdoK)")
    return [(part, part) for part in (everything if kind == "time" else by_hardness).tensor_split(count)]


def scores_of(chosen, folder, small, original, device, tell):
    """PSNR of each patch as the general network leaves it, as the published code counts; the network is trained once."""
    file = folder / "general.pt"
    if not file.exists():
        others, wanted, _ = patches_of(chosen.general, chosen.frames, chosen.patch, chosen.scale, device)
        network, seconds = train(others, wanted, torch.arange(len(others), device=device), chosen.general_epochs, chosen.scale,
                                 device, chosen.seed, lambda line: tell(f"general: {line}"))
        part = file.with_suffix(".part")
        torch.save({"network": network.state_dict(), "seconds": seconds}, part)
        part.rename(file)
    network = Wdsr(chosen.scale).to(device, memory_format=torch.channels_last).eval()
    network.load_state_dict(torch.load(file, map_location=device)["network"])
    return errors_of(network, small, original, chosen.scale)


def run(chosen):
    device = torch.device(chosen.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    folder = chosen.output
    folder.mkdir(parents=True, exist_ok=True)
    torch.backends.cudnn.benchmark = True

    def tell(line):
        print(line, file=sys.stderr, flush=True)

    small, original, per_frame = patches_of([chosen.clip], chosen.frames, chosen.patch, chosen.scale, device)
    tell(f"{len(small)} patches, {per_frame} a frame, on {device}")
    general = scores_of(chosen, folder, small, original, device, tell)
    scores = -general[1]
    about = {"clip": chosen.clip.name, "frames": len(small) // per_frame, "patches": len(small), "scale": chosen.scale,
             "epochs": chosen.epochs, "machine": torch.cuda.get_device_name() if device.type == "cuda" else "CPU"}
    for method in ["bicubic", "general", *chosen.only]:
        file = folder / f"{method}.json"
        if file.exists():
            continue
        torch.manual_seed(chosen.seed)
        errors, seconds, trained, sent = torch.zeros_like(general), 0.0, 0, 0
        if method == "general":
            errors = general
        elif method == "bicubic":
            errors = errors_of(Bicubic(chosen.scale), small, original, chosen.scale)
        else:
            for number, (learnt, served) in enumerate(parts_of(method, scores, device)):
                network, took = train(small, original, learnt, chosen.epochs, chosen.scale, device, chosen.seed,
                                      lambda line, n=number: tell(f"{method}, network {n}: {line}"))
                errors[:, served] = errors_of(network, small[served], original[served], chosen.scale)
                seconds, trained, sent = seconds + took, trained + len(learnt), sent + weights(network)
        whole, shaved = errors.double().mean(1).tolist()
        result = {"method": method, **about, "psnr": to_psnr(whole), "psnr_shaved": to_psnr(shaved), "seconds": seconds,
                  "trained_on": trained, "weights": sent}
        part = file.with_suffix(".part")
        part.write_text(json.dumps(result) + "\n")
        part.rename(file)
        tell(json.dumps(result))


def table(chosen):
    results = {file.stem: json.loads(file.read_text()) for file in sorted(chosen.folder.glob("*.json"))}
    if "one" not in results:
        sys.exit(f"{chosen.folder}: no result of `one` to compare with")
    one = results["one"]
    print("| | weights sent | trained on, patches | trained, s | PSNR, all pixels | above one network | … as published, shaved |\n"
          "|---|---|---|---|---|---|---|")
    order = sorted(results.values(), key=lambda r: ("bicubic", "general", "one").index(r["method"])
                   if r["method"] in ("bicubic", "general", "one") else 3)
    for r in order:
        cells = [r["method"], f"{r['weights']:,}", f"{r['trained_on']:,}", f"{r['seconds']:.0f}", f"{r['psnr']:.2f}",
                 f"{r['psnr'] - one['psnr']:+.2f}", f"{r['psnr_shaved']:.2f} ({r['psnr_shaved'] - one['psnr_shaved']:+.2f})"]
        print("| " + " | ".join(cells).replace("-", "−") + " |")
    print(f"\n{one['clip']}, {one['frames']} frames, {one['patches']:,} patches, x{one['scale']}, {one['epochs']} epochs, "
          f"{one['machine']}.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    training = actions.add_parser("train")
    training.add_argument("clip", type=pathlib.Path)
    training.add_argument("--general", type=pathlib.Path, nargs="+", required=True, help="clips of the general network")
    training.add_argument("-o", "--output", type=pathlib.Path, required=True)
    training.add_argument("--only", nargs="+", default=["one", "time4", "stdo2", "stdo4", "jstdo"])
    training.add_argument("--frames", type=int, default=1080, help="of each clip (1,080: 45 s at 24 a second)")
    training.add_argument("--patch", type=int, nargs=2, default=[50, 40], help="width and height, scaled down")
    training.add_argument("--scale", type=int, default=2)
    training.add_argument("--epochs", type=int, default=50)
    training.add_argument("--general-epochs", type=int, default=10)
    training.add_argument("--seed", type=int, default=1)
    training.add_argument("--device", help="cuda where there is one, else cpu")
    tabling = actions.add_parser("table")
    tabling.add_argument("folder", type=pathlib.Path)
    chosen = parser.parse_args()
    if chosen.action == "train":
        run(chosen)
    else:
        table(chosen)


if __name__ == "__main__":
    main()

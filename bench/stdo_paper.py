#!/usr/bin/env python3
"""STDO's own table (CVPR 2023, arXiv 2303.08331) at its own size: WDSR of 1.2 M weights, overfitted on a GPU by PyTorch.

    bench/stdo_paper.py train tears_of_steel.webm --general big_buck_bunny.mp4 car.mp4 flower.mp4 -o FOLDER
    bench/stdo_paper.py table FOLDER

The clip is cut to patches that do not overlap, scaled down by the bicubic, and each method trains from random weights: *one*
network on all patches, *timeK* (a network for each K-th of the clip's time, as NAS), *stdoK* (for each K-th of the patches by the
PSNR that a general network leaves them), *jstdo* (one network on the hardest quarter, half of the two in the middle, none of the
easiest: the paper names no shares). Batch 16, Adam, L1, 1e-3 on a cosine to 4e-8, --epochs of what the network is trained on: the
published code's settings. The general network is trained on the other clips: the paper's is of DIV2K.

Needs torch (on a GPU also a C compiler) and av. On a GPU all networks are trained side by side; a method that FOLDER has a result of
is not run again. PSNR is of RGB in 8 bits: over all pixels, and as the published code counts, without 6 pixels along each patch's
edge (x2).
"""
import argparse
import concurrent.futures
import contextlib
import json
import math
import pathlib
import sys
import time

import torch
from torch import nn
from torch.nn import functional

BLOCKS, UNITS, WIDER, BATCH, RATE, LAST_RATE = 16, 32, 4, 16, 1e-3, 4e-8
LOSS_SCALE = 2.0 ** 12  # of gradients in 16 bits; Adam takes it out again


class Convolutions(nn.Module):
    """`count` convolutions of one shape with weight normalisation (arXiv 1602.07868): all weights are made in one go, with
    their channels last."""
    def __init__(self, inputs, outputs, size, count=1, scale=1.0):
        super().__init__()
        bound = (inputs * size * size) ** -0.5
        self.direction = nn.Parameter(torch.empty(count, outputs, size, size, inputs).uniform_(-bound, bound))
        self.length = nn.Parameter(scale * lengths(self.direction.detach()))
        self.bias = nn.Parameter(torch.zeros(count, outputs))

    def forward(self, dtype):
        """[(weight, bias)]"""
        weight = self.direction * (self.length / lengths(self.direction))
        return list(zip(weight.to(dtype).permute(0, 1, 4, 2, 3).unbind(), self.bias.to(dtype).unbind()))

    def numbers(self):
        return self.direction.numel() + self.bias.numel()


def lengths(direction):
    return direction.square().sum((2, 3, 4), keepdim=True).sqrt()


def convolve(x, layer):
    weight, bias = layer
    return functional.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


class Wdsr(nn.Module):
    """WDSR-B without its bottleneck (arXiv 1808.08718), as STDO's code has it: 1,187,484 weights at x2, folded."""
    def __init__(self, scale):
        super().__init__()
        channels = 3 * scale ** 2
        self.head, self.tail = Convolutions(3, UNITS, 3), Convolutions(UNITS, channels, 3)
        self.wide = Convolutions(UNITS, WIDER * UNITS, 3, BLOCKS)
        self.narrow = Convolutions(WIDER * UNITS, UNITS, 3, BLOCKS, BLOCKS ** -0.5)
        self.skip = Convolutions(3, channels, 5)
        self.scale = scale

    def forward(self, x, dtype):
        """x: [n][3][h][w], 0 to 1; computed in dtype, but for the last sum."""
        x = (x - 0.5).to(dtype)
        (head,), (tail,), (skip,) = self.head(dtype), self.tail(dtype), self.skip(dtype)
        y = convolve(x, head)
        for wide, narrow in zip(self.wide(dtype), self.narrow(dtype)):
            y = y + convolve(functional.relu(convolve(y, wide)), narrow)
        return functional.pixel_shuffle(convolve(y, tail).float() + convolve(x, skip).float(), self.scale) + 0.5


def weights(network):
    """Folded: what has to be sent."""
    return sum(m.numbers() for m in network.modules() if isinstance(m, Convolutions))


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


class Trainer:
    """Overfits a network of random weights. On a GPU a whole step (patches gathered, forward, L1, backward, Adam) is a CUDA
    graph on a stream of its own: trainers made one after the other can run side by side, a thread each."""
    def __init__(self, small, original, scale, device, seed, priority=0):
        self.small, self.original, self.device = small, original, device
        torch.manual_seed(seed)
        self.network = Wdsr(scale).to(device)
        gpu = device.type == "cuda"
        self.dtype = torch.float16 if gpu else torch.float32
        self.loss_scale = LOSS_SCALE if gpu else 1.0
        self.random = torch.Generator().manual_seed(seed)
        self.batch = torch.zeros(BATCH, dtype=torch.long, device=device)
        self.rate, self.loss = torch.zeros((), device=device), torch.zeros((), device=device)
        self.optimiser = torch.optim.Adam(self.network.parameters(), self.rate, eps=1e-8 * self.loss_scale, fused=gpu,
                                          capturable=gpu)
        self.forward = torch.compile(self.network) if gpu else self.network
        self.advance = self._step
        if gpu:
            self.stream = torch.cuda.Stream(priority=priority)
            self._capture()

    def _step(self):
        restored = self.forward(as_input(self.small[self.batch]), self.dtype)
        loss = functional.l1_loss(restored, as_input(self.original[self.batch]))
        self.optimiser.zero_grad(set_to_none=True)
        (self.loss_scale * loss).backward()
        self.optimiser.step()
        self.loss.copy_(loss.detach())

    def _capture(self):
        """The steps before the capture have the rate 0, and what Adam remembers of them is forgotten."""
        graph = torch.cuda.CUDAGraph()
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.backends.cudnn.flags(enabled=True, benchmark=True), torch.cuda.stream(self.stream):
            for _ in range(3):
                self._step()
        torch.cuda.synchronize()
        with torch.backends.cudnn.flags(enabled=True, benchmark=True), torch.cuda.graph(graph, stream=self.stream):
            self._step()
        for state in self.optimiser.state.values():
            for value in state.values():
                value.zero_()
        torch.cuda.synchronize()
        self.advance = graph.replay

    def train(self, chosen, epochs, tell):
        """On the chosen patches; returns the seconds it took."""
        with torch.cuda.stream(self.stream) if self.device.type == "cuda" else contextlib.nullcontext():
            return self._train(chosen, epochs, tell)

    def _train(self, chosen, epochs, tell):
        batches = len(chosen) // BATCH  # the last, smaller one is dropped, as published
        steps, step, began = epochs * batches, 0, time.monotonic()
        for epoch in range(epochs):
            order = chosen[torch.randperm(len(chosen), generator=self.random)].to(self.device)
            for number in range(batches):
                self.batch.copy_(order[BATCH * number:BATCH * (number + 1)])
                self.rate.fill_(LAST_RATE + (RATE - LAST_RATE) / 2 * (1 + math.cos(math.pi * step / steps)))
                self.advance()
                step += 1
            tell(f"epoch {epoch + 1} of {epochs}, {step} steps, loss {self.loss.item():.5f}, {time.monotonic() - began:.0f} s")
        return time.monotonic() - began


@torch.no_grad()
def errors_of(network, small, original, scale):
    """Mean squared errors in 8 bits a patch: [2][n], of all pixels and without scale + 4 along the edges."""
    shave, found = scale + 4, []
    for few, wanted in zip(small.split(256), original.split(256)):
        restored = (network(as_input(few), torch.float32) * 255).round().clamp(0, 255)
        squared = (restored - wanted.float()) ** 2
        found.append(torch.stack([squared.mean((1, 2, 3)), squared[..., shave:-shave, shave:-shave].mean((1, 2, 3))]))
    return torch.cat(found, 1)


class Bicubic(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, x, dtype):
        return functional.interpolate(x.to(dtype), scale_factor=self.scale, mode="bicubic")


def to_psnr(error):
    return 10 * math.log10(255 ** 2 / max(error, 1e-9))


def parts_of(method, count, scores):
    """The patches of each of a method's networks: (trained on, served). scores: called where the method needs them."""
    if method == "one":
        return [(torch.arange(count), torch.arange(count))]
    if method == "jstdo":
        quarters = scores().argsort().tensor_split(4)
        random = torch.Generator().manual_seed(1)
        some = [q[torch.randperm(len(q), generator=random)[:len(q) // 2]] for q in quarters[1:3]]
        return [(torch.cat([quarters[0], *some]), torch.arange(count))]
    order = torch.arange(count) if method.startswith("time") else scores().argsort()
    return [(part, part) for part in order.tensor_split(networks_of(method))]


def networks_of(method):
    if method in ("general", "one", "jstdo"):
        return 1
    number = method.removeprefix("time").removeprefix("stdo")
    if number == method or not number.isdigit() or int(number) == 0:
        sys.exit(f"{method}: no such method (one, jstdo, timeK, stdoK)")
    return int(number)


class General:
    """The network of the other clips that hardness is judged by: kept in the folder, and trained where it is not there."""
    def __init__(self, chosen, device):
        self.chosen, self.device, self.file = chosen, device, chosen.output / "general.pt"
        if not self.file.exists():
            small, original, _ = patches_of(chosen.general, chosen.frames, chosen.patch, chosen.scale, device)
            self.trainer = Trainer(small, original, chosen.scale, device, chosen.seed)

    def errors(self, small, original):
        if not self.file.exists():
            everything = torch.arange(len(self.trainer.small))
            self.trainer.train(everything, self.chosen.general_epochs, lambda line: tell(f"general: {line}"))
            write(self.file, lambda part: torch.save(self.trainer.network.state_dict(), part))
        network = Wdsr(self.chosen.scale).to(self.device)
        network.load_state_dict(torch.load(self.file, map_location=self.device))
        return errors_of(network, small, original, self.chosen.scale)


def tell(line):
    print(line, file=sys.stderr, flush=True)


def write(file, save):
    part = file.with_suffix(".part")
    save(part)
    part.rename(file)


def run(chosen):
    device = torch.device(chosen.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    chosen.output.mkdir(parents=True, exist_ok=True)
    small, original, per_frame = patches_of([chosen.clip], chosen.frames, chosen.patch, chosen.scale, device)
    tell(f"{len(small)} patches, {per_frame} a frame, on {device}")
    most = max(map(networks_of, chosen.only))
    if len(small) < BATCH * most:
        sys.exit(f"{chosen.clip}: {len(small)} patches: {most} networks need {BATCH * most}")
    about = {"clip": chosen.clip.name, "frames": len(small) // per_frame, "patches": len(small), "scale": chosen.scale,
             "epochs": chosen.epochs, "machine": torch.cuda.get_device_name() if device.type == "cuda" else "CPU"}

    def tell_result(method, errors, seconds, trained, sent):
        whole, shaved = errors.double().mean(1).tolist()
        result = {"method": method, **about, "psnr": to_psnr(whole), "psnr_shaved": to_psnr(shaved), "seconds": seconds,
                  "trained_on": trained, "weights": sent}
        write(chosen.output / f"{method}.json", lambda part: part.write_text(json.dumps(result) + "\n"))
        tell(json.dumps(result))

    tell_result("bicubic", errors_of(Bicubic(chosen.scale), small, original, chosen.scale), 0, 0, 0)
    methods = [method for method in chosen.only if not (chosen.output / f"{method}.json").exists()]
    trainers = {method: [Trainer(small, original, chosen.scale, device, chosen.seed, -1 if method == "one" else 0)
                         for _ in range(networks_of(method))]
                for method in methods}  # what takes longest goes first
    general = General(chosen, device)
    # A GPU trains all networks at a time: one alone does not fill it.
    with concurrent.futures.ThreadPoolExecutor(100 if device.type == "cuda" else 1) as pool:
        general_errors = pool.submit(general.errors, small, original)

        def train(method, number):
            learnt, served = parts_of(method, len(small), lambda: -general_errors.result()[1].cpu())[number]
            trainer = trainers[method][number]
            seconds = trainer.train(learnt, chosen.epochs, lambda line: tell(f"{method}, network {number}: {line}"))
            served = served.to(device)
            return served, errors_of(trainer.network, small[served], original[served], chosen.scale), seconds, len(learnt)

        jobs = {method: [pool.submit(train, method, number) for number in range(networks_of(method))] for method in methods}
        tell_result("general", general_errors.result(), 0, 0, 0)
        for method in methods:
            errors, seconds, trained, sent = torch.zeros_like(general_errors.result()), 0.0, 0, 0
            for job, trainer in zip(jobs[method], trainers[method]):
                served, found, took, learnt = job.result()
                errors[:, served] = found
                seconds, trained, sent = seconds + took, trained + learnt, sent + weights(trainer.network)
            tell_result(method, errors, seconds, trained, sent)


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

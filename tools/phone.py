#!/usr/bin/env python3
"""Puts cairn and a model on a phone, measures there, and prints the phone's row for docs/arm64.md.

  cmake --preset aarch64-static && cmake --build --preset aarch64-static
  tools/phone.py MODEL.gguf                      over adb: USB debugging allowed on the phone
  tools/phone.py MODEL.gguf --ssh HOST[:PORT]    over ssh: a Raspberry Pi, a laptop; Termux (pkg install openssh; sshd): PORT 8022

Both files are compared with what lies there by their sha256, so that a second run copies nothing. They stay; --clean
removes them at the end.
"""
import argparse
import hashlib
import json
import pathlib
import shlex
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
ROOM = 64 << 20  # bytes that stay free on the phone
HEAD = ("| machine | system | model | processor, threads, instruction set | prefill tok/s | of the int8 peak | decode tok/s | of the "
        "bandwidth | first token | memory |\n|---|---|---|---|---|---|---|---|---|---|")


def fail(text):
    sys.exit(f"phone.py: {text}")


def last_line(text):
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else "no reason given"


class Adb:
    folder = "/data/local/tmp/cairn"

    def __init__(self, serial):
        if not shutil.which("adb"):
            fail("no adb here (Debian: apt install adb); --ssh HOST goes without")
        listed = self.local(["adb", "devices"], "adb devices").splitlines()[1:]
        states = dict(line.split("\t")[:2] for line in listed if "\t" in line)
        if not states:
            fail("no phone: allow USB debugging in its developer options, plug it in, and see `adb devices`")
        if serial is None and len(states) > 1:
            fail(f"{len(states)} phones are here: --serial chooses one of {', '.join(sorted(states))}")
        self.serial = serial or next(iter(states))
        if self.serial not in states:
            fail(f"no phone {self.serial}: here is {', '.join(sorted(states))}")
        if states[self.serial] != "device":
            fail(f"phone {self.serial} is {states[self.serial]}: unlock it and allow this machine")

    @staticmethod
    def local(command, what):
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            fail(f"{what}: {last_line(run.stderr or run.stdout)}")
        return run.stdout

    def run(self, script, what):
        return self.local(["adb", "-s", self.serial, "shell", script], what)

    def copy(self, source, to):
        self.local(["adb", "-s", self.serial, "push", str(source), to], f"copying {source} to the phone")

    def names(self):
        get = lambda name: self.run(f"getprop {name}", "asking the phone for its name").strip()
        return f"{get('ro.product.manufacturer')} {get('ro.product.model')}", f"Android {get('ro.build.version.release')}"


class Ssh(Adb):
    folder = ".cache/cairn-phone"

    def __init__(self, host):  # pylint: disable=super-init-not-called
        if not shutil.which("ssh") or not shutil.which("scp"):
            fail("no ssh and scp here (Debian: apt install openssh-client)")
        self.host, _, port = host.partition(":")
        if port and not port.isdigit():
            fail(f"--ssh {host}: {port} is no port")
        self.ssh = ["ssh", *(["-p", port] if port else []), self.host]
        self.scp = ["scp", "-q", *(["-P", port] if port else [])]

    def run(self, script, what):
        return self.local([*self.ssh, script], what)

    def copy(self, source, to):
        self.local([*self.scp, str(source), f"{self.host}:{to}"], f"copying {source} to {self.host}")

    def names(self):
        android = ("echo $(getprop ro.product.manufacturer) $(getprop ro.product.model); "
                   "echo Android $(getprop ro.build.version.release)")
        linux = ("cat /proc/device-tree/model 2>/dev/null || cat /sys/class/dmi/id/product_name 2>/dev/null || uname -n; echo; "
                 "uname -sr")
        script = f"if command -v getprop >/dev/null; then {android}; else {linux}; fi"
        lines = [line.strip() for line in self.run(script, "asking for its name").replace("\0", "").split("\n") if line.strip()]
        return lines[0], lines[-1]


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def put(phone, files):
    """Copies what is not there yet; files: {name there: path here}."""
    folder = phone.folder
    phone.run(f"mkdir -p {folder}", f"making {folder} on the phone")
    there = phone.run(f"cd {folder} && sha256sum {' '.join(files)} 2>/dev/null; true", "looking at the phone's files")
    have = dict(reversed(line.split(maxsplit=1)) for line in there.splitlines() if len(line.split()) == 2)
    wanted = {name: sha256(path) for name, path in files.items()}
    missing = [name for name in files if have.get(name) != wanted[name]]
    bytes_missing = sum(files[name].stat().st_size for name in missing)
    if missing:
        free = phone.run(f"df -k {folder} | tail -n 1", "asking for the phone's free storage").split()
        if len(free) < 4 or not free[3].isdigit():
            fail(f"cannot read the phone's free storage from: {' '.join(free)}")
        if int(free[3]) * 1024 < bytes_missing + ROOM:
            fail(f"the phone has {int(free[3]) >> 10} MiB of storage left in {folder}; {bytes_missing + ROOM >> 20} MiB are needed")
    for name in missing:
        print(f"copying {name}, {files[name].stat().st_size >> 20} MiB", file=sys.stderr)
        phone.copy(files[name], f"{folder}/{name}.part")
        arrived = phone.run(f"cd {folder} && sha256sum {name}.part", "reading what was copied").split()
        if not arrived or arrived[0] != wanted[name]:
            fail(f"{name} is not on the phone what it is here: a bad cable or a full disk; run this again")
        phone.run(f"cd {folder} && mv {name}.part {name}", f"naming {name}")


def row(names, model, r):
    share = lambda x: f"{100 * x:.0f} %"
    return (f"| {names[0]} | {names[1]} | {model} | {r['processor']}, {r['threads']}, {r['instruction_set']} | {r['prefill_tok_s']:.1f} "
            f"| {share(r['prefill_of_peak'])} | {r['decode_tok_s']:.1f} | {share(r['decode_of_bandwidth'])} | {r['first_token_s']:.2f} s "
            f"| {r['rss_mib']:.0f} MiB |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "build/aarch64-static/cairn-static")
    parser.add_argument("--serial", help="which phone, as `adb devices` names it")
    parser.add_argument("--ssh", metavar="HOST[:PORT]", help="by ssh instead of adb")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generate", type=int, default=48)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, help="the big cores, if not given")
    parser.add_argument("--clean", action="store_true", help="remove the files at the end")
    options = parser.parse_args()
    for path, how in ((options.model, "a GGUF file"), (options.program, "cmake --build --preset aarch64-static makes it")):
        if not path.is_file():
            fail(f"no {path}: {how}")
    phone = Ssh(options.ssh) if options.ssh else Adb(options.serial)
    put(phone, {"cairn": options.program, "model.gguf": options.model})
    bench = ["./cairn", "bench", "model.gguf", "--json", "--prompt", options.prompt, "--generate", options.generate, "--repeat",
             options.repeat, *(["--threads", options.threads] if options.threads else [])]
    # Android has no home for the shell's user; what cairn keeps there goes beside it.
    said = phone.run(f"cd {phone.folder} && chmod 755 cairn && HOME=$PWD {shlex.join(map(str, bench))}", "the benchmark")
    try:
        result = json.loads(said)
        line = row(phone.names(), options.model.stem, result)
    except (ValueError, KeyError):
        fail(f"the benchmark said no figures: {last_line(said)}")
    print(HEAD)
    print(line)
    if options.clean:
        phone.run(f"rm -rf {phone.folder}", "cleaning up")


if __name__ == "__main__":
    main()

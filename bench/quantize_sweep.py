#!/usr/bin/env python3
"""What each quantisation of the linear inputs costs, as a Markdown table.

    bench/quantize_sweep.py --perplexity wiki.test.raw --lambada lambada_test.jsonl --folder sweep
        [--cairn build/release/cairn] [--models smollm2-135m gemma3-270m] [--limit 40] [--kl-limit 40]
        [--only REGEX] [--jobs 8] [--threads 2]

Calibrates each model on the later half of LAMBADA's passages (for the LAMBADA column: on the perplexity text),
then runs `cairn eval` for every configuration: perplexity on all windows (--limit: the first so many), KL
divergence and top-1 agreement on the first --kl-limit windows, LAMBADA on all passages (--limit likewise;
without --lambada there is no such column, and --calibration-text says what to calibrate on). Everything lies in
--folder, so that what was done is not done again: the same command goes on after an interrupt. --jobs processes
run at a time with --threads threads each; the seconds are those of the perplexity run, so compare them with
--jobs 1 only.
"""
import argparse
import concurrent.futures
import json
import pathlib
import re
import subprocess
import sys


def configurations():
    """name → arguments of `cairn eval`; the first is what the others are measured against."""
    rows = {"float": ["--precision", "f32"], "cairn's own (groups of 32)": []}

    def add(name, *arguments):
        rows[name] = ["--quantize", *arguments]

    add("naive: static, weights by tensor", "naive")
    add("static max, weights by row", "naive", "--weights", "row")
    add("SmoothQuant 0.5, static", "smoothquant")
    add("mixed (LLM.int8())", "mixed")
    add("token", "token")
    add("token, first token in float", "token", "--float-tokens", "1")
    add("static max, first token in float", "naive", "--weights", "row", "--float-tokens", "1")
    add("rotation, static", "rotation", "--static")
    add("rotation, static, first token in float", "rotation", "--static", "--float-tokens", "1")
    add("rotation, scale a token", "rotation")
    add("rotation, scale a token, first token in float", "rotation", "--float-tokens", "1")
    for threshold in ["99", "99.7", "99.9", "99.99"]:
        add(f"shadow {threshold}", "shadow", "--threshold", threshold)
    add("shadow 99, rotated", "shadow", "--rotate")
    add("shadow 99, first token in float", "shadow", "--float-tokens", "1")
    for threshold in ["99", "99.9"]:
        for pruned in ["clamp", "range"]:
            for percent in [50, 70, 85, 100]:
                add(f"shadow {threshold}, prune {percent} % ({pruned})", "shadow", "--threshold", threshold,
                    "--prune", str(percent / 100), "--pruned", pruned)
    add("shadow 99, prune 85 % (rotation)", "shadow", "--prune", "0.85", "--pruned", "rotation")
    add("shadow 99, prune 85 % (float)", "shadow", "--prune", "0.85", "--pruned", "float")
    add("auto", "auto")
    return rows


def run(command, path):
    """The command's JSON, kept in `path`."""
    if not path.exists():
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            print(f"failed: {' '.join(command)}", file=sys.stderr)
            return None
        path.write_text(done.stdout)
    return json.loads(path.read_text())


def calibrations(options, folder):
    """(model, purpose) → sidecar: 'text' serves the perplexity, 'lambada' the LAMBADA column."""
    passages = folder / "calibration.txt"
    if options.calibration_text:
        passages = pathlib.Path(options.calibration_text)
    elif options.lambada:
        lines = [json.loads(line)["text"] for line in open(options.lambada)]
        passages.write_text("\n\n".join(lines[len(lines) // 2:]))
    else:
        sys.exit("quantize_sweep.py: nothing to calibrate on: give --lambada or --calibration-text")
    sidecars, commands = {}, []
    for model in options.models:
        for purpose, text in [("text", passages), ("lambada", options.perplexity)]:
            if purpose == "lambada" and not options.lambada:
                continue
            path = folder / f"{pathlib.Path(model).stem}.{purpose}.cal"
            sidecars[model, purpose] = path
            if not path.exists():
                commands.append([options.cairn, "calibrate", model, "--text", str(text), "-o", str(path), "--force", "--html",
                                 f"{path}.html", "--threads", str(options.threads)])
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for done in pool.map(lambda c: subprocess.run(c, stdout=subprocess.DEVNULL), commands):
            if done.returncode != 0:
                sys.exit("quantize_sweep.py: calibration failed")
    return sidecars


def measure(options, folder, sidecars, rows):
    """(model, name, measurement) → report or None."""
    jobs = {}
    for model in options.models:
        for name, arguments in rows.items():
            slug = re.sub(r"\W+", "-", f"{pathlib.Path(model).stem}-{name}").strip("-")
            base = [options.cairn, "eval", model, "--json", "--threads", str(options.threads), *arguments]

            def with_sidecar(purpose, *more):
                sidecar = ["--calibration", str(sidecars[model, purpose])] if "--quantize" in arguments else []
                return [*base, *sidecar, *more]

            limit = ["--limit", str(options.limit)]
            jobs[model, name, "perplexity"] = (
                with_sidecar("text", "--perplexity", options.perplexity, *limit),
                folder / f"{slug}.{options.limit}.json")
            if name != "float" and options.kl_limit > 0:
                jobs[model, name, "kl"] = (
                    with_sidecar("text", "--perplexity", options.perplexity, "--against-f32", "--limit",
                                 str(options.kl_limit)), folder / f"{slug}.kl{options.kl_limit}.json")
            if options.lambada:
                jobs[model, name, "lambada"] = (with_sidecar("lambada", "--lambada", options.lambada, *limit),
                                                folder / f"{slug}.lambada{options.limit}.json")
    results = {}
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        futures = {pool.submit(run, *job): key for key, job in jobs.items()}
        for done, future in enumerate(concurrent.futures.as_completed(futures), 1):
            results[futures[future]] = future.result()
            print(f"\r{done} of {len(futures)} runs", end="", file=sys.stderr)
    print(file=sys.stderr)
    return results


def table(options, model, rows, results):
    def get(name, measurement, field):
        report = results.get((model, name, measurement))
        return report.get(field) if report else None

    def cell(value, form):
        return "" if value is None else form.format(value)

    first = next(iter(rows))
    print(f"\n### {model}\n")
    print("| configuration | perplexity | Δ | second half Δ | KL | top-1 | LAMBADA Δ points | shadow inputs | s |")
    print("|---|---|---|---|---|---|---|---|---|")
    base = {f: get(first, "perplexity", f) for f in ["perplexity", "perplexity_second_half"]}
    base_accuracy = get(first, "lambada", "accuracy")
    for name in rows:
        cells = []
        ppl, half = (get(name, "perplexity", f) for f in base)
        cells.append(cell(ppl, "{:.3f}"))
        cells.append("" if not ppl or name == first else f"{100 * (ppl / base['perplexity'] - 1):+.2f} %")
        cells.append("" if not half or name == first else
                     f"{100 * (half / base['perplexity_second_half'] - 1):+.2f} %")
        cells.append(cell(get(name, "kl", "mean_kl"), "{:.4f}"))
        top1 = get(name, "kl", "top1")
        cells.append("" if top1 is None else f"{100 * top1:.1f} %")
        accuracy = get(name, "lambada", "accuracy")
        if accuracy is None:
            cells.append("")
        else:
            cells.append(f"{100 * accuracy:.2f} %" if name == first else f"{100 * (accuracy - base_accuracy):+.2f}")
        share = get(name, "perplexity", "shadow_inputs")
        cells.append("" if share is None else f"{100 * share:.0f} %")
        cells.append(cell(get(name, "perplexity", "seconds"), "{:.0f}"))
        print(f"| {name} | " + " | ".join(cells) + " |")
    scheme = get("auto", "perplexity", "scheme")
    if scheme:
        print(f"\n`auto` chose: {scheme}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cairn", default="build/release/cairn")
    parser.add_argument("--models", nargs="+", default=["smollm2-135m", "gemma3-270m"])
    parser.add_argument("--perplexity", required=True, help="text, WikiText-2's test for example")
    parser.add_argument("--lambada", default="", help="JSON lines with \"text\"")
    parser.add_argument("--calibration-text", default="", help="in place of LAMBADA's later half")
    parser.add_argument("--folder", required=True, help="sidecars and results; kept")
    parser.add_argument("--limit", type=int, default=0, help="windows and passages; 0 is all")
    parser.add_argument("--kl-limit", type=int, default=40, help="windows for KL and top-1; 0: none")
    parser.add_argument("--only", default="", help="only configurations whose name matches this (and float)")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--threads", type=int, default=2, help="of each process")
    options = parser.parse_args()
    folder = pathlib.Path(options.folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = {name: arguments for name, arguments in configurations().items()
            if name == "float" or re.search(options.only, name)}
    results = measure(options, folder, calibrations(options, folder), rows)
    for model in options.models:
        table(options, model, rows, results)


if __name__ == "__main__":
    main()

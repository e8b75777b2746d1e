"""cairn's lists of jobs on a Ray cluster: a task a job, begun again where a worker is lost, results joined.

    python cairn_farm.py encode film.mkv -o small.mkv --mode x2 --crf 30
    python cairn_farm.py stack model.gguf --text some.txt -o model.stack.gguf --shares 8

What follows the command is `cairn video encode`'s, `cairn stack`'s or `cairn calibrate`'s own. The result has the same bytes as without a
cluster (`cairn video encode --jobs 1`, `cairn stack --shares 8` on one machine), if the workers' processors have one
instruction set. All nodes see the same files under the same names and have `cairn` ($CAIRN names another).
"""
import argparse
import ctypes
import json
import os
import signal
import subprocess
import sys

import ray


def run(words):
    """A command of cairn's that ends with whoever asked for it; its last words are the error."""
    def end_with_parent():
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG

    done = subprocess.run([os.environ.get("CAIRN", "cairn"), *words], capture_output=True, text=True,
                          preexec_fn=end_with_parent)
    if done.returncode:
        raise RuntimeError((done.stderr.strip() or f"status {done.returncode}").splitlines()[-1])
    return done.stdout.strip()


def on_cluster(jobs, threads):
    """Runs commands as tasks. A lost worker's is begun again; one that fails ends all, in its own words."""
    task = ray.remote(num_cpus=threads, max_retries=5)(run)
    waiting = {task.remote([*words, "--threads", str(threads)]): words for words in jobs}
    while waiting:
        done, _ = ray.wait(list(waiting), num_returns=1)
        try:
            print(ray.get(done[0]), flush=True)
        except ray.exceptions.RayTaskError as error:
            sys.exit(f"cairn_farm: {' '.join(waiting[done[0]])}: {error.cause}")
        except ray.exceptions.RayError as error:
            sys.exit(f"cairn_farm: {' '.join(waiting[done[0]])}: {str(error).splitlines()[0]}")
        del waiting[done[0]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["encode", "stack", "calibrate"])
    parser.add_argument("input")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--shares", type=int, default=8, help="stack, calibrate: tasks, a share of the text's windows each")
    parser.add_argument("--task-threads", type=int, default=1, help="of a task")
    parser.add_argument("--address", help="of the cluster (usual: $RAY_ADDRESS, or one on this machine)")
    args, more = parser.parse_known_args()
    args.input, args.output = (os.path.abspath(p) if os.path.exists(p) or p == args.output else p
                               for p in (args.input, args.output))
    ray.init(address=args.address, log_to_driver=False, runtime_env={"env_vars": {
        "CAIRN": os.environ.get("CAIRN", "cairn")}})
    try:
        if args.command == "encode":
            jobs = args.output + ".jobs"
            run(["video", "encode", args.input, "-o", args.output, "--job-list", jobs, *more])  # or goes on
            with open(jobs, encoding="utf-8") as file:
                count = len(json.load(file)["parts"])
            on_cluster([["video", "work", jobs, str(i)] for i in range(count)], args.task_threads)
            print(run(["video", "join", jobs]))
        else:
            whole = [args.command, args.input, "-o", args.output, "--shares", str(args.shares), *more]
            on_cluster([[*whole, "--share", str(i)] for i in range(args.shares)], args.task_threads)
            print(run(whole))
    except RuntimeError as error:
        sys.exit(f"cairn_farm: {error}")
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()

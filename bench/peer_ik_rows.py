#!/usr/bin/env python3
"""What a step of several tokens costs ik_llama.cpp, as PyPI has it (an AVX2 build): bench_rows of the peer.

    pip install ik-llama-cpp-python==0.1.5
    bench/peer_ik_rows.py MODEL [--threads N] [--turns N] [--repack]

Steps of 1, 2, 4 and 8 tokens take turns behind a prompt of 64, all their logits asked for; medians. --repack interleaves
the weights when they are loaded. Flash attention is on.
"""
import argparse
import statistics

import ik_llama_cpp._ctypes_api as ik

import peer_ik

PROMPT, ROWS = 64, [1, 2, 4, 8]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--repack", action="store_true")
    options = parser.parse_args()

    ik.llama_backend_init()
    of_model = ik.llama_model_default_params()
    of_model.use_mmap, of_model.repack_tensors = not options.repack, options.repack
    model = ik.llama_model_load_from_file(options.model.encode(), of_model)
    if not model:
        raise SystemExit(f"{options.model}: ik_llama.cpp cannot load it")
    of_context = ik.llama_context_default_params()
    of_context.n_ctx, of_context.n_batch, of_context.n_ubatch = 256, PROMPT, PROMPT
    of_context.n_threads = of_context.n_threads_batch = options.threads
    of_context.flash_attn = True
    context = ik.llama_init_from_model(model, of_context)
    vocabulary = ik.llama_vocab_n_tokens(ik.llama_model_get_vocab(model))
    tokens = [(i * 7919 + 13) % vocabulary for i in range(PROMPT)]

    times = {rows: [] for rows in ROWS}
    for _ in range(options.turns):
        for rows in ROWS:
            ik.llama_kv_cache_clear(context)
            peer_ik.read(context, tokens, 0)
            times[rows].append(peer_ik.read(context, tokens[:rows], PROMPT, all_logits=True))
    one = statistics.median(times[1])
    for rows in ROWS:
        print(f"{rows} rows {1e3 * statistics.median(times[rows]):8.2f} ms {statistics.median(times[rows]) / one:6.2f}x")


if __name__ == "__main__":
    main()

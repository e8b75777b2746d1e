#!/usr/bin/env python3
"""ik_llama.cpp, as PyPI has it (an AVX2 build), as a peer for `cairn bench --against`, figures.py and busy.py.

    pip install ik-llama-cpp-python==0.1.5
    bench/peer_ik.py MODEL --prompt N --generate N --threads N --repeat N [--repack]

Prints {"prefill_tok_s": …, "decode_tok_s": …}, the best of its runs after one to warm up. --repack interleaves the
weights when they are loaded. Flash attention is on. A build for this processor: peer_llama_bench.py.
"""
import argparse
import json
import time

import ik_llama_cpp._ctypes_api as ik


def read(context, tokens, position, all_logits=False):
    """Reads the tokens, which begin at `position`, and waits for logits: the last one's, or all. Returns seconds."""
    batch = ik.llama_batch_init(len(tokens), 0, 1)
    batch.n_tokens = len(tokens)
    for i, token in enumerate(tokens):
        batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, position + i, 1
        batch.seq_id[i][0], batch.logits[i] = 0, all_logits or i + 1 == len(tokens)
    start = time.perf_counter()
    if ik.llama_decode(context, batch) != 0:
        raise SystemExit("llama_decode failed")
    ik.llama_get_logits_ith(context, len(tokens) - 1)
    seconds = time.perf_counter() - start
    ik.llama_batch_free(batch)
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    for name in ["prompt", "generate", "threads", "repeat"]:
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--repack", action="store_true")
    options = parser.parse_args()

    ik.llama_backend_init()
    of_model = ik.llama_model_default_params()
    of_model.use_mmap, of_model.repack_tensors = not options.repack, options.repack
    model = ik.llama_model_load_from_file(options.model.encode(), of_model)
    if not model:
        raise SystemExit(f"{options.model}: ik_llama.cpp cannot load it")
    of_context = ik.llama_context_default_params()
    of_context.n_ctx = options.prompt + options.generate + 64
    of_context.n_batch = of_context.n_ubatch = max(options.prompt, 32)
    of_context.n_threads = of_context.n_threads_batch = options.threads
    of_context.flash_attn = True
    context = ik.llama_init_from_model(model, of_context)
    vocabulary = ik.llama_vocab_n_tokens(ik.llama_model_get_vocab(model))
    tokens = [100 + i * 7919 % (vocabulary - 200) for i in range(max(options.prompt, options.generate))]

    rates = {"prefill_tok_s": 0.0, "decode_tok_s": 0.0}
    for turn in range(options.repeat + 1):
        ik.llama_kv_cache_clear(context)
        prefill = read(context, tokens[: options.prompt], 0) if options.prompt else 0
        decode = sum(read(context, [tokens[i]], options.prompt + i) for i in range(options.generate))
        if turn == 0:
            continue
        if prefill:
            rates["prefill_tok_s"] = max(rates["prefill_tok_s"], options.prompt / prefill)
        if decode:
            rates["decode_tok_s"] = max(rates["decode_tok_s"], options.generate / decode)
    print(json.dumps(rates))


if __name__ == "__main__":
    main()

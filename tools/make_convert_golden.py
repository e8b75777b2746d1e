#!/usr/bin/env python3
"""Makes tests/data/convert: tiny random checkpoints of each family, and what llama.cpp's converter writes of them.

    tools/make_convert_golden.py --llama-cpp FOLDER

FOLDER holds llama.cpp's convert_hf_to_gguf.py with conversion/ and gguf-py/ (the sources of PyPI's
llama-cpp-python 0.3.36 have them in vendor/llama.cpp). Needs what that asks for: torch, transformers 4.57.6,
sentencepiece, protobuf, safetensors, pyyaml.

Each case is a folder with a checkpoint, and expected.json beside it: {"type": what --outtype was, "metadata": {key:
[sha256 of the value's bytes, the value for readers]}, "tensors": [[name, GGUF type, shape, sha256]]}.

The converter finds a pre-tokenizer's name by a hash that only the published tokenizers have; for those trained here
it is told the name (`pre`) that it gives to the family's own.
"""
import argparse
import hashlib
import json
import logging
import pathlib
import shutil
import sys
import tempfile

from convert_cases import cases

# With what they have of parameters, in thousands; what is wrong about some is what files are called.
NAMES = """Qwen/Qwen2.5-0.5B-Instruct 494000|meta-llama/Llama-3.2-1B-Instruct 1236000|google/gemma-3-270m-it 268000
HuggingFaceTB/SmolLM2-135M-Instruct 135000|HuggingFaceTB/SmolLM3-3B 3075000|microsoft/Phi-3-mini-128k-instruct 3821000
microsoft/phi-2 2780000|microsoft/Phi-4-mini-instruct 3836000|mistralai/Mistral-7B-Instruct-v0.3 7248000
mistralai/Mistral-Small-3.1-24B-Instruct-2503 24011000|mistralai/Ministral-3-3B-Instruct-2512 3849000
allenai/OLMo-2-0425-1B 1485000|allenai/Olmo-3-7B-Think 7298000|zai-org/GLM-4-9B-0414 9400000
LGAI-EXAONE/EXAONE-4.0-1.2B 1279000|ibm-granite/granite-3.3-2b-instruct 2534000|TinyLlama/TinyLlama-1.1B-Chat-v1.0 1100000
deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B 1777000|bigscience/bloom-7b1 7069000|google/gemma-2b 2506000
NousResearch/Yarn-Llama-2-7b-128k 6738000|model 1000|my model of 7B 7000000|./checkpoint-500 494000|a--b-v2-F16 1000
v1.0-7B 7000000|Mixtral-8x7B-Instruct-v0.1 46703000|llama-iter2-small-1B 1000000|llama-small 60000|x-q4_k-large-large 9""".replace("\n", "|").split("|")


def write_names(gguf, path):
    rows = []
    for line in NAMES:
        name, thousands = line.rsplit(" ", 1)
        parts = gguf.Metadata.get_model_id_components(name, int(thousands) * 1000)
        rows.append([name, int(thousands) * 1000, *parts, gguf.Metadata.id_to_title(parts[0]),
                     gguf.size_label(int(thousands) * 1000, 0, 0, 0)])
    path.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


def listing(gguf, path, outtype):
    reader = gguf.GGUFReader(path)
    metadata = {}
    for key, field in reader.fields.items():
        if key.startswith("GGUF."):
            continue
        raw = b"".join(part.tobytes() for part in field.parts[2:])
        shown = field.contents()
        short = shown if not isinstance(shown, (list, str)) or len(shown) <= 40 else f"{len(shown)} long"
        metadata[key] = [hashlib.sha256(raw).hexdigest(), short]
    tensors = [[t.name, int(t.tensor_type), [int(n) for n in t.shape], hashlib.sha256(t.data.tobytes()).hexdigest()]
               for t in reader.tensors]
    return {"type": outtype, "metadata": metadata, "tensors": tensors}


def embedding(folder):
    """What transformers make of a text: its tokens, and the states pooled as the checkpoint says, of length 1."""
    import torch
    import transformers

    text = "The cairn stands where 2 paths meet; whoever passes lays a stone on it."
    ids = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))(text)["input_ids"]
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        states = model(torch.tensor([ids])).last_hidden_state[0].double()
    how = json.loads((folder / "1_Pooling" / "config.json").read_text())
    vector = (states[0] if how.get("pooling_mode_cls_token") else states[-1] if how.get("pooling_mode_lasttoken") else states.mean(0))
    return {"text": text, "tokens": len(ids), "embedding": (vector / vector.norm()).tolist()}


def main():
    default = pathlib.Path(__file__).parent.parent / "tests" / "data" / "convert"
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--llama-cpp", type=pathlib.Path, required=True, metavar="FOLDER")
    parser.add_argument("-o", "--output", type=pathlib.Path, default=default, metavar="FOLDER")
    parser.add_argument("names", nargs="*", help="which cases; all without")
    options = parser.parse_args()
    sys.path[:0] = [str(options.llama_cpp), str(options.llama_cpp / "gguf-py")]
    import conversion
    import gguf
    import convert_hf_to_gguf

    logging.disable(logging.WARNING)
    write_names(gguf, options.output.parent / "convert_names.json")
    for name, make, pre, outtype in cases():
        if options.names and name not in options.names:
            continue
        folder = options.output / name / name
        shutil.rmtree(options.output / name, ignore_errors=True)
        folder.mkdir(parents=True)
        make(folder)
        conversion.TextModel.get_vocab_base_pre = lambda self, tokenizer: pre
        with tempfile.TemporaryDirectory() as work:
            out = pathlib.Path(work) / "out.gguf"
            sys.argv = ["convert", str(folder), "--outfile", str(out), "--outtype", outtype]
            convert_hf_to_gguf.main()
            expected = listing(gguf, out, outtype)
        lines = json.dumps(expected, ensure_ascii=False).replace('], "', '],\n "').replace("], [\"", "],\n [\"")
        (folder.parent / "expected.json").write_text(lines + "\n")
        if (folder / "modules.json").exists():
            (folder.parent / "embedding.json").write_text(json.dumps(embedding(folder)) + "\n")
        print(f"{name}: {len(expected['metadata'])} keys, {len(expected['tensors'])} tensors")


if __name__ == "__main__":
    main()

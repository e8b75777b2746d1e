#!/usr/bin/env python3
"""A GGUF model's dequantised weights through transformers (float32, CPU), against cairn.

  compare_real_model.py golden MODEL.gguf TEXT OUT.golden.gguf
      Makes what the tests keep of a run over one window of 2,048 tokens (BOS first where the model asks for it):
        metadata golden.tokens           the window
        tensor best, best_logprob        [2048] the most probable next token and its log-probability
        tensor next_logprob              [2047] the true next token's log-probability
        tensor top, top_logprob          [512, 8] the 8 best tokens at every 4th position (3, 7, 11, ...)
  compare_real_model.py compare MODEL.gguf LOGITS
      LOGITS is what `cairn eval MODEL --perplexity TEXT --context 2048 --limit 1 --logits LOGITS` wrote.
      Prints the mean KL divergence and the agreement of the most probable token.

Needs torch, transformers, gguf, numpy. Families: llama, qwen2, gemma3.
"""
import sys

import gguf
import numpy as np
import torch
import transformers as tf

WINDOW = 2048
SLICE = 64  # positions whose logits are held at a time


class Model:
    """GGUF metadata and dequantised tensors as a transformers model; logits come in slices of positions."""

    def __init__(self, path):
        reader = gguf.GGUFReader(path)
        self.path = path
        self.meta = {key: field.contents() for key, field in reader.fields.items()}
        self.arch = self.meta["general.architecture"]
        tensors = {t.name: t for t in reader.tensors}
        self.tied = "output.weight" not in tensors  # else two quantisations of one matrix may differ
        model = {"llama": self.llama, "qwen2": self.qwen2, "gemma3": self.gemma3}[self.arch]()
        state = model.state_dict()
        for name in state:
            tensor = tensors.get(self.gguf_name(name)) or tensors["token_embd.weight"]
            weight = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
            weight = weight.reshape(tuple(state[name].shape))
            state[name].copy_(torch.from_numpy(self.as_transformers(name, weight)))
        self.model = model.eval()

    def key(self, name, *otherwise):
        key = f"{self.arch}.{name}"
        return self.meta.get(key, otherwise[0]) if otherwise else self.meta[key]

    def common(self):
        return dict(
            vocab_size=len(self.meta["tokenizer.ggml.tokens"]), hidden_size=self.key("embedding_length"),
            intermediate_size=self.key("feed_forward_length"), num_hidden_layers=self.key("block_count"),
            num_attention_heads=self.key("attention.head_count"),
            num_key_value_heads=self.key("attention.head_count_kv"),
            max_position_embeddings=self.key("context_length"),
            rms_norm_eps=self.key("attention.layer_norm_rms_epsilon"), tie_word_embeddings=self.tied,
            dtype=torch.float32, attn_implementation="eager")

    def llama(self):
        rope = {"rope_type": "default", "rope_theta": self.key("rope.freq_base")}
        return tf.LlamaForCausalLM(tf.LlamaConfig(**self.common(), rope_parameters=rope))

    def qwen2(self):
        rope = {"rope_type": "default", "rope_theta": self.key("rope.freq_base")}
        return tf.Qwen2ForCausalLM(tf.Qwen2Config(**self.common(), rope_parameters=rope))

    def gemma3(self):
        head = self.key("attention.key_length")
        local = {"rope_type": "default", "rope_theta": 10000.0}
        full = {"rope_type": "default", "rope_theta": self.key("rope.freq_base")}
        return tf.Gemma3ForCausalLM(tf.Gemma3TextConfig(
            **self.common(), head_dim=head, query_pre_attn_scalar=head,
            sliding_window=self.key("attention.sliding_window"),
            rope_parameters={"full_attention": full, "sliding_attention": local}))

    def gguf_name(self, name):
        parts = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
                 "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
                 "self_attn.k_norm": "attn_k_norm", "input_layernorm": "attn_norm", "mlp.gate_proj": "ffn_gate",
                 "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
        parts |= {"post_attention_layernorm": "ffn_norm"} if self.arch != "gemma3" else {
            "post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
            "post_feedforward_layernorm": "post_ffw_norm"}
        top = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
        stem, kind = name.rsplit(".", 1)
        if stem in top:
            return f"{top[stem]}.{kind}"
        layer, part = stem.removeprefix("model.layers.").split(".", 1)
        return f"blk.{layer}.{parts[part]}.{kind}"

    def as_transformers(self, name, weight):
        if self.arch == "gemma3" and name.endswith("norm.weight"):
            return weight - 1
        if self.arch == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            # llama.cpp keeps RoPE's pairs side by side; transformers wants two halves.
            heads = self.key("attention.head_count" if "q_proj" in name else "attention.head_count_kv")
            rows = weight.shape[0] // heads
            return np.ascontiguousarray(
                weight.reshape(heads, rows // 2, 2, -1).swapaxes(1, 2).reshape(weight.shape))
        return weight

    def window(self, text):
        tokenizer = tf.AutoTokenizer.from_pretrained(
            self.path.rsplit("/", 1)[0] or ".", gguf_file=self.path.rsplit("/", 1)[-1])
        tokens = tokenizer(text[:WINDOW * 20], add_special_tokens=False)["input_ids"]
        if self.meta.get("tokenizer.ggml.add_bos_token"):
            tokens = [self.meta["tokenizer.ggml.bos_token_id"]] + tokens
        return tokens[:WINDOW]

    def logprobs(self, tokens):
        """Yields (first position, log-probabilities [SLICE, vocabulary] in float64)."""
        with torch.no_grad():
            hidden = self.model.model(torch.tensor([tokens])).last_hidden_state[0]
            for begin in range(0, len(tokens), SLICE):
                logits = self.model.lm_head(hidden[begin:begin + SLICE])
                yield begin, torch.log_softmax(logits.double(), -1)


def make_golden(model_path, text_path, out):
    model = Model(model_path)
    tokens = model.window(open(text_path, encoding="utf-8").read())
    assert len(tokens) == WINDOW
    best, best_logprob, next_logprob, top, top_logprob = [], [], [], [], []
    for begin, logprobs in model.logprobs(tokens):
        values, ids = logprobs.max(-1)
        best += ids.tolist()
        best_logprob += values.tolist()
        following = tokens[begin + 1:begin + SLICE + 1]
        next_logprob += [logprobs[i, token].item() for i, token in enumerate(following)]
        values, ids = logprobs[3::4].topk(8)
        top += ids.tolist()
        top_logprob += values.tolist()
    writer = gguf.GGUFWriter(out, "golden")
    writer.add_array("golden.tokens", tokens)
    for name, values in dict(best=best, best_logprob=best_logprob, next_logprob=next_logprob, top=top,
                             top_logprob=top_logprob).items():
        writer.add_tensor(name, np.array(values, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{model_path}: perplexity of the window {np.exp(-np.mean(next_logprob)):.4f}")


def compare(model_path, logits_path):
    with open(logits_path, "rb") as file:
        assert file.read(8) == b"cairnlog"
        vocabulary, count, _ = np.fromfile(file, np.uint32, 3)
        tokens = np.fromfile(file, np.int32, count).tolist()
        offset = file.tell()
    ours = np.memmap(logits_path, np.float32, "r", offset, (int(count), int(vocabulary)))
    divergence, agree, loss, our_loss = 0.0, 0, 0.0, 0.0
    for begin, reference in Model(model_path).logprobs(tokens):
        mine = torch.log_softmax(torch.from_numpy(np.array(ours[begin:begin + SLICE])).double(), -1)
        divergence += (reference.exp() * (reference - mine)).sum().item()
        agree += (reference.argmax(-1) == mine.argmax(-1)).sum().item()
        for i, token in enumerate(tokens[begin + 1:begin + SLICE + 1]):
            loss -= reference[i, token].item()
            our_loss -= mine[i, token].item()
    print(f"mean KL {divergence / count:.3e}, top-1 {100 * agree / count:.2f} %, perplexity "
          f"{np.exp(our_loss / (count - 1)):.4f} against {np.exp(loss / (count - 1)):.4f}")


def main():
    torch.set_num_threads(2)
    if len(sys.argv) == 5 and sys.argv[1] == "golden":
        make_golden(*sys.argv[2:])
    elif len(sys.argv) == 4 and sys.argv[1] == "compare":
        compare(*sys.argv[2:])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()

"""Models that make embeddings, for make_golden_logits.py: beside NAME.gguf, NAME.golden.gguf holds golden.tokens, and the
tensors "states" [tokens, width], what the pooling takes, and "embedding" [width], pooled and of length 1."""
import gguf
import numpy as np
import torch
import transformers as tf

TOKENS = 40
NAMES = {
    "embeddings.word_embeddings": "token_embd", "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types", "embeddings.LayerNorm": "token_embd_norm",
    "attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output", "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up", "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm",
}
FLOATS = ("position_embd.weight", "token_types.weight")  # which stay so


def bert_name(name):
    stem, kind = name.rsplit(".", 1)
    if stem.startswith("encoder.layer."):
        layer, part = stem.removeprefix("encoder.layer.").split(".", 1)
        return f"blk.{layer}.{NAMES[part]}.{kind}"
    return f"{NAMES[stem]}.{kind}"


def randomise(model, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = torch.randn(parameter.shape, generator=generator)
            if name.endswith("bias"):
                values *= 0.3
            elif "LayerNorm" in name:
                values = values * 0.2 + 1
            elif name.startswith("embeddings"):
                values *= 0.5
            else:
                values *= 1.5 / parameter.shape[1] ** 0.5
            parameter.copy_(values.half().float())


def add_word_pieces(writer, size):
    """Letters at the beginning of words and within them, signs, some words."""
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    types = [3] * len(tokens)
    tokens += ["\u2581" + t for t in letters + list(".,!?'-()") + [str(i) for i in range(10)]] + letters
    tokens += ["\u2581" + t for t in ("the", "cairn", "stone", "stones", "path")] + ["ing", "ed", "er", "s2"]
    tokens += [f"\u2581[unused{i}]" for i in range(size - len(tokens))]
    types += [1] * (size - len(types))
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("bert-bge")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_type_count(2)
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(3)
    writer.add_unk_token_id(1)
    writer.add_sep_token_id(3)
    writer.add_pad_token_id(0)
    writer.add_mask_token_id(4)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)
    writer.add_bool("tokenizer.ggml.normalizer.lowercase", True)


def pooled(states, pooling):
    vector = {gguf.PoolingType.MEAN: states.mean(0), gguf.PoolingType.CLS: states[0], gguf.PoolingType.LAST: states[-1]}[pooling]
    return vector / np.linalg.norm(vector)


def write_golden(folder, name, tokens, states, pooling, finish):
    writer = gguf.GGUFWriter(folder / f"{name}.golden.gguf", "golden")
    writer.add_array("golden.tokens", tokens.tolist())
    writer.add_tensor("states", np.ascontiguousarray(states, np.float32))
    writer.add_tensor("embedding", np.ascontiguousarray(pooled(states, pooling), np.float32))
    finish(writer)
    print(f"{name}: states {states.min():.2f} to {states.max():.2f}, deviation {states.std():.2f}")


def bert(folder, name, seed, pooling, finish, **config):
    model = tf.BertModel(tf.BertConfig(
        vocab_size=128, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=64, attn_implementation="eager", **config), add_pooling_layer=False).eval()
    randomise(model, seed)
    generator = torch.Generator().manual_seed(seed + 1000)
    tokens = torch.randint(5, 128, (TOKENS,), generator=generator)
    with torch.no_grad():
        states = model(tokens[None]).last_hidden_state[0].numpy()
    writer = gguf.GGUFWriter(folder / f"{name}.gguf", "bert")
    writer.add_block_count(model.config.num_hidden_layers)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_layer_norm_eps(model.config.layer_norm_eps)
    writer.add_causal_attention(False)
    writer.add_pooling_type(pooling)
    add_word_pieces(writer, 128)
    for source, parameter in model.named_parameters():
        target, values = bert_name(source), parameter.detach().numpy()
        half = values.ndim == 2 and target not in FLOATS
        writer.add_tensor(target, np.ascontiguousarray(values, np.float16 if half else np.float32))
    finish(writer)
    write_golden(folder, name, tokens, states, pooling, finish)


def models(folder, wanted, finish):
    if wanted("bert"):
        bert(folder, "bert", 40, gguf.PoolingType.MEAN, finish)
    if wanted("bert_first"):
        bert(folder, "bert_first", 41, gguf.PoolingType.CLS, finish, layer_norm_eps=1e-5)

"""What families with a recurrent state have that others lack, for make_golden_logits.py."""
import numpy as np
import torch
import transformers as tf

ARCHITECTURES = ("lfm2", "qwen35", "qwen35moe")
NAMES = {
    "model.embedding_norm": "token_embd_norm",  # llama.cpp's name of lfm2's output norm
    "operator_norm": "attn_norm", "ffn_norm": "ffn_norm",
    "self_attn.out_proj": "attn_output", "self_attn.q_layernorm": "attn_q_norm", "self_attn.k_layernorm": "attn_k_norm",
    "conv.conv": "shortconv.conv", "conv.in_proj": "shortconv.in_proj", "conv.out_proj": "shortconv.out_proj",
    "feed_forward.w1": "ffn_gate", "feed_forward.w2": "ffn_down", "feed_forward.w3": "ffn_up",
    "linear_attn.in_proj_qkv": "attn_qkv", "linear_attn.in_proj_z": "attn_gate",
    "linear_attn.in_proj_a": "ssm_alpha", "linear_attn.in_proj_b": "ssm_beta",
    "linear_attn.conv1d": "ssm_conv1d", "linear_attn.norm": "ssm_norm", "linear_attn.out_proj": "ssm_out",
    "mlp.shared_expert.gate_proj": "ffn_gate_shexp", "mlp.shared_expert.up_proj": "ffn_up_shexp",
    "mlp.shared_expert.down_proj": "ffn_down_shexp", "mlp.shared_expert_gate": "ffn_gate_inp_shexp",
    "eh_proj": "nextn.eh_proj", "enorm": "nextn.enorm", "hnorm": "nextn.hnorm",
    "shared_head_norm": "nextn.shared_head_norm",
}
NORMS = {"post_attention_layernorm": "post_attention_norm"}


def random_values(model, name, values, spread):
    """Those of a parameter that the usual rules do not fit; None for others."""
    qwen = type(model).__name__.startswith("Qwen3_5")
    if name.endswith("A_log"):  # decays of 0.6 to 0.97 a token: states remember
        return values * 0.7 - 2
    if name.endswith("dt_bias"):
        return values * 0.5
    if name.endswith(("conv.conv.weight", "conv1d.weight")):
        return values * spread / values.shape[-1] ** 0.5
    if qwen and name.endswith("norm.weight"):  # they store weight - 1 but for the delta net's
        return values * 0.2 + (1 if name.endswith("linear_attn.norm.weight") else 0)
    return None


def tiled(values, config, size, axis=0):
    """Value heads from groups of one key head each to turns of all key heads, as llama.cpp's converter has them."""
    keys = config.linear_num_key_heads
    shape = list(values.shape)
    grouped = values.reshape(shape[:axis] + [keys, config.linear_num_value_heads // keys, size] + shape[axis + 1:])
    return grouped.swapaxes(axis, axis + 1).reshape(shape)


def converted(config, name, values):
    """A parameter as llama.cpp's converter stores it, and its name there without the layer where that is another."""
    if name.endswith(("conv.conv.weight", "conv1d.weight")):
        values = values.squeeze(1)
    if config.model_type == "lfm2":
        return values, None
    if name.endswith("norm.weight") and not name.endswith("linear_attn.norm.weight"):
        return values + 1, None
    size = config.linear_value_head_dim
    keys = 2 * config.linear_num_key_heads * config.linear_key_head_dim
    if name.endswith(("in_proj_qkv.weight", "conv1d.weight")):
        return np.concatenate([values[:keys], tiled(values[keys:], config, size)]), None
    if name.endswith("in_proj_z.weight"):
        return tiled(values, config, size), None
    if name.endswith(("in_proj_a.weight", "in_proj_b.weight")):
        return tiled(values, config, 1), None
    if name.endswith("linear_attn.out_proj.weight"):
        return tiled(values, config, size, 1), None
    if name.endswith("A_log"):
        return tiled(-np.exp(values), config, 1), "ssm_a"
    if name.endswith("dt_bias"):
        return tiled(values, config, 1), "ssm_dt.bias"
    return values, None


def add_metadata(writer, config, architecture):
    if architecture == "lfm2":
        writer.add_vocab_size(config.vocab_size)
        writer.add_shortconv_l_cache(config.conv_L_cache)
        return
    writer.add_ssm_conv_kernel(config.linear_conv_kernel_dim)
    writer.add_ssm_state_size(config.linear_key_head_dim)
    writer.add_ssm_group_count(config.linear_num_key_heads)
    writer.add_ssm_time_step_rank(config.linear_num_value_heads)
    writer.add_ssm_inner_size(config.linear_value_head_dim * config.linear_num_value_heads)
    writer.add_full_attention_interval(config.layer_types.index("full_attention") + 1)
    if len(config.layer_types) > config.num_hidden_layers:
        writer.add_nextn_predict_layers(1)
    writer.add_rope_dimension_sections([11, 11, 10, 0])
    writer.add_rope_dimension_count(int(config.head_dim * config.rope_parameters["partial_rotary_factor"]))


def with_draft(model, own_norm=True):
    """Makes the last layer one that predicts the token behind the next one, as checkpoints' "mtp.*" have it and
    llama.cpp runs it: of a token's embedding and what the head multiplies for the token before it. transformers has
    no code for it but its layer's."""
    config, layer = model.config, model.model.layers[-1]
    norm = type(layer.input_layernorm)
    layer.enorm, layer.hnorm = (norm(config.hidden_size, eps=config.rms_norm_eps) for _ in range(2))
    if own_norm:
        layer.shared_head_norm = norm(config.hidden_size, eps=config.rms_norm_eps)
    layer.eh_proj = torch.nn.Linear(2 * config.hidden_size, config.hidden_size, bias=False)
    config.num_hidden_layers -= 1  # which the model's own forward() goes by
    return model


def draft_logits(model, tokens):
    """What that layer says of all tokens behind the first, and, chained once, of the greedy guess behind each: two
    arrays [tokens - 1, vocabulary]; None where there is no such layer."""
    layer = model.model.layers[-1]
    if not hasattr(layer, "eh_proj"):
        return None
    norm = getattr(layer, "shared_head_norm", model.model.norm)
    hidden = model.model(tokens).last_hidden_state

    def run(ids, before):
        x = layer.eh_proj(torch.cat([layer.enorm(model.model.embed_tokens(ids)), layer.hnorm(before)], -1))
        count = ids.shape[1]
        positions = model.model.rotary_emb(x, torch.arange(count).view(1, 1, -1).expand(3, 1, -1))
        mask = torch.full((count, count), float("-inf")).triu(1)[None, None]
        x = layer(x, position_embeddings=positions, attention_mask=mask)
        return norm(x[0] if isinstance(x, tuple) else x)

    first = run(tokens[:, 1:], hidden[:, :-1])
    guesses = model.lm_head(first).argmax(-1)
    second = []
    for end in range(1, tokens.shape[1]):  # a guess behind each beginning of the text
        ids = torch.cat([tokens[:, 1:end + 1], guesses[:, end - 1:end]], 1)
        second.append(run(ids, torch.cat([hidden[:, :end], first[:, end - 1:end]], 1))[:, -1:])
    return [model.lm_head(x)[0].numpy() for x in (first, torch.cat(second, 1))]


def kv_heads(config):
    """For each layer where some have no attention, as lfm2's converter writes it."""
    if config.model_type != "lfm2":
        return config.num_key_value_heads
    return [0 if kind == "conv" else config.num_key_value_heads for kind in config.layer_types]


def models(folder, write, small):
    """Calls write with each; small: a configuration's arguments."""
    plain = {"rope_type": "default", "rope_theta": 10000.0}
    conv, full = "conv", "full_attention"
    write(folder, "lfm2", "lfm2", lambda: tf.Lfm2ForCausalLM(tf.Lfm2Config(**small(
        num_hidden_layers=3, layer_types=[conv, conv, full], block_auto_adjust_ff_dim=False, tie_word_embeddings=True,
        rope_parameters=plain))), seed=40)
    # Attention first, a longer convolution, a head of its own.
    write(folder, "lfm2_wide", "lfm2", lambda: tf.Lfm2ForCausalLM(tf.Lfm2Config(**small(
        num_hidden_layers=3, layer_types=[full, conv, conv], block_auto_adjust_ff_dim=False, conv_L_cache=5,
        tie_word_embeddings=False, rope_parameters=plain))), seed=41)
    rope = plain | {"partial_rotary_factor": 0.25}
    delta = dict(head_dim=16, linear_key_head_dim=16, linear_value_head_dim=16, linear_num_key_heads=2,
                 linear_num_value_heads=4, rope_parameters=rope)
    write(folder, "qwen35", "qwen35", lambda: tf.Qwen3_5ForCausalLM(tf.Qwen3_5TextConfig(**small(
        num_hidden_layers=4, tie_word_embeddings=True, **delta))), seed=42, spread=1.0)
    # As many value heads as key heads, whose size is no multiple of a vector's.
    write(folder, "qwen35_equal", "qwen35", lambda: tf.Qwen3_5ForCausalLM(tf.Qwen3_5TextConfig(**small(
        num_hidden_layers=2, full_attention_interval=2, tie_word_embeddings=False, linear_conv_kernel_dim=3,
        **delta | dict(linear_num_value_heads=2, linear_key_head_dim=24, linear_value_head_dim=24)))), seed=43)
    # With a layer that drafts.
    write(folder, "qwen35_draft", "qwen35", lambda: with_draft(tf.Qwen3_5ForCausalLM(tf.Qwen3_5TextConfig(**small(
        num_hidden_layers=3, layer_types=["linear_attention", "full_attention", "full_attention"],
        tie_word_embeddings=True, **delta)))), seed=45)
    write(folder, "qwen35moe", "qwen35moe", lambda: with_draft(tf.Qwen3_5MoeForCausalLM(tf.Qwen3_5MoeTextConfig(**small(
        num_hidden_layers=3, layer_types=["linear_attention", "full_attention", "full_attention"], moe_intermediate_size=32, shared_expert_intermediate_size=64,
        num_experts=8, num_experts_per_tok=3, tie_word_embeddings=False, **delta))),
        own_norm=False), seed=44, spread=1.0)

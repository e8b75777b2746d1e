"""Multi-head latent attention (DeepSeek V2, V3, GLM-4.7-Flash) for make_golden_logits.py: names, values and metadata as
llama.cpp's converter has them."""
import gguf
import numpy as np
import torch
import transformers as tf

import golden_mixtures

TOKENS = 40
NAMES = {
    "embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.q_a_proj": "attn_q_a", "self_attn.q_a_layernorm": "attn_q_a_norm",
    "self_attn.q_b_proj": "attn_q_b", "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa",
    "self_attn.kv_a_layernorm": "attn_kv_a_norm", "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "mlp.gate": "ffn_gate_inp",
    "mlp.shared_experts.gate_proj": "ffn_gate_shexp", "mlp.shared_experts.up_proj": "ffn_up_shexp",
    "mlp.shared_experts.down_proj": "ffn_down_shexp",
}


def randomise(model, seed, spread):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in [*model.named_parameters(), *model.named_buffers()]:
            values = torch.randn(parameter.shape, generator=generator)
            if name.endswith("e_score_correction_bias"):
                values *= 0.2
            elif name.endswith("norm.weight"):
                values = values * 0.2 + 1
            elif "embed_tokens" in name:
                values *= 0.5
            elif parameter.dim() == 3:
                values = golden_mixtures.alike(values, generator) * spread / parameter.shape[2] ** 0.5
            elif parameter.dim() == 2:
                values *= spread / parameter.shape[1] ** 0.5
            else:
                continue  # tables
            parameter.copy_(values.half().float())


def tensors(model):
    config, out = model.config, {}
    named = dict(model.named_parameters()) | {n: b for n, b in model.named_buffers() if n.endswith("correction_bias")}
    for name, parameter in named.items():
        name, values = name.removeprefix("model.").removesuffix(".weight"), parameter.detach().numpy()
        if not name.startswith("layers."):
            out[NAMES[name] + ".weight"] = values
            continue
        layer, part = name.removeprefix("layers.").split(".", 1)
        blk = f"blk.{layer}."
        if part == "self_attn.kv_b_proj":
            heads = values.reshape(config.num_attention_heads, -1, config.kv_lora_rank)
            keys, head_values = np.split(heads, [config.qk_nope_head_dim], axis=1)
            out[blk + "attn_k_b.weight"] = keys.swapaxes(1, 2)
            out[blk + "attn_v_b.weight"] = head_values
        elif part == "mlp.experts.gate_up_proj":
            out[blk + "ffn_gate_exps.weight"], out[blk + "ffn_up_exps.weight"] = np.split(values, 2, axis=1)
        elif part == "mlp.experts.down_proj":
            out[blk + "ffn_down_exps.weight"] = values
        elif part == "mlp.gate.e_score_correction_bias":
            out[blk + "exp_probs_b.bias"] = values
        else:
            out[blk + NAMES[part] + ".weight"] = values
    return out


def add_metadata(writer, config, dense, gating):
    rope = config.rope_parameters
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(1)
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_dimension_count(config.qk_rope_head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if config.q_lora_rank:
        writer.add_q_lora_rank(config.q_lora_rank)
    writer.add_kv_lora_rank(config.kv_lora_rank)
    writer.add_key_length(config.kv_lora_rank + config.qk_rope_head_dim)
    writer.add_value_length(config.kv_lora_rank)
    writer.add_key_length_mla(config.qk_nope_head_dim + config.qk_rope_head_dim)
    writer.add_value_length_mla(config.v_head_dim)
    writer.add_leading_dense_block_count(dense)
    if dense < config.num_hidden_layers:
        writer.add_expert_count(config.n_routed_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
        writer.add_expert_feed_forward_length(config.moe_intermediate_size)
        writer.add_expert_shared_count(config.n_shared_experts)
        writer.add_expert_weights_scale(config.routed_scaling_factor)
        if config.norm_topk_prob:
            writer.add_expert_weights_norm(True)
        if config.n_group:
            writer.add_expert_group_count(config.n_group)
            writer.add_expert_group_used_count(config.topk_group)
        if gating is not None:
            writer.add_expert_gating_func(gating)
    if rope["rope_type"] == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        if rope.get("mscale_all_dim"):
            writer.add_rope_scaling_yarn_log_mul(0.1 * rope["mscale_all_dim"])


def write(folder, name, model, seed, positions, finish, dense, gating=None, spread=1.0):
    randomise(model, seed, spread)
    model.eval()
    tokens = torch.randint(3, 128, (1, TOKENS), generator=torch.Generator().manual_seed(seed + 1000))
    with torch.no_grad():
        logits = model(tokens).logits[0].numpy()
    writer = gguf.GGUFWriter(folder / f"{name}.gguf", "deepseek2")
    add_metadata(writer, model.config, dense, gating)
    for target, values in tensors(model).items():
        matrix = values.ndim >= 2 and "ffn_gate_inp" not in target
        writer.add_tensor(target, np.ascontiguousarray(values, np.float16 if matrix else np.float32))
    finish(writer)
    writer = gguf.GGUFWriter(folder / f"{name}.golden.gguf", "golden")
    writer.add_array("golden.tokens", tokens[0].tolist())
    writer.add_array("golden.positions", positions)
    writer.add_tensor("logits", np.ascontiguousarray(logits[positions], np.float32))
    finish(writer)
    print(f"{name}: logits {logits.min():.2f} to {logits.max():.2f}, deviation {logits.std():.2f}")


def models(folder, wanted, positions, finish, small):
    plain = {"rope_type": "default", "rope_theta": 10000.0}
    yarn = {"rope_type": "yarn", "rope_theta": 1000.0, "factor": 4.0, "original_max_position_embeddings": 24,
            "beta_fast": 32.0, "beta_slow": 1.0}
    attention = dict(num_key_value_heads=4, kv_lora_rank=32, qk_nope_head_dim=32, qk_rope_head_dim=16, v_head_dim=32,
                     q_lora_rank=None, tie_word_embeddings=False, rope_parameters=plain)
    experts = dict(n_routed_experts=8, num_experts_per_tok=3, moe_intermediate_size=32, n_shared_experts=2,
                   first_k_dense_replace=1)

    def v2(name, seed, dense, gating=gguf.ExpertGatingFuncType.SOFTMAX, **changes):
        if wanted(name):
            model = tf.DeepseekV2ForCausalLM(tf.DeepseekV2Config(**small(**attention | experts | changes)))
            write(folder, name, model, seed, positions, finish, dense, gating)

    # As V2 Lite: queries as they are; YaRN whose factor is in the scores.
    v2("deepseek2_lite", 60, 1, gating=None, rope_parameters=yarn | {"mscale": 0.707, "mscale_all_dim": 0.707})
    # As V2: queries compressed; experts of the best groups.
    v2("deepseek2", 61, 1, q_lora_rank=64, n_group=4, topk_group=2, topk_method="group_limited_greedy",
       routed_scaling_factor=2.0, num_experts_per_tok=2, n_shared_experts=1)
    # No experts; no width is a multiple of 32, and YaRN says nothing about scores.
    v2("deepseek2_dense", 62, 2, gating=None, first_k_dense_replace=2, q_lora_rank=40, kv_lora_rank=40, qk_nope_head_dim=24,
       qk_rope_head_dim=8, v_head_dim=20, rope_parameters=yarn)
    # As V3 and R1: sigmoid, a bias of the choice, normalised weights.
    if wanted("deepseek3"):
        model = tf.DeepseekV3ForCausalLM(tf.DeepseekV3Config(**small(**attention | experts | dict(
            q_lora_rank=64, n_group=4, topk_group=2, num_experts_per_tok=3, routed_scaling_factor=1.5, norm_topk_prob=True,
            num_mtp_layers=0, n_shared_experts=1, rope_parameters=yarn | {"mscale": 1.0, "mscale_all_dim": 1.0}))))
        write(folder, "deepseek3", model, 66, positions, finish, 1, gguf.ExpertGatingFuncType.SIGMOID)
    # As GLM-4.7-Flash: no groups, heads of several sizes; the file does not say that it is a sigmoid.
    if wanted("glm4_moe_lite"):
        model = tf.Glm4MoeLiteForCausalLM(tf.Glm4MoeLiteConfig(**small(**attention | dict(
            q_lora_rank=32, qk_nope_head_dim=48, v_head_dim=64, n_routed_experts=6, num_experts_per_tok=2, pad_token_id=0,
            moe_intermediate_size=48, n_shared_experts=1, routed_scaling_factor=1.2, norm_topk_prob=True))))
        write(folder, "glm4_moe_lite", model, 64, positions, finish, 1)

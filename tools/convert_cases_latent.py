"""The checkpoints with multi-head latent attention in tests/data/convert; convert_cases.py has the others."""
import torch
import transformers as tf
from convert_cases import KEPT, LLAMA3, bpe, checkpoint, edit, fp8, small, steps
from make_tokenizer_golden import CASED, CJK, SPLITS

KEPT |= set("""kv_lora_rank q_lora_rank qk_nope_head_dim qk_rope_head_dim v_head_dim n_routed_experts n_shared_experts
num_experts_per_tok moe_intermediate_size first_k_dense_replace routed_scaling_factor n_group topk_group topk_method norm_topk_prob
scoring_func moe_layer_freq num_nextn_predict_layers rope_interleave""".split())
LLM = [r"[\r\n]", rf"\s?[{CASED}]+", SPLITS["deepseek-llm"][2], r"\s+$", CJK, "digits"]
TOKENS = ["<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<\uff5cend\u2581of\u2581sentence\uff5c>"]


def published(model):
    """A model's state as published checkpoints have it: experts one by one."""
    state = {}
    for name, value in model.state_dict().items():
        if name.endswith("experts.gate_up_proj"):
            for i, both in enumerate(value):
                for part, half in zip(("gate", "up"), both.chunk(2)):
                    state[name.replace("gate_up_proj", f"{i}.{part}_proj.weight")] = half.clone()
        elif name.endswith("experts.down_proj"):
            for i, down in enumerate(value):
                state[name.replace("down_proj", f"{i}.down_proj.weight")] = down.clone()
        else:
            state[name] = value
    return state


def drafting(state, layer, hidden, vocabulary):
    """One more layer, as the last, and what predicts a further token with it."""
    last, new = f"model.layers.{layer - 1}.", f"model.layers.{layer}."
    more = {name.replace(last, new): value.clone() for name, value in state.items() if name.startswith(last)}
    more |= {new + "enorm.weight": torch.zeros(hidden), new + "hnorm.weight": torch.zeros(hidden),
             new + "eh_proj.weight": torch.zeros(hidden, 2 * hidden), new + "shared_head.norm.weight": torch.zeros(hidden),
             new + "embed_tokens.weight": torch.zeros(vocabulary, hidden), new + "shared_head.head.weight": torch.zeros(vocabulary, hidden)}
    return state | more


def latent():
    sizes = dict(kv_lora_rank=12, qk_nope_head_dim=6, qk_rope_head_dim=4, v_head_dim=5, n_routed_experts=6, num_experts_per_tok=2,
                 moe_intermediate_size=8, first_k_dense_replace=1)
    layers = small(num_hidden_layers=3, num_key_value_heads=4)
    yarn = {"type": "yarn", "factor": 40, "beta_fast": 32, "beta_slow": 1, "original_max_position_embeddings": 16}

    def tokenizer(d, expressions):
        bpe(d, steps(*expressions), TOKENS, bos=TOKENS[0], config={"bos_token": TOKENS[0], "eos_token": TOKENS[1], "pad_token": TOKENS[1]})

    def lite(d):
        tokenizer(d, LLM)
        config = tf.DeepseekV2Config(**layers, **sizes, q_lora_rank=None, n_shared_experts=2, n_group=1, topk_group=1)
        checkpoint(d, tf.DeepseekV2ForCausalLM, config, seed=60, state=published(tf.DeepseekV2ForCausalLM(config)), change=edit(
            rope_parameters=..., rope_theta=10000, rope_scaling=yarn | {"mscale": 0.707, "mscale_all_dim": 0.707},
            scoring_func="softmax", moe_layer_freq=1))
    yield "deepseek-v2-lite", lite, "deepseek-llm", "auto"

    def v3(d):
        tokenizer(d, SPLITS["deepseek-v3"])
        config = tf.DeepseekV3Config(**layers, **sizes, q_lora_rank=10, n_shared_experts=1, n_group=2, topk_group=1)
        model = tf.DeepseekV3ForCausalLM(config)
        state = drafting(published(model), 3, 16, config.vocab_size)
        quantised = fp8(("_proj.weight", "proj_with_mqa.weight"), (8, 6))
        change = edit(rope_parameters=..., rope_theta=10000, rope_scaling=yarn | {"mscale": 1.0, "mscale_all_dim": 1.0},
                      topk_method="noaux_tc", scoring_func="sigmoid", num_nextn_predict_layers=1)
        checkpoint(d, tf.DeepseekV3ForCausalLM, config, seed=61, shards=2, state=state,
                   change=lambda c, s: change(quantised(c, s), s))
    yield "deepseek-v3", v3, "deepseek-v3", "bf16"

    def flash(d):
        bpe(d, steps(LLAMA3), ["<|endoftext|>", "[MASK]", "[gMASK]", "<sop>", "<|user|>", "<|observation|>"], ignore_merges=True,
            config={"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"})
        config = tf.Glm4MoeLiteConfig(**layers | dict(pad_token_id=0), **sizes | dict(q_lora_rank=10, n_shared_experts=1))
        state = drafting(published(tf.Glm4MoeLiteForCausalLM(config)), 3, 16, config.vocab_size)
        checkpoint(d, tf.Glm4MoeLiteForCausalLM, config, seed=62, state=state, change=edit(num_nextn_predict_layers=1))
    yield "glm4-moe-lite", flash, "glm4", "f16"

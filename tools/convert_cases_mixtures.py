"""The checkpoints of mixtures of experts in tests/data/convert; convert_cases.py has the others."""
import torch
import transformers as tf
from convert_cases import KEPT, LLAMA3, WORDS, bpe, checkpoint, edit, fp8, qwen_tokenizer, small, steps, write_json

KEPT |= set("""num_experts num_experts_per_tok num_local_experts moe_intermediate_size norm_topk_prob decoder_sparse_step
mlp_only_layers shared_intermediate_size position_embedding_type mamba_n_heads mamba_n_groups mamba_d_state mamba_d_head
mamba_d_conv mamba_expand normalization_function""".split())
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
GPT4O = (WORDS + r"*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + CONTRACTIONS + "|" + WORDS + r"+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + CONTRACTIONS +
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
MULTIPLIERS = dict(attention_multiplier=0.0625, embedding_multiplier=12.0, residual_multiplier=0.22, logits_scaling=8.0,
                   tie_word_embeddings=True)


def mxfp4(config, state):
    """Experts as OpenAI's files have them: 16 bytes of two codes each a block, and a byte of scale."""
    for name in [n for n in state if n.endswith(("gate_up_proj", "down_proj"))]:
        experts, inputs, outputs = state.pop(name).shape
        state[name + "_blocks"] = torch.randint(0, 256, (experts, outputs, inputs // 32, 16), dtype=torch.uint8)
        state[name + "_scales"] = torch.randint(110, 130, (experts, outputs, inputs // 32), dtype=torch.uint8)
    config["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn"]}
    return config


def mixtures():
    def qwen3moe(**changes):
        return tf.Qwen3MoeConfig(**small(), head_dim=8, num_experts=5, num_experts_per_tok=2, moe_intermediate_size=12,
                                 norm_topk_prob=True, **changes)

    def qwen3moe_shards(d):  # more layers and experts than ten: sorted by name, not by number
        qwen_tokenizer(d)
        checkpoint(d, tf.Qwen3MoeForCausalLM, tf.Qwen3MoeConfig(
            **small(num_hidden_layers=11, hidden_size=8, num_attention_heads=2, num_key_value_heads=1), head_dim=4, num_experts=11,
            num_experts_per_tok=2, moe_intermediate_size=4, norm_topk_prob=True), seed=30, shards=3)
    yield "qwen3moe", qwen3moe_shards, "qwen2", "auto"

    def qwen3moe_fp8(d):
        qwen_tokenizer(d)
        checkpoint(d, tf.Qwen3MoeForCausalLM, qwen3moe(tie_word_embeddings=True), seed=31, change=fp8(("_proj.weight",), (10, 6)))
    yield "Qwen3-30B-A3B", qwen3moe_fp8, "qwen2", "f16"

    def gpt_oss_tokenizer(d):
        bpe(d, steps(GPT4O), ["<|startoftext|>", "<|endoftext|>", "<|return|>", "<|call|>"], ignore_merges=True,
            config={"bos_token": "<|startoftext|>", "eos_token": "<|return|>", "pad_token": "<|endoftext|>"})

    def gpt_oss(**changes):
        rope = {"rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False,
                "original_max_position_embeddings": 16}
        return tf.GptOssConfig(**small(hidden_size=32, intermediate_size=64, num_hidden_layers=3), head_dim=8, sliding_window=8,
                               num_local_experts=3, num_experts_per_tok=2, rope_scaling=rope, **changes)

    def gpt_oss_blocks(d):
        gpt_oss_tokenizer(d)
        checkpoint(d, tf.GptOssForCausalLM, gpt_oss(), seed=32, change=mxfp4)
    yield "gpt-oss", gpt_oss_blocks, "gpt-4o", "auto"

    def gpt_oss_plain(d):
        gpt_oss_tokenizer(d)
        checkpoint(d, tf.GptOssForCausalLM, gpt_oss(tie_word_embeddings=True), torch.float16, seed=33, change=edit(layer_types=...))
    yield "gpt-oss-plain", gpt_oss_plain, "gpt-4o", "bf16"

    def granite_tokenizer(d):
        bpe(d, steps("digits", byte_level=True), ["<|end_of_text|>", "<|start_of_role|>", "<|end_of_role|>"],
            config={"bos_token": "<|end_of_text|>", "eos_token": "<|end_of_text|>", "add_bos_token": False})

    def granitemoe(d):
        granite_tokenizer(d)
        checkpoint(d, tf.GraniteMoeForCausalLM, tf.GraniteMoeConfig(**small(pad_token_id=0), **MULTIPLIERS, num_local_experts=4,
                                                                    num_experts_per_tok=2), seed=34)
    yield "granitemoe", granitemoe, "refact", "auto"

    def granitemoeshared(d):
        granite_tokenizer(d)
        checkpoint(d, tf.GraniteMoeSharedForCausalLM, tf.GraniteMoeSharedConfig(
            **small(pad_token_id=0), **MULTIPLIERS, num_local_experts=4, num_experts_per_tok=2, shared_intermediate_size=20),
            torch.float16, seed=35, change=edit(num_key_value_heads=2))
    yield "granitemoeshared", granitemoeshared, "refact", "auto"

    def hybrid(d, experts, layers=("attention", "attention"), **changes):
        bpe(d, steps(LLAMA3), ["<|end_of_text|>", "<|start_of_role|>", "<|end_of_role|>"],
            config={"bos_token": "<|end_of_text|>", "eos_token": "<|end_of_text|>", "pad_token": "<|end_of_text|>",
                    "add_bos_token": False})
        checkpoint(d, tf.GraniteMoeHybridForCausalLM, tf.GraniteMoeHybridConfig(
            **small(pad_token_id=0), **MULTIPLIERS, num_local_experts=experts, num_experts_per_tok=min(experts, 2),
            shared_intermediate_size=24, layer_types=list(layers), mamba_n_heads=4, mamba_d_head=8, mamba_d_state=8,
            position_embedding_type="rope"), **changes)

    yield "granite4", lambda d: hybrid(d, 0, seed=36), "dbrx", "auto"
    yield "granite4-mixture", lambda d: hybrid(d, 4, seed=37), "dbrx", "auto"

"""The checkpoints of families with a recurrent state in tests/data/convert; convert_cases.py has the others. Needs
transformers 5, which alone knows Qwen 3.5."""
import torch
import transformers as tf
from convert_cases import KEPT, LLAMA3, bpe, checkpoint, small, steps

KEPT |= set("""conv_L_cache conv_bias norm_eps block_auto_adjust_ff_dim block_ffn_dim_multiplier block_multiple_of
full_attn_idxs linear_conv_kernel_dim linear_key_head_dim linear_value_head_dim linear_num_key_heads linear_num_value_heads
full_attention_interval mtp_num_hidden_layers num_experts num_experts_per_tok moe_intermediate_size
shared_expert_intermediate_size""".split())
QWEN35 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")


def qwen35_tokenizer(folder):
    bpe(folder, steps(QWEN35), ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], nfc=True,
        config={"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "add_bos_token": False})


def with_drafts(model, prefix="model.language_model."):
    """The state of a model whose last layer drafts, under the names of published checkpoints, and a picture's tensor."""
    config, hidden = model.config, model.config.hidden_size
    last = f"model.layers.{config.num_hidden_layers - 1}."
    state = {}
    for name, value in model.state_dict().items():
        if name.startswith(last):
            name = "mtp.layers.0." + name.removeprefix(last)
        elif name.startswith("model."):
            name = prefix + name.removeprefix("model.")
        if not (config.tie_word_embeddings and name == "lm_head.weight"):
            state[name] = value
    for name in ("norm", "pre_fc_norm_embedding", "pre_fc_norm_hidden"):
        state[f"mtp.{name}.weight"] = torch.zeros(hidden)
    state["mtp.fc.weight"] = torch.zeros(hidden, 2 * hidden)
    state["model.visual.blocks.0.norm1.weight"] = torch.zeros(8)
    return state


def nested(model_type, **changes):
    """A config.json as models with pictures have it; one layer is the one that drafts."""
    def change(config, _):
        names = config.pop("architectures")
        config["num_hidden_layers"] -= 1
        config["layer_types"] = config["layer_types"][:-1]
        config |= {"mtp_num_hidden_layers": 1} | changes
        return {"architectures": names, "model_type": model_type, "text_config": config,
                "tie_word_embeddings": config["tie_word_embeddings"]}
    return change


def recurrent():
    def lfm2(d, **changes):
        bpe(d, steps(LLAMA3), ["<|pad|>", "<|startoftext|>", "<|im_end|>"], bos="<|startoftext|>", ignore_merges=True,
            config={"bos_token": "<|startoftext|>", "eos_token": "<|im_end|>", "pad_token": "<|pad|>"})
        checkpoint(d, tf.Lfm2ForCausalLM, tf.Lfm2Config(
            **small(num_hidden_layers=4, layer_types=["conv", "conv", "full_attention", "conv"], pad_token_id=0), **changes),
            seed=50)
    yield "lfm2", lambda d: lfm2(d, block_auto_adjust_ff_dim=True, block_multiple_of=8), "lfm2", "auto"

    rope = {"rope_type": "default", "rope_theta": 10000000.0, "partial_rotary_factor": 0.25, "mrope_section": [1, 1, 0],
            "mrope_interleaved": True}
    layers = ["linear_attention", "full_attention", "linear_attention", "full_attention"]

    def delta(**changes):
        return small(num_hidden_layers=4, layer_types=layers, rope_parameters=rope, tie_word_embeddings=True) | dict(
            head_dim=8, linear_key_head_dim=4, linear_value_head_dim=4, linear_num_key_heads=2, linear_num_value_heads=6) | changes

    def qwen35(d):
        qwen35_tokenizer(d)
        config = tf.Qwen3_5TextConfig(**delta())
        checkpoint(d, "Qwen3_5ForConditionalGeneration", config, seed=51, state=with_drafts(tf.Qwen3_5ForCausalLM(config)),
                   change=nested("qwen3_5", full_attention_interval=2))
    yield "qwen35", qwen35, "qwen35", "auto"

    def qwen35_equal(d):
        qwen35_tokenizer(d)
        config = tf.Qwen3_5TextConfig(**delta(linear_num_value_heads=2, tie_word_embeddings=False))
        checkpoint(d, "Qwen3_5ForConditionalGeneration", config, torch.float16, seed=52, shards=2,
                   state=with_drafts(tf.Qwen3_5ForCausalLM(config)), change=nested("qwen3_5"))
    yield "qwen35-equal", qwen35_equal, "qwen35", "f32"

    def qwen35moe(d):
        qwen35_tokenizer(d)
        config = tf.Qwen3_5MoeTextConfig(**{k: v for k, v in delta().items() if k != "intermediate_size"}, num_experts=5,
                                         num_experts_per_tok=2, moe_intermediate_size=12, shared_expert_intermediate_size=20)
        # torch's exponentials are one unit beside the nearest number now and then: a seed of which none is.
        checkpoint(d, "Qwen3_5MoeForConditionalGeneration", config, seed=54,
                   state=with_drafts(tf.Qwen3_5MoeForCausalLM(config)), change=nested("qwen3_5_moe"))
    yield "qwen35moe", qwen35moe, "qwen35", "f16"

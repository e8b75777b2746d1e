"""The checkpoints of families with Mamba-2 in tests/data/convert; convert_cases.py has the others. Needs transformers 5."""
import transformers as tf
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from convert_cases import KEPT, LLAMA3, TEKKEN, bpe, checkpoint, small, steps
from convert_cases_mixtures import MULTIPLIERS

KEPT |= set("""mamba_n_heads mamba_n_groups mamba_d_state mamba_d_head mamba_d_conv mamba_expand mamba_chunk_size mamba_conv_bias
mamba_proj_bias shared_intermediate_size num_local_experts num_experts_per_tok mlp_bias mamba_num_heads mamba_head_dim
ssm_state_size n_groups conv_kernel expand chunk_size use_bias use_conv_bias layer_norm_epsilon
n_routed_experts n_shared_experts moe_intermediate_size moe_shared_expert_intermediate_size routed_scaling_factor n_group
topk_group norm_topk_prob""".split())
EXPERTS = set("""n_routed_experts n_shared_experts moe_intermediate_size moe_shared_expert_intermediate_size
routed_scaling_factor n_group topk_group norm_topk_prob num_experts_per_tok""".split())
LETTERS = {"linear_attention": "M", "full_attention": "*", "mlp": "-", "moe": "E"}


def published_granite(config, _):
    config["layer_types"] = ["mamba" if kind == "linear_attention" else "attention" for kind in config["layer_types"]]
    return config | {"position_embedding_type": "nope"}


def granite_state(state):
    names = {"experts.gate_up_proj": "input_linear.weight", "experts.down_proj": "output_linear.weight", "router.weight":
             "router.layer.weight"}
    for new, old in names.items():
        state = {name.replace("block_sparse_moe." + new, "block_sparse_moe." + old): value for name, value in state.items()}
    return {k: v for k, v in state.items() if k != "lm_head.weight"}  # tied


def published_experts(state):
    """Each expert's matrices by themselves."""
    out = {}
    for name, value in state.items():
        name = "backbone." + name.removeprefix("model.") if name.startswith("model.") else name
        if value.dim() == 3 and ".experts." in name:
            stem, part = name.rsplit(".", 1)
            out |= {f"{stem}.{i}.{part}.weight": one.clone() for i, one in enumerate(value)}
        else:
            out[name] = value
    return out


def published_nemotron(kinds, experts, **more):
    def change(config, _):
        for key in [k for k in config if k == "layer_types" or (not experts and k in EXPERTS)]:
            del config[key]
        pattern = "".join(LETTERS[kind] for kind in kinds)
        return config | {"hybrid_override_pattern": pattern, "num_hidden_layers": len(kinds)} | more
    return change


def mamba():
    def granite(d, layers, experts=0, **changes):
        bpe(d, steps(LLAMA3), ["<|end_of_text|>", "<|start_of_role|>", "<|end_of_role|>"],
            config={"bos_token": "<|end_of_text|>", "eos_token": "<|end_of_text|>", "pad_token": "<|end_of_text|>",
                    "add_bos_token": False})
        arguments = small(pad_token_id=0, num_hidden_layers=len(layers)) | MULTIPLIERS | dict(
            num_local_experts=experts, num_experts_per_tok=min(experts, 2), shared_intermediate_size=24,
            layer_types=["linear_attention" if kind == "mamba" else "full_attention" for kind in layers], mamba_n_heads=4,
            mamba_d_head=8, mamba_d_state=8)
        config = tf.GraniteMoeHybridConfig(**arguments | changes)
        checkpoint(d, "GraniteMoeHybridForCausalLM", config, change=published_granite, seed=70 + experts,
                   state=granite_state(tf.GraniteMoeHybridForCausalLM(config).state_dict()))

    yield "granite4-hybrid", lambda d: granite(d, ["mamba", "attention", "mamba"]), "dbrx", "auto"
    yield "granite4-hybrid-mixture", lambda d: granite(d, ["mamba", "mamba", "attention"], 4, mamba_n_groups=2,
                                                       mamba_conv_bias=False, attention_bias=True), "dbrx", "f32"

    def nemotron(d, kinds, seed, experts=False, more={}, **changes):
        bpe(d, steps(TEKKEN), ["<unk>", "<s>", "</s>"], bos="<s>", ignore_merges=True, config={"bos_token": "<s>", "eos_token": "</s>"})
        arguments = {k: v for k, v in small(pad_token_id=0).items() if k != "num_hidden_layers"} | dict(
            layers_block_type=kinds, head_dim=8, mamba_num_heads=8, mamba_head_dim=8, ssm_state_size=8, n_groups=2, chunk_size=16)
        config = tf.NemotronHConfig(**arguments | changes)
        state = published_experts(tf.NemotronHForCausalLM(config).state_dict())
        checkpoint(d, "NemotronHForCausalLM", config, seed=seed, state=state, change=published_nemotron(kinds, experts, **more))
        # transformers 4.57.6 does not know it, so that the converter reads config.json as it is, without defaults.
        CONFIG_MAPPING._mapping.pop("nemotron_h", None)

    m, a, f, e = LETTERS
    yield "nemotron-h", lambda d: nemotron(d, [m, f, m, a, f], 75), "tekken", "auto"
    yield "nemotron-h-bias", lambda d: nemotron(
        d, [a, m, f], 76, mlp_bias=True, use_bias=True, more={"time_step_limit": [0.0, float("inf")]}), "tekken", "f32"
    yield "nemotron-h-mixture", lambda d: nemotron(
        d, [m, e, a, e], 77, True, n_routed_experts=4, n_shared_experts=1, num_experts_per_tok=2, moe_intermediate_size=12,
        moe_shared_expert_intermediate_size=20, routed_scaling_factor=2.5), "tekken", "f16"

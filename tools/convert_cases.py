"""The checkpoints of tests/data/convert: tiny, random, each in a way in which published ones differ."""
import io
import json

import sentencepiece
import torch
import transformers as tf
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

TEXT = """The cairn stands where two paths meet, and whoever passes lays a stone on it. In 1931 there were 240 stones; now
nobody counts them. It's said that the oldest ones came from the river, that they've been carried up by children, and
that the wind can't move them. Wer hier vorbeikommt, legt einen Stein dazu. Qui passe ici pose une pierre.
""" * 4
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
WORDS = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
TEKKEN = (WORDS + r"*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|" + WORDS + r"+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
SIZE = 320  # of every vocabulary; the tokenizers have fewer tokens


def steps(*expressions, byte_level=False):
    parts = [pre_tokenizers.Digits(individual_digits=True) if e == "digits" else
             pre_tokenizers.Split(Regex(e), behavior="isolated", invert=False) for e in expressions]
    parts.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=byte_level))
    return pre_tokenizers.Sequence(parts) if len(parts) > 1 else parts[0]


def bpe(folder, pre_tokenizer, special, bos=None, ignore_merges=False, nfc=False, user=(), config=None, plain=()):
    """Byte-level BPE: tokenizer.json, tokenizer_config.json."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    trainer = trainers.BpeTrainer(vocab_size=290, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(TEXT.splitlines(), trainer)
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in user])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    if bos:
        template = processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos} $B:1",
                                                 special_tokens=[(bos, tokenizer.token_to_id(bos))])
        tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"} | (config or {}))


def sentencepiece_model(folder, config=None, json_too=False, keep_model=True, added=()):
    """tokenizer.model of BPE with byte fallback; the same as tokenizer.json."""
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT.splitlines()), model_writer=out, vocab_size=310, model_type="bpe", byte_fallback=True,
        pad_id=-1, user_defined_symbols=["<kept>"], num_threads=1, minloglevel=2, normalization_rule_name="identity")
    model = out.getvalue()
    if keep_model:
        (folder / "tokenizer.model").write_bytes(model)
    if json_too:
        sp = sentencepiece.SentencePieceProcessor(model_proto=model)
        vocabulary = {sp.id_to_piece(i): i for i in range(sp.get_piece_size())}
        merges = [(a[:i], a[i:]) for a in vocabulary for i in range(1, len(a)) if a[:i] in vocabulary and a[i:] in vocabulary]
        tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
        tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(),
                                               decoders.Strip(" ", 1, 0)])
        tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
        tokenizer.add_tokens([AddedToken(t, special=s, normalized=False) for t, s in added])
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B:1",
                                                                 special_tokens=[("<s>", 1)])
        tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>",
                                                  "eos_token": "</s>", "unk_token": "<unk>"} | (config or {}))


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def small(**changes):
    return dict(vocab_size=SIZE, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=2, max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=None) | changes


def checkpoint(folder, model_class, config, dtype=torch.bfloat16, seed=0, shards=1, change=None, state=None):
    """config.json and safetensors of a random model; `change` edits the config as written."""
    torch.manual_seed(seed)
    if state is None:
        model = model_class(config)
        tied = model.config.tie_word_embeddings
        state = {k: v for k, v in model.state_dict().items() if not (tied and k == "lm_head.weight")}
    state = {k: (torch.randn(v.shape) * 0.7).to(dtype) if v.is_floating_point() and v.dtype != torch.float8_e4m3fn else v
             for k, v in state.items()}
    written = json.loads(config.to_json_string(use_diff=False)) if not isinstance(config, dict) else dict(config)
    written["architectures"] = [model_class if isinstance(model_class, str) else model_class.__name__]
    for key in [k for k, v in written.items() if k not in KEPT]:
        del written[key]
    written = (change or (lambda c, s: c))(written, state)
    write_json(folder / "config.json", written)
    if shards == 1:
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names, index = sorted(state), {}
    for i in range(shards):
        part = names[i * len(names) // shards:(i + 1) * len(names) // shards]
        name = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        save_file({n: state[n] for n in part}, folder / name, metadata={"format": "pt"})
        index |= {n: name for n in part}
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": index})


# What published config.json files hold of these models' keys.
KEPT = set("""architectures model_type vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads
num_key_value_heads head_dim max_position_embeddings rms_norm_eps layer_norm_eps rope_theta rope_scaling rope_parameters
rope_local_base_freq sliding_window sliding_window_pattern layer_types tie_word_embeddings bos_token_id eos_token_id
pad_token_id attention_bias partial_rotary_factor original_max_position_embeddings attention_multiplier
embedding_multiplier residual_multiplier logits_scaling use_sliding_window no_rope_layers attention_dropout
type_vocab_size position_embedding_type query_pre_attn_scalar hidden_act text_config quantization_config torch_dtype dtype""".split())


def llama3_tokenizer(folder, bos="<|begin_of_text|>", **more):
    bpe(folder, steps(LLAMA3), ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"], bos=bos, ignore_merges=True, **more)


def qwen_tokenizer(folder, **config):
    bpe(folder, steps(QWEN2), ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], nfc=True, user=["<tool_call>", "</tool_call>"],
        config={"bos_token": None, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "add_bos_token": False,
                "chat_template": TEMPLATE} | config)


def fp8(names, block=None):
    """Makes weights e4m3 with scales: of blocks, or of rows."""
    def change(config, state):
        for name in [n for n in state if any(n.endswith(s) for s in names)]:
            weight = state[name].float()
            if block:
                rows, columns = -(-weight.shape[0] // block[0]), -(-weight.shape[1] // block[1])
                state[name + "_scale_inv"] = torch.rand(rows, columns) * 0.1 + 0.01
                state[name.removesuffix(".weight") + ".activation_scale"] = torch.ones(())
            else:
                state[name + "_scale"] = (torch.rand(weight.shape[0], 1) * 0.1 + 0.01).bfloat16()
            state[name] = (weight * 20).to(torch.float8_e4m3fn)
        weights = {"num_bits": 8, "type": "float", "strategy": "channel"}
        config["quantization_config"] = (
            {"quant_method": "fp8", "weight_block_size": list(block)} if block else
            {"quant_method": "compressed-tensors", "format": "float-quantized", "config_groups": {"group_0": {"weights": weights}}})
        return config
    return change


def nested(prefix_of, inner_type, outer_type):
    """A text model inside of one for pictures, whose tensors are there too."""
    def change(config, state):
        for name in list(state):
            state[prefix_of(name)] = state.pop(name)
        state["vision_tower.vision_model.embeddings.patch_embedding.weight"] = torch.zeros(4, 3)
        state["multi_modal_projector.mm_input_projection_weight"] = torch.zeros(4, 3)
        outer = {"architectures": config.pop("architectures"), "model_type": outer_type}
        return outer | {"text_config": config | {"model_type": inner_type}}
    return change


def edit(**changes):
    return lambda config, state: {k: v for k, v in (config | changes).items() if v is not ...}


def without_kv(arguments):
    return {k: v for k, v in arguments.items() if k not in ("num_key_value_heads", "bos_token_id", "eos_token_id", "pad_token_id")}


def with_positions(state):
    return state | {"embeddings.position_ids": torch.arange(128)[None]}


def word_pieces(folder, lowercase=True, truncate=None, **config):
    """BERT's tokenizer."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(TEXT.splitlines(), trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
                                                             special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    if truncate:
        tokenizer.enable_truncation(truncate)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "unk_token": "[UNK]", "sep_token": "[SEP]",
                                                  "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]",
                                                  "do_lower_case": lowercase} | config)


def sentence_transformer(folder, **pooling):
    """What sentence-transformers write beside a model."""
    kind = "sentence_transformers.models."
    write_json(folder / "modules.json", [{"idx": i, "name": str(i), "path": path, "type": kind + name} for i, (path, name) in
                                         enumerate([("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")])])
    (folder / "1_Pooling").mkdir()
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 16} | pooling)


def cases():
    """(name, what makes its folder, the pre-tokenizer's name, --outtype)"""
    def llama_spm(d):
        sentencepiece_model(d, {"add_prefix_space": True, "add_bos_token": True, "add_eos_token": False, "chat_template": [
            {"name": "default", "template": TEMPLATE}, {"name": "tool use", "template": "T" + TEMPLATE}]})
        checkpoint(d, tf.LlamaForCausalLM, tf.LlamaConfig(**small(), tie_word_embeddings=False), seed=1, shards=2,
                   change=edit(_name_or_path="cairns/Tiny-Llama-2-7K-chat-v1.0", head_dim=...))
    yield "llama-spm", llama_spm, None, "auto"

    def llama_json(d):
        sentencepiece_model(d, {"pad_token": "<pad>"}, json_too=True, keep_model=False,
                            added=[("<pad>", True), ("<sep>", True), ("<user>", False)])
        checkpoint(d, tf.LlamaForCausalLM, tf.LlamaConfig(**small(vocab_size=313), head_dim=8, attention_bias=True,
                                                          tie_word_embeddings=True), torch.float16, seed=2)
    yield "llama-json", llama_json, None, "auto"

    def llama3(d):
        llama3_tokenizer(d, config={"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>",
                                    "added_tokens_decoder": {"290": {"content": "<|begin_of_text|>", "special": True}}})
        (d / "chat_template.jinja").write_text(TEMPLATE)
        write_json(d / "generation_config.json", {"temperature": 0.6, "top_p": 0.9, "top_k": 40, "do_sample": True,
                                                  "repetition_penalty": 1.05})
        rope = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64}
        checkpoint(d, tf.LlamaForCausalLM, tf.LlamaConfig(**small(), head_dim=32, rope_theta=500.0, rope_scaling=rope,
                                                          tie_word_embeddings=True), torch.float32, seed=3)
    yield "llama3", llama3, "llama-bpe", "auto"

    def mistral(d):
        bpe(d, steps(TEKKEN), ["<unk>", "<s>", "</s>", "[INST]"], bos="<s>", ignore_merges=True,
            config={"bos_token": {"__type": "AddedToken", "content": "<s>"}, "eos_token": "</s>"})
        checkpoint(d, tf.MistralForCausalLM, tf.MistralConfig(**small(), head_dim=8, sliding_window=None), seed=4)
    yield "mistral-tekken", mistral, "tekken", "f32"

    def smollm2(d):
        bpe(d, steps("digits", byte_level=True), ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            config={"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "unk_token": "<|endoftext|>"})
        checkpoint(d, tf.LlamaForCausalLM, tf.LlamaConfig(**small(), tie_word_embeddings=True), seed=5,
                   change=edit(rope_scaling={"type": "linear", "factor": 2.0}))
    yield "smollm2", smollm2, "smollm", "auto"

    def qwen2(d):
        qwen_tokenizer(d, additional_special_tokens=["<|im_start|>", "<|im_end|>"])
        write_json(d / "generation_config.json", {"temperature": 0.7, "top_p": 0.8, "top_k": 20})
        checkpoint(d, tf.Qwen2ForCausalLM, tf.Qwen2Config(**small(), tie_word_embeddings=True, rope_theta=1e6), seed=6)
    yield "qwen2", qwen2, "qwen2", "auto"

    def qwen2_new(d):  # config.json as transformers 5 writes it
        qwen_tokenizer(d)
        checkpoint(d, tf.Qwen2ForCausalLM, tf.Qwen2Config(**small(), tie_word_embeddings=False), torch.float16, seed=7,
                   change=edit(rope_theta=..., rope_scaling=..., rope_parameters={"rope_type": "default", "rope_theta": 5e5}))
    yield "Qwen2.5-0.5B-Instruct", qwen2_new, "qwen2", "bf16"

    def qwen3(d):
        qwen_tokenizer(d)
        rope = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
        checkpoint(d, tf.Qwen3ForCausalLM, tf.Qwen3Config(**small(), head_dim=8, rope_scaling=rope, tie_word_embeddings=False),
                   seed=8)
    yield "qwen3", qwen3, "qwen2", "f16"

    def qwen3_fp8(d):
        qwen_tokenizer(d)
        checkpoint(d, tf.Qwen3ForCausalLM, tf.Qwen3Config(**small(), head_dim=8, tie_word_embeddings=True), seed=9,
                   change=fp8(("_proj.weight",), (12, 10)))
    yield "qwen3-fp8", qwen3_fp8, "qwen2", "auto"

    def llama_fp8(d):
        sentencepiece_model(d)
        checkpoint(d, tf.LlamaForCausalLM, tf.LlamaConfig(**small(), tie_word_embeddings=False), seed=10,
                   change=fp8(("_proj.weight",)))
    yield "llama-fp8", llama_fp8, None, "auto"

    gemma_tokens = {"added_tokens_decoder": {"0": {"content": "<unk>", "special": True}, "311": {"content": "<mask>", "special": False},
                                             "312": {"content": "\u2581\u2581", "special": False}}, "add_bos_token": True}

    def gemma(d):
        sentencepiece_model(d, gemma_tokens)
        write_json(d / "added_tokens.json", {"<extra>": 310})
        checkpoint(d, tf.GemmaForCausalLM, tf.GemmaConfig(**small(num_key_value_heads=1), head_dim=8), torch.float16, seed=11)
    yield "gemma", gemma, None, "auto"

    def gemma3(d):
        sentencepiece_model(d, gemma_tokens, json_too=True)
        checkpoint(d, tf.Gemma3ForCausalLM, tf.Gemma3TextConfig(**small(num_key_value_heads=1), head_dim=8, sliding_window=16),
                   seed=12)
    yield "gemma3", gemma3, None, "auto"

    def gemma3_pictures(d):
        sentencepiece_model(d)
        checkpoint(d, tf.Gemma3ForCausalLM, tf.Gemma3TextConfig(**small(num_hidden_layers=1, num_attention_heads=8, num_key_value_heads=4), head_dim=256,
                                                                sliding_window=16), seed=13,
                   change=lambda c, s: nested(lambda n: "language_model." + n, "gemma3_text", "gemma3")(
                       edit(architectures=["Gemma3ForConditionalGeneration"], head_dim=..., num_attention_heads=...,
                            num_key_value_heads=..., rope_theta=..., rope_local_base_freq=..., rms_norm_eps=...,
                            max_position_embeddings=..., layer_types=...,
                            rope_scaling={"rope_type": "linear", "factor": 8.0})(c, s), s))
    yield "gemma3-pictures", gemma3_pictures, None, "auto"

    def phi2(d):
        bpe(d, steps(byte_level=True), ["<|endoftext|>"], user=["  ", "\t\t"],
            config={"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"})
        checkpoint(d, tf.PhiForCausalLM, tf.PhiConfig(**small(intermediate_size=64, num_key_value_heads=4)), torch.float16, seed=14)
    yield "phi2", phi2, "phi-2", "auto"

    def phi3(d):
        sentencepiece_model(d, {"add_bos_token": False, "added_tokens_decoder": {
            "0": {"content": "<unk>", "special": True}, "2": {"content": "</s>", "special": False},
            "313": {"content": "<|user|>", "special": True}}}, json_too=True, added=[("<|end|>", True), ("<|x|>", False)])
        rope = {"type": "longrope", "short_factor": [1.0, 1.1], "long_factor": [2.5, 3.3]}
        checkpoint(d, tf.Phi3ForCausalLM, tf.Phi3Config(**small(pad_token_id=0), original_max_position_embeddings=32,
                                                        sliding_window=64, rope_scaling=rope), seed=15)
    yield "phi3", phi3, None, "auto"

    def phi4(d):
        bpe(d, steps(LLAMA3), ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], plain=True,
            config={"tokenizer_class": "GPT2Tokenizer", "bos_token": "<|endoftext|>", "eos_token": "<|im_end|>"})
        checkpoint(d, tf.Phi3ForCausalLM, tf.Phi3Config(**small(pad_token_id=0), partial_rotary_factor=0.5, sliding_window=None),
                   seed=16)
    yield "phi4", phi4, "dbrx", "auto"

    def mistral3(d):
        bpe(d, steps(TEKKEN), ["<unk>", "<s>", "</s>"], bos="<s>", ignore_merges=True, config={"bos_token": "<s>", "eos_token": "</s>"})
        checkpoint(d, tf.MistralForCausalLM, tf.MistralConfig(**small(), head_dim=8, sliding_window=None, rope_theta=1e9), seed=17,
                   change=lambda c, s: nested(lambda n: "language_model." + n, "mistral", "mistral3")(
                       edit(architectures=["Mistral3ForConditionalGeneration"])(c, s), s))
    yield "mistral3", mistral3, "tekken", "auto"

    def ministral3(d):
        bpe(d, steps(TEKKEN), ["<unk>", "<s>", "</s>"], bos="<s>", ignore_merges=True, config={"bos_token": "<s>", "eos_token": "</s>"})
        rope = {"rope_type": "yarn", "rope_theta": 1e6, "factor": 16.0, "original_max_position_embeddings": 16, "beta_fast": 32.0,
                "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.1}
        checkpoint(d, tf.MistralForCausalLM, tf.MistralConfig(**small(), head_dim=8, sliding_window=None, tie_word_embeddings=True),
                   seed=18, change=edit(architectures=["Ministral3ForCausalLM"], model_type="ministral3", rope_parameters=rope,
                                        rope_theta=..., sliding_window=...))
    yield "ministral3", ministral3, "tekken", "auto"

    def smollm3(d):
        llama3_tokenizer(d, bos=None, config={"bos_token": None, "eos_token": "<|eot_id|>", "pad_token": "<|eot_id|>"})
        checkpoint(d, tf.SmolLM3ForCausalLM, tf.SmolLM3Config(**small(pad_token_id=2), use_sliding_window=False), seed=19)
    yield "smollm3", smollm3, "smaug-bpe", "auto"

    def olmo(d):
        bpe(d, steps(LLAMA3), ["<|endoftext|>", "<|pad|>"], user=["|||IP_ADDRESS|||"],
            config={"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|pad|>"})

    def olmo2(d):
        olmo(d)
        checkpoint(d, tf.Olmo2ForCausalLM, tf.Olmo2Config(**small(), rope_theta=5e5), torch.float32, seed=20)
    yield "olmo2", olmo2, "dbrx", "auto"

    def olmo3(d):
        olmo(d)
        rope = {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 16, "attention_factor": 1.2079,
                "beta_fast": 32.0, "beta_slow": 1.0}
        checkpoint(d, tf.Olmo3ForCausalLM, tf.Olmo3Config(**small(num_hidden_layers=4), rope_scaling=rope, sliding_window=8),
                   seed=21, change=edit(layer_types=...))
    yield "olmo3", olmo3, "dbrx", "auto"

    def glm4(d):
        bpe(d, steps(LLAMA3), ["<|endoftext|>", "[MASK]", "[gMASK]", "<sop>", "<|user|>", "<|observation|>"], ignore_merges=True,
            config={"eos_token": "<|user|>", "pad_token": "<|endoftext|>"})
        checkpoint(d, tf.Glm4ForCausalLM, tf.Glm4Config(**small(eos_token_id=[290, 294], pad_token_id=0, bos_token_id=None),
                                                        head_dim=8, attention_bias=True), seed=22, change=edit(pad_token_id=290))
    yield "glm4", glm4, "glm4", "auto"

    def exaone4(d):
        bpe(d, steps(byte_level=True), ["[PAD]", "[BOS]", "[EOS]", "[|endofturn|]"], user=["<think>"],
            config={"bos_token": "[BOS]", "eos_token": "[|endofturn|]", "pad_token": "[PAD]", "unk_token": None})
        rope = {"rope_type": "llama3", "factor": 16.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64}
        checkpoint(d, tf.Exaone4ForCausalLM, tf.Exaone4Config(**small(num_hidden_layers=4), sliding_window=8, sliding_window_pattern=4,
                                                              rope_theta=500.0, rope_scaling=rope), seed=23)
    yield "exaone4", exaone4, "exaone4", "auto"

    def granite(d):
        bpe(d, steps("digits", byte_level=True), ["<|end_of_text|>", "<|start_of_role|>", "<|end_of_role|>"],
            config={"bos_token": "<|end_of_text|>", "eos_token": "<|end_of_text|>", "add_bos_token": False})
        checkpoint(d, tf.GraniteForCausalLM, tf.GraniteConfig(
            **small(pad_token_id=0), attention_multiplier=0.0625, embedding_multiplier=12.0, residual_multiplier=0.22,
            logits_scaling=8.0, attention_bias=True, mlp_bias=True, tie_word_embeddings=True), seed=24)
    yield "granite", granite, "refact", "auto"

    def bert(d):
        word_pieces(d)
        sentence_transformer(d, pooling_mode_cls_token=False, pooling_mode_mean_tokens=True)
        model = tf.BertModel(tf.BertConfig(**without_kv(small())))
        checkpoint(d, "BertModel", model.config, torch.float32, seed=40, state=with_positions(model.state_dict()))
    yield "bert", bert, "bert-bge", "auto"

    # As the first BERTs were saved: gamma and beta, what it was trained with, a prefix.
    def bert_masked(d):
        word_pieces(d, lowercase=False, truncate=128)
        sentence_transformer(d, pooling_mode_cls_token=True, pooling_mode_mean_tokens=False)
        model = tf.BertForMaskedLM(tf.BertConfig(**without_kv(small()), layer_norm_eps=1e-5))
        old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        state = {next((k.replace(a, b) for a, b in old.items() if a in k), k): v for k, v in model.state_dict().items()}
        checkpoint(d, "BertForMaskedLM", model.config, torch.float16, seed=41,
                   state={k: v for k, v in state.items() if not k.startswith("cls.predictions.decoder")})
    yield "bert-masked", bert_masked, "jina-v2-en", "auto"

    # Qwen3-Embedding: tensors without "model.", EOS behind each text, another token than ends turns.
    def qwen3_embedding(d):
        qwen_tokenizer(d)
        tokenizer = json.loads((d / "tokenizer.json").read_text())
        end = {"id": "<|endoftext|>", "ids": [290], "tokens": ["<|endoftext|>"]}
        step = {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}},
                                                         {"SpecialToken": {"id": end["id"], "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": end["id"], "type_id": 0}},
                         {"Sequence": {"id": "B", "type_id": 0}}, {"SpecialToken": {"id": end["id"], "type_id": 0}}],
                "special_tokens": {end["id"]: end}}
        tokenizer["post_processor"] = {"type": "Sequence", "processors": [tokenizer["post_processor"], step]}
        write_json(d / "tokenizer.json", tokenizer)
        sentence_transformer(d, pooling_mode_cls_token=False, pooling_mode_mean_tokens=False, pooling_mode_lasttoken=True)
        model = tf.Qwen3ForCausalLM(tf.Qwen3Config(**small(), head_dim=8, tie_word_embeddings=True, rope_theta=1e6))
        state = {k.removeprefix("model."): v for k, v in model.state_dict().items() if k != "lm_head.weight"}
        checkpoint(d, "Qwen3ForCausalLM", model.config, seed=42, state=state)
    yield "qwen3-embedding", qwen3_embedding, "qwen2", "auto"

    def headless(d, model, seed):
        qwen_tokenizer(d)
        sentence_transformer(d, pooling_mode_cls_token=False, pooling_mode_mean_tokens=False, pooling_mode_lasttoken=True)
        checkpoint(d, type(model), model.config, seed=seed, state=model.state_dict())
    yield "qwen2-model", lambda d: headless(d, tf.Qwen2Model(tf.Qwen2Config(**small(), tie_word_embeddings=False)), 44), "qwen2", "auto"
    yield "qwen3-model", lambda d: headless(d, tf.Qwen3Model(tf.Qwen3Config(**small(), head_dim=8, tie_word_embeddings=True)), 45), \
        "qwen2", "f16"

    def gemma4(d, **more):
        sentencepiece_model(d, {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>"}, json_too=True, keep_model=False,
                            added=[("<pad>", True), ("<|channel>", True), ("<table>", False)])
        tokenizer = json.loads((d / "tokenizer.json").read_text())  # Gemma 4's has neither a template nor a blank in front
        tokenizer["post_processor"] = None
        tokenizer["normalizer"] = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
        write_json(d / "tokenizer.json", tokenizer)
        local, whole = "sliding_attention", "full_attention"
        config = tf.Gemma4TextConfig(**small(vocab_size=313, num_hidden_layers=4) | dict(
            head_dim=8, global_head_dim=16, vocab_size_per_layer_input=313, sliding_window=8, final_logit_softcapping=30.0,
            rope_parameters={whole: {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1e6},
                             local: {"rope_type": "default", "rope_theta": 1e4}}) | more)
        state = {k: v for k, v in tf.Gemma4ForCausalLM(config).state_dict().items() if k != "lm_head.weight"}
        written = {k: v for k, v in json.loads(config.to_json_string(use_diff=False)).items() if k != "per_layer_config" and k[0] != "_"}
        written |= dict(architectures=["Gemma4ForCausalLM"], head_dim=8, global_head_dim=16, num_key_value_heads=2,
                        num_global_key_value_heads=more.get("num_global_key_value_heads"))
        torch.manual_seed(43)
        write_json(d / "config.json", written)
        save_file({k: (torch.randn(v.shape) * 0.7).to(torch.bfloat16) for k, v in state.items()}, d / "model.safetensors",
                  metadata={"format": "pt"})
    kinds = ["sliding_attention", "full_attention"] * 2
    yield "gemma4", lambda d: gemma4(d, hidden_size_per_layer_input=8, num_kv_shared_layers=2, use_double_wide_mlp=True,
                                     layer_types=kinds), None, "auto"
    yield "gemma4-large", lambda d: gemma4(d, hidden_size_per_layer_input=0, attention_k_eq_v=True, num_global_key_value_heads=1,
                                           layer_types=kinds), None, "f32"
    yield "gemma4-mixture", lambda d: gemma4(d, hidden_size_per_layer_input=0, attention_k_eq_v=True, num_global_key_value_heads=1,
                                             enable_moe_block=True, num_experts=5, top_k_experts=2, moe_intermediate_size=12,
                                             layer_types=kinds), None, "auto"
    from convert_cases_mixtures import mixtures  # which takes its tools from here
    yield from mixtures()
    from convert_cases_recurrent import recurrent
    yield from recurrent()
    from convert_cases_mamba import mamba
    yield from mamba()
    from convert_cases_latent import latent
    yield from latent()

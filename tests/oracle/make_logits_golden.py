"""Writes tests/golden/logits from Hugging Face transformers in f32. Needs torch and transformers.

usage: make_logits_golden.py [shapes] [default_model] [embeddings]    all files by default

shapes.json, for each shape of shapes.py: log-probability of every token of a prompt given those
before it, and 64 greedy tokens after its first 16. default_model.json: the same of the
default model's file, dequantised, for the first 300 tokens of LICENSE, and 64 greedy tokens after a
prompt of its own. embeddings.json, for each shape and for texts that the default model reads: the mean
of the hidden states after the last norm, and the last one, both at length 1.
"""
import json
import sys

import gguf
import numpy as np
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, Phi3Config, Phi3ForCausalLM

import shapes
import token_common as common
from program import PUNA, ROOT

GOLDEN = ROOT / "tests/golden/logits"
PROMPT = "The three largest countries in South America are"
TEXTS = ["The puna is a high grassland.", "Llamas carry wool, and \u4e2d\u6587 too: <|im_end|> is text here."]


def hf_model(name):
    s = shapes.shape(name)
    return llama(s, name) if s["rope_dim"] == s["value_dim"] == s["head_dim"] else padded_phi3(s, name)


def llama(s, name):
    rope = {"rope_theta": s["rope_base"], "rope_type": "default", **(s["scaling"] or {})}
    config = LlamaConfig(
        vocab_size=s["n_vocab"], hidden_size=s["n_embd"], intermediate_size=s["n_ff"],
        num_hidden_layers=s["n_layers"], num_attention_heads=s["n_heads"],
        num_key_value_heads=s["n_kv_heads"], head_dim=s["head_dim"],
        max_position_embeddings=s["ctx"], rms_norm_eps=s["eps"], tie_word_embeddings=s["tied"],
        attention_bias=s["bias"], mlp_bias=s["bias"], rope_theta=s["rope_base"],
        rope_parameters=rope, attn_implementation="eager")
    model = LlamaForCausalLM(config).to(torch.float32).eval()
    names = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head",
             "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
             "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
             "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
             "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
    state = {}
    for key, array in shapes.weights(s).items():
        *prefix, stem, kind = key.split(".")
        if prefix:
            target = f"model.layers.{prefix[1]}.{names[stem]}.{kind}"
        else:
            target = f"{names[stem]}.{kind}"
        tensor = torch.from_numpy(array.copy())
        state[target] = tensor.reshape(-1) if array.shape[0] == 1 else tensor
        if stem.endswith("norm") or kind == "bias":
            state[target] = state[target].reshape(-1)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    model.tie_weights()
    return model


def padded_phi3(s, name):
    """transformers' Llama has one size for keys, values and rotation. Its Phi3 is the same model but for
    rotating only the first dimensions of a head; its heads here are as wide as the wider of keys and
    values, the rest of the other being 0, which adds nothing to a sum. The scale of the scores is that of
    the wider head, and q makes up for it."""
    width = max(s["head_dim"], s["value_dim"])
    config = Phi3Config(
        vocab_size=s["n_vocab"], hidden_size=s["n_embd"], intermediate_size=s["n_ff"],
        num_hidden_layers=s["n_layers"], num_attention_heads=s["n_heads"],
        num_key_value_heads=s["n_kv_heads"], head_dim=width, max_position_embeddings=s["ctx"],
        original_max_position_embeddings=s["ctx"], rms_norm_eps=s["eps"], tie_word_embeddings=s["tied"],
        pad_token_id=None, bos_token_id=None, eos_token_id=None, attn_implementation="eager",
        rope_parameters={"rope_theta": s["rope_base"], "rope_type": "default",
                         "partial_rotary_factor": s["rope_dim"] / width})
    model = Phi3ForCausalLM(config).to(torch.float32).eval()
    frequencies = s["rope_base"] ** -(np.arange(0, s["rope_dim"], 2) / s["rope_dim"])
    assert np.allclose(model.model.rotary_emb.inv_freq, frequencies, rtol=1e-6)
    w = {key: torch.from_numpy(array.copy()) for key, array in shapes.weights(s).items()}

    def padded(key, heads, dim):
        rows = w[key].reshape(heads, dim, -1)
        return torch.nn.functional.pad(rows, (0, 0, 0, width - dim)).reshape(heads * width, -1)
    state = {"model.embed_tokens.weight": w["token_embd.weight"], "lm_head.weight": w["output.weight"],
             "model.norm.weight": w["output_norm.weight"]}
    for i in range(s["n_layers"]):
        ours, theirs = f"blk.{i}.", f"model.layers.{i}."
        q = padded(ours + "attn_q.weight", s["n_heads"], s["head_dim"]) * (width / s["head_dim"]) ** 0.5
        k = padded(ours + "attn_k.weight", s["n_kv_heads"], s["head_dim"])
        v = padded(ours + "attn_v.weight", s["n_kv_heads"], s["value_dim"])
        w["o"] = w[ours + "attn_output.weight"].T.contiguous()
        state |= {
            theirs + "self_attn.qkv_proj.weight": torch.cat([q, k, v]),
            theirs + "self_attn.o_proj.weight": padded("o", s["n_heads"], s["value_dim"]).T,
            theirs + "mlp.gate_up_proj.weight": torch.cat([w[ours + f"ffn_{x}.weight"] for x in ("gate", "up")]),
            theirs + "mlp.down_proj.weight": w[ours + "ffn_down.weight"],
            theirs + "input_layernorm.weight": w[ours + "attn_norm.weight"],
            theirs + "post_attention_layernorm.weight": w[ours + "ffn_norm.weight"]}
    model.load_state_dict({key: x.reshape(-1) if "norm" in key else x for key, x in state.items()})
    return model


def default_model(path):
    """The file's model in f32; what transformers made of it must be what the file says."""
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32,
                                                 attn_implementation="eager").eval()
    reader = gguf.GGUFReader(path)
    base, eps = (np.float32(reader.fields[f"llama.{key}"].contents())
                 for key in ("rope.freq_base", "attention.layer_norm_rms_epsilon"))
    half = np.arange(0, model.config.head_dim, 2) / model.config.head_dim
    assert np.allclose(model.model.rotary_emb.inv_freq, base**-half, rtol=1e-6)
    assert model.model.rotary_emb.attention_scaling == 1.0
    norms = [m for m in model.modules() if hasattr(m, "variance_epsilon")]
    assert len(norms) == 2 * model.config.num_hidden_layers + 1
    assert all(np.float32(norm.variance_epsilon) == eps for norm in norms)
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert model.num_parameters() == sum(int(t.n_elements) for t in reader.tensors)
    check_weights(model, {t.name: t for t in reader.tensors})
    return model


def check_weights(model, tensors):
    """Some of each kind are the file's bit for bit; rows of q and k stand in another order."""
    layer = model.model.layers[7]
    for name, ours in (("token_embd", model.lm_head), ("output_norm", model.model.norm),
                       ("blk.7.ffn_norm", layer.post_attention_layernorm),
                       ("blk.7.attn_v", layer.self_attn.v_proj), ("blk.7.ffn_down", layer.mlp.down_proj)):
        tensor = tensors[f"{name}.weight"]
        expected = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        assert np.array_equal(ours.weight.detach().numpy(), expected), name


def golden(name, model, ids, prompt):
    with torch.no_grad():
        logprobs = torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1)
        scores = [logprobs[i, ids[i + 1]].item() for i in range(len(ids) - 1)]
        text = list(prompt)
        gaps = []
        for _ in range(64):
            best = torch.topk(model(torch.tensor([text])).logits[0, -1], 2)
            gaps.append((best.values[0] - best.values[1]).item())
            text.append(best.indices[0].item())
    print(f"{name}: smallest gap of the greedy choices {min(gaps):.2e}")
    return {"ids": ids, "logprobs": [round(x, 7) for x in scores], "greedy": text[len(prompt):]}


def write_shapes(file):
    rows = []
    for name in shapes.SHAPES:
        ids = shapes.prompt(name)
        rows.append(f'"{name}": {json.dumps(golden(name, hf_model(name), ids, ids[:16]))}')
    file.write_text("{\n" + ",\n".join(rows) + "\n}\n")


def write_default_model(file):
    path = common.find_default_model()
    if not path:
        sys.exit("the default model is not in the model folder; tools/fetch-default-model brings it")
    ids = common.puna_one(PUNA, path, (ROOT / "LICENSE").read_bytes())["ids"][:300]
    prompt = common.puna_one(PUNA, path, PROMPT)["ids"]
    found = {"prompt": prompt, **golden(path.name, default_model(path), ids, prompt)}
    rows = [f'"{key}": {json.dumps(value)}' for key, value in found.items()]
    file.write_text("{\n" + ",\n".join(rows) + "\n}\n")


def embeddings(model, ids):
    with torch.no_grad():
        hidden = model.model(torch.tensor([ids])).last_hidden_state[0].double()
    vectors = {"mean": hidden.mean(0), "last": hidden[-1]}
    return {"ids": ids} | {name: [round(x, 8) for x in (v / v.norm()).tolist()] for name, v in vectors.items()}


def write_embeddings(file):
    path = common.find_default_model()
    if not path:
        sys.exit("the default model is not in the model folder; tools/fetch-default-model brings it")
    rows = [f'"{name}": {json.dumps(embeddings(hf_model(name), shapes.prompt(name)))}' for name in shapes.SHAPES]
    model = default_model(path)
    for text in TEXTS:
        ids = common.puna_one(PUNA, path, text)["ids"]
        rows.append(f"{json.dumps(text)}: {json.dumps(embeddings(model, ids))}")
    file.write_text("{\n" + ",\n".join(rows) + "\n}\n")


def main():
    writers = {"shapes": write_shapes, "default_model": write_default_model, "embeddings": write_embeddings}
    names = sys.argv[1:] or writers
    if not set(names) <= set(writers):
        sys.exit(__doc__)
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for name in names:
        writers[name](GOLDEN / f"{name}.json")


if __name__ == "__main__":
    main()

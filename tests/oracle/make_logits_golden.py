"""Writes tests/golden/logits/shapes.json from Hugging Face transformers in f32.

For each shape of shapes.py: log-probability of every token of a prompt of 300 tokens given those
before it, and 64 greedy tokens after its first 16. Needs torch and transformers.
"""
import json
import pathlib

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import shapes

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden" / "logits" / "shapes.json"


def hf_model(name):
    s = shapes.shape(name)
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


def golden(name):
    model, ids = hf_model(name), shapes.prompt(name, 300)
    with torch.no_grad():
        logprobs = torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1)
        scores = [logprobs[i, ids[i + 1]].item() for i in range(len(ids) - 1)]
        text = list(ids[:16])
        gaps = []
        for _ in range(64):
            best = torch.topk(model(torch.tensor([text])).logits[0, -1], 2)
            gaps.append((best.values[0] - best.values[1]).item())
            text.append(best.indices[0].item())
    print(f"{name}: smallest gap of the greedy choices {min(gaps):.2e}")
    return {"ids": ids, "logprobs": [round(x, 7) for x in scores], "greedy": text[16:]}


def main():
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    rows = [f'"{name}": {json.dumps(golden(name))}' for name in shapes.SHAPES]
    GOLDEN.write_text("{\n" + ",\n".join(rows) + "\n}\n")


if __name__ == "__main__":
    main()

"""EleutherAI's lm-eval against `puna serve`, by its models local-completions and local-chat-completions, on
tasks whose few items are written here: what the harness takes for the model's answers and log-likelihoods
is what the server answers to plain requests, and what `puna score` says of the same tokens."""
import json
import math
import os
import pathlib
import subprocess
import sys

import pytest

import token_common as common
from program import PUNA, ROOT

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
try:
    import lm_eval
    import transformers
    from lm_eval.tasks import TaskManager
except ImportError as e:
    print(f"{e.name} is not installed; make oracle installs it")
    sys.exit(77)

sys.path.insert(0, str(ROOT / "tests/cli"))
from puna_server import serving  # noqa: E402

MODEL = "SmolLM2-135M-Instruct.Q4_1"
N_TOKENS = 16
ITEMS = [
    {"question": "The capital of France is", "choices": [" Paris", " London", " a small village in the Alps"], "answer": 0},
    {"question": "Two and two make", "choices": [" five", " four", " fourteen"], "answer": 1},
    {"question": "A llama is an", "choices": [" animal", " engine", " \u00e9toile"], "answer": 0},
    {"question": "Q: What colour is the sky?\nA:", "choices": [" Green", " Blue"], "answer": 1},
]
TASK = """
task: {task}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {items}}}}}
test_split: test
output_type: {kind}
doc_to_text: "{{{{question}}}}"
"""
GENERATE = """
doc_to_target: "{{{{choices[answer]}}}}"
generation_kwargs: {{until: ["\\n", "."], max_gen_toks: {n_tokens}, do_sample: false, temperature: 0}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
"""
CHOOSE = """
doc_to_target: answer
doc_to_choice: "{{choices}}"
target_delimiter: ""
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""


@pytest.fixture(scope="module")
def default_model():
    path = common.find_default_model()
    if path is None:
        pytest.skip("the default model is not in the model folder; tools/fetch-default-model brings it")
    return pathlib.Path(path)


@pytest.fixture(scope="module")
def server(default_model):
    with serving("-c", 1024, default_model) as s:
        yield s


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    items = folder / "items.jsonl"
    items.write_text("".join(json.dumps(item) + "\n" for item in ITEMS))
    for task, kind, rest in (("tiny_generate", "generate_until", GENERATE.format(n_tokens=N_TOKENS)),
                             ("tiny_choose", "multiple_choice", CHOOSE)):
        (folder / f"{task}.yaml").write_text(TASK.format(task=task, items=items, kind=kind) + rest)
    os.environ["HF_DATASETS_CACHE"] = str(folder / "cache")
    return TaskManager(include_path=str(folder), include_defaults=False)


def evaluate(tasks, task, model, server, path, **options):
    """The harness's results, and its samples in the order of the items."""
    chat = model == "local-chat-completions"
    found = lm_eval.simple_evaluate(
        model=model, tasks=[task], task_manager=tasks, apply_chat_template=chat, log_samples=True, bootstrap_iters=0,
        model_args={"model": MODEL, "base_url": server.url + path, "max_retries": 1, "timeout": 300} | options)
    return found["results"][task], sorted(found["samples"][task], key=lambda s: s["doc_id"])


def plain_answer(server, question, chat):
    body = {"model": MODEL, "temperature": 0, "max_tokens": N_TOKENS, "stop": ["\n", "."]}
    if chat:
        body["messages"] = [{"role": "user", "content": question}]
        return server.post("/v1/chat/completions", body)["choices"][0]["message"]["content"]
    return server.post("/v1/completions", body | {"prompt": question})["choices"][0]["text"]


@pytest.mark.parametrize("options", [{}, {"batch_size": 3}, {"num_concurrent": 4}])
def test_texts_are_generated(tasks, server, options):
    result, samples = evaluate(tasks, "tiny_generate", "local-completions", server, "/v1/completions",
                               tokenizer_backend=None, tokenized_requests=False, **options)
    expected = [plain_answer(server, item["question"], chat=False) for item in ITEMS]
    assert [s["resps"][0][0] for s in samples] == expected and len(set(expected)) > 1
    right = [text == item["choices"][item["answer"]] for text, item in zip(expected, ITEMS, strict=True)]
    assert result["exact_match,none"] == sum(right) / len(right)


@pytest.mark.parametrize("options", [{}, {"num_concurrent": 4}])
def test_chats_are_answered(tasks, server, options):
    _, samples = evaluate(tasks, "tiny_generate", "local-chat-completions", server, "/v1/chat/completions", **options)
    assert [s["resps"][0][0] for s in samples] == [plain_answer(server, item["question"], chat=True) for item in ITEMS]


@pytest.fixture(scope="module")
def tokenizer_path(default_model, tmp_path_factory):
    """What lm-eval counts tokens with, made from the model file."""
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer = transformers.AutoTokenizer.from_pretrained(default_model.parent, gguf_file=default_model.name)
    tokenizer.save_pretrained(folder)
    return folder


def score(model, ids):
    done = subprocess.run([PUNA, "score", "--ids", "--json", model], input=" ".join(map(str, ids)), text=True,
                          capture_output=True, check=True)
    return [t["logprob"] for t in json.loads(done.stdout)["tokens"]]


@pytest.mark.parametrize("options", [{}, {"tokenized_requests": False}, {"batch_size": 4}, {"num_concurrent": 4}])
def test_choices_are_weighed(tasks, server, default_model, tokenizer_path, options):
    result, samples = evaluate(tasks, "tiny_choose", "local-completions", server, "/v1/completions",
                               tokenizer=str(tokenizer_path), tokenizer_backend="huggingface", **options)
    right = 0
    for item, sample in zip(ITEMS, samples, strict=True):
        n_context = len(server.post("/tokenize", {"content": item["question"]})["tokens"])
        sums = []
        for choice, ((found, _greedy),) in zip(item["choices"], sample["resps"], strict=True):
            ids = server.post("/tokenize", {"content": item["question"] + choice})["tokens"]
            sums.append(math.fsum(score(default_model, ids)[n_context:]))
            assert math.isclose(float(found), sums[-1], abs_tol=1e-3)
        right += sums.index(max(sums)) == item["answer"]
    assert result["acc,none"] == right / len(ITEMS)


if __name__ == "__main__":
    sys.exit(pytest.main(["-q", "-rs", "-p", "no:cacheprovider", __file__]))

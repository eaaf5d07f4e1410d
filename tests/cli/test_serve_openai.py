"""`puna serve` as the official Python client meets it. Texts come from the default model, whose greedy
answers are the same every time; what is computed by hand comes from a model of zero weights, to which
all of its 95 tokens are equally probable, so that the first one is the greedy choice."""
import asyncio
import concurrent.futures
import contextlib
import json
import math
import subprocess

import openai
import pytest

from gguf_file import BOOL, I32, LLAMA_TOKENS, STRING, U32, llama
from puna_server import PUNA, serving, wait_until

MODEL = "SmolLM2-135M-Instruct.Q4_1"
HELLO = [{"role": "user", "content": "Tell me about llamas."}]
N = len(LLAMA_TOKENS)


@pytest.fixture(scope="module")
def server():
    with serving("-c", 1024, "--alias", "meta-llama/llama-3.3-70b-instruct") as s:
        yield s


@pytest.fixture(scope="module")
def uniform_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("openai") / "uniform.gguf"
    path.write_bytes(llama())
    return path


@pytest.fixture(scope="module")
def uniform(uniform_path):
    with serving(uniform_path) as s:
        yield client_of(s)


def client_of(server, prefix="/v1", **options):
    return openai.OpenAI(base_url=server.url + prefix, api_key="none", **({"max_retries": 0, "timeout": 120} | options))


@pytest.fixture(scope="module")
def client(server):
    return client_of(server)


def chat(client, messages=HELLO, **options):
    return client.chat.completions.create(
        **({"model": MODEL, "messages": messages, "temperature": 0, "max_tokens": 24} | options))


def complete(client, prompt, **options):
    """Of the uniform model unless another is named."""
    return client.completions.create(**({"model": "uniform", "prompt": prompt, "temperature": 0} | options))


def joined(stream):
    """{index: (text, finish_reason, entries of logprobs)} and the usage of a chat's stream."""
    texts, finishes, entries, usages, ids = {}, {}, {}, [], set()
    for chunk in stream:
        ids.add((chunk.id, chunk.created, chunk.model, chunk.system_fingerprint))
        if chunk.usage is not None:
            assert chunk.choices == []
            usages.append(chunk.usage)
        for c in chunk.choices:
            assert c.index not in finishes and not usages
            assert (c.delta.role == "assistant") == (c.index not in texts)
            texts[c.index] = texts.get(c.index, "") + (c.delta.content or "")
            if c.logprobs is not None:
                entries.setdefault(c.index, []).extend(c.logprobs.content)
            if c.finish_reason is not None:
                finishes[c.index] = c.finish_reason
    assert len(ids) == 1 and texts.keys() == finishes.keys() and len(usages) <= 1
    return {i: (texts[i], finishes[i], entries.get(i)) for i in texts}, usages[0] if usages else None


def parts(answer):
    """What joined() gives of the stream."""
    return {c.index: (c.message.content, c.finish_reason, c.logprobs.content if c.logprobs else None)
            for c in answer.choices}


# --- chats

@pytest.fixture(scope="module")
def greedy(client):
    return chat(client, max_tokens=48, logprobs=True, top_logprobs=3, extra_body={"cache_salt": "g"}).choices[0]


@pytest.mark.parametrize("options", [
    {}, {"temperature": 1, "seed": 7, "n": 3}, {"logprobs": True, "top_logprobs": 2},
    {"temperature": 1, "seed": -1, "n": 2, "logprobs": True}, {"max_tokens": 1}, {"stop": [" a", "ll"]},
    {"messages": [{"role": "user", "content": "Write \U0001f999 \u4e2d\u6587 \u00e9 again and again: \U0001f999 \u4e2d\u6587"}]},
])
def test_the_deltas_of_a_stream_are_the_whole_answer(client, options):
    whole = chat(client, **options)
    streamed, usage = joined(chat(client, stream=True, stream_options={"include_usage": True}, **options))
    assert streamed == parts(whole) and len(streamed) == options.get("n", 1)
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (
        whole.usage.prompt_tokens, whole.usage.completion_tokens, whole.usage.total_tokens)


def test_usage_comes_in_a_stream_when_it_is_asked_for_and_then_once(client):
    assert joined(chat(client, stream=True))[1] is None
    chunks = list(chat(client, stream=True, stream_options={"include_usage": True}))
    assert [c.usage is not None for c in chunks] == [False] * (len(chunks) - 1) + [True]
    assert all("usage" in c.model_fields_set for c in chunks)
    assert chunks[-1].usage.prompt_tokens_details.cached_tokens <= chunks[-1].usage.prompt_tokens


def test_the_helpers_of_the_client_gather_a_stream(client, greedy):
    stop = greedy.message.content[-8:]  # the helpers refuse what was cut by max_tokens
    with client.chat.completions.stream(model=MODEL, messages=HELLO, temperature=0, max_tokens=48, stop=stop) as stream:
        deltas = [e.delta for e in stream if e.type == "content.delta"]
        final = stream.get_final_completion()
    assert "".join(deltas) == final.choices[0].message.content == greedy.message.content.partition(stop)[0]
    assert final.choices[0].message.role == "assistant"


@pytest.mark.parametrize("prefix", ["/v1", "/v3/openai", "/openai/v1"])
def test_every_prefix_and_name_answers_alike(server, greedy, prefix):
    answer = chat(client_of(server, prefix), model="meta-llama/llama-3.3-70b-instruct", max_tokens=48)
    assert answer.choices[0].message.content == greedy.message.content


def test_the_asynchronous_client_asks_much_at_once(server, greedy):
    async def ask():
        async with openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as client:
            return await asyncio.gather(*(client.chat.completions.create(
                model=MODEL, messages=HELLO, temperature=0, max_tokens=48) for _ in range(12)))
    assert {a.choices[0].message.content for a in asyncio.run(ask())} == {greedy.message.content}


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_an_answer_is_as_long_as_allowed(client, greedy, name):
    answer = client.chat.completions.create(model=MODEL, messages=HELLO, temperature=0, **{name: 5})
    assert (answer.usage.completion_tokens, answer.choices[0].finish_reason) == (5, "length")
    assert answer.choices[0].message.content == "".join(t.token for t in greedy.logprobs.content[:5])


def test_roles_parts_and_names_are_taken(client):
    parts_of_it = [{"type": "text", "text": "Tell me"}, {"type": "text", "text": "about llamas."}]  # lines
    whole = chat(client, [{"role": "system", "content": "Be brief."},
                          {"role": "user", "content": "Tell me\nabout llamas."}])
    split = chat(client, [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts_of_it}],
                 user="u", metadata={"a": "b"}, store=False)
    assert parts(split) == parts(whole)


def test_what_a_tool_answered_is_read(client, server):
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    told = HELLO + [{"role": "assistant", "content": "I ask.", "tool_calls": [call]},
                    {"role": "tool", "tool_call_id": "call_1", "content": "Llamas <|im_end|> hum."}]
    answer = chat(client, told, extra_body={"strict": True})
    rendered = server.post("/apply-template", {"messages": told})
    assert rendered["prompt"].endswith("<|im_start|>tool\nLlamas <|im_end|> hum.<|im_end|>\n<|im_start|>assistant\n")
    assert answer.usage.prompt_tokens == len(rendered["tokens"])
    (end,) = server.post("/tokenize", {"content": "<|im_end|>", "parse_special": True})["tokens"]
    assert rendered["tokens"].count(end) == len(told) + 1  # the default system message's


def test_llama_2_has_no_place_for_what_a_tool_answered(tmp_path):
    tokens = [*LLAMA_TOKENS, "<s>", "</s>"]
    path = tmp_path / "llama2.gguf"
    path.write_bytes(llama(rows=N + 2, ggml__tokens=(STRING, tokens), ggml__token_type=(I32, [1] * N + [3, 3]),
                           ggml__bos_token_id=(U32, N), ggml__eos_token_id=(U32, N + 1)))
    with serving(path, "--chat-template", "llama2") as s:
        told = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "c", "function_call": {"name": "f", "arguments": "{}"}},
                {"role": "function", "name": "f", "content": "b"}]
        assert chat(client_of(s), told[:1], model="llama2", max_tokens=1).usage.prompt_tokens > 1
        with pytest.raises(openai.BadRequestError, match="user and assistant must take turns, but turn 3 is from tool") as e:
            chat(client_of(s), told, model="llama2")
        assert e.value.param == "messages"


def test_a_stop_string_across_tokens_is_never_seen(client, greedy):
    text = greedy.message.content
    ends = [len("".join(t.token for t in greedy.logprobs.content[:i])) for i in range(4, 40, 5)]
    for end in ends:
        stop = text[end - 2:end + 2]  # the end of a token and the beginning of the next
        options = {"stop": ["never there", stop], "max_tokens": 48}
        expected = {0: (text[:text.index(stop)], "stop", None)}
        assert parts(chat(client, **options)) == joined(chat(client, stream=True, **options))[0] == expected


def test_a_stop_string_that_does_not_come_is_given_back_at_the_end(client, greedy):
    text = "".join(t.token for t in greedy.logprobs.content[:9])
    stop = text[-3:] + "\0"
    assert joined(chat(client, stream=True, max_tokens=9, stop=stop))[0] == {0: (text, "length", None)}


def test_logprobs_give_no_stop_string_away(client, greedy):
    """A token that the stop string cuts is not told."""
    for at in range(10, 40, 3):
        stop = greedy.message.content[at:at + 4]
        (choice,) = chat(client, stop=stop, max_tokens=48, logprobs=True).choices
        tokens = [t.token for t in choice.logprobs.content]
        n = len(tokens)
        assert choice.message.content.startswith("".join(tokens)) and tokens == [
            t.token for t in greedy.logprobs.content[:n]]
        assert len("".join(tokens) + greedy.logprobs.content[n].token) > len(choice.message.content)


def test_a_seed_gives_the_same_answer_and_no_seed_another(client):
    def texts(**options):
        return [c.message.content for c in chat(client, temperature=1, n=2, **options).choices]
    assert texts(seed=5) == texts(seed=5)
    assert texts(seed=5)[0] != texts(seed=5)[1] and texts(seed=5) != texts(seed=6)
    assert texts() != texts()


def test_logprobs_are_those_of_puna_score(server, greedy):
    prompt = server.post("/apply-template", {"messages": HELLO})["tokens"]
    answer = server.post("/tokenize", {"content": greedy.message.content})["tokens"]
    entries = greedy.logprobs.content
    assert len(answer) == len(entries)
    done = subprocess.run([PUNA, "score", "--ids", "--json", "--top", "3"], capture_output=True, check=True,
                          input=" ".join(map(str, prompt + answer)).encode())
    scored = json.loads(done.stdout)["tokens"][-len(answer):]
    for entry, token in zip(entries, scored):
        assert entry.logprob == token["logprob"]
        assert bytes(entry.bytes).decode() == entry.token == token["piece"]
        assert [t.logprob for t in entry.top_logprobs] == [t["logprob"] for t in token["top"]]
        assert entry.top_logprobs[0].logprob == entry.logprob  # greedy


def test_a_token_that_is_banned_is_not_chosen(client, server, greedy):
    first = greedy.logprobs.content[0]
    (token,) = server.post("/tokenize", {"content": first.token})["tokens"]
    (other,) = chat(client, max_tokens=1, logit_bias={token: -100}).choices
    assert other.message.content == greedy.logprobs.content[0].top_logprobs[1].token
    (only,) = chat(client, max_tokens=3, logit_bias={token: 100}).choices
    assert only.message.content == 3 * first.token


# --- completions, computed by hand

def texts(answer):
    return [c.text for c in answer.choices]


def test_penalties_and_biases_add_up_as_they_should(uniform):
    assert texts(complete(uniform, "a", max_tokens=4)) == ["!!!!"]
    assert texts(complete(uniform, "a", max_tokens=6, presence_penalty=1)) == ["!\"#$%&"]
    assert texts(complete(uniform, "a", max_tokens=3, presence_penalty=-1, logit_bias={2: 0.5})) == ["###"]
    # 0.5, 0.3, 0.1, then below the 0 of the others, which are punished one after the other.
    assert texts(complete(uniform, "a", max_tokens=6, frequency_penalty=0.2, logit_bias={5: 0.5})) == ["&&&!\"#"]
    assert texts(complete(uniform, "&&&", max_tokens=1, frequency_penalty=2, logit_bias={5: 0.5})) == ["&"]


def test_logprobs_of_a_completion(uniform):
    (choice,) = complete(uniform, "ab", max_tokens=3, logprobs=2, logit_bias={7: 1}).choices
    told = choice.logprobs
    assert (choice.text, told.tokens, told.text_offset) == ("(((", ["("] * 3, [0, 1, 2])
    assert told.token_logprobs == pytest.approx([-math.log(N)] * 3)  # the model's, not the sampler's
    assert all(top.keys() == {"!", "\"", "("} for top in told.top_logprobs)
    assert all(v == pytest.approx(-math.log(N)) for top in told.top_logprobs for v in top.values())


def test_prompts_of_every_form(uniform):
    answer = complete(uniform, ["ab", "c", "d"], n=2, max_tokens=2, temperature=1, seed=3)
    assert [c.index for c in answer.choices] == list(range(6)) and answer.usage.prompt_tokens == 4
    assert answer.usage.completion_tokens == 12
    for i, prompt in enumerate(["ab", "c", "d"]):
        alone = complete(uniform, prompt, n=2, max_tokens=2, temperature=1, seed=3)
        assert texts(alone) == texts(answer)[2 * i:2 * i + 2]
    for prompt in ([64, 65], [[64, 65]], ["ab"], "ab"):
        answer = complete(uniform, prompt, max_tokens=2, echo=True)
        assert (texts(answer), answer.usage.prompt_tokens) == (["ab!!"], 2)


def test_echo_alone(uniform):
    answer = complete(uniform, ["ab", "c"], max_tokens=0, echo=True)
    assert [(c.text, c.finish_reason) for c in answer.choices] == [("ab", "length"), ("c", "length")]
    streamed = list(complete(uniform, "ab", max_tokens=3, echo=True, stream=True))
    assert "".join(c.choices[0].text for c in streamed) == "ab!!!"
    assert [c.choices[0].finish_reason for c in streamed][-1] == "length"


def test_the_best_of_some_is_the_likeliest(server, client):
    options = {"model": MODEL, "prompt": "The llama", "temperature": 1, "seed": 11, "max_tokens": 6, "logprobs": 0}
    choices = complete(client, n=5, **options).choices
    means = [sum(c.logprobs.token_logprobs) / len(c.logprobs.token_logprobs) for c in choices]
    ranked = [c.text for _, c in sorted(zip(means, choices), key=lambda pair: -pair[0])]
    best = complete(client, n=2, best_of=5, **options)
    assert texts(best) == ranked[:2] and best.usage.completion_tokens == sum(len(c.logprobs.tokens) for c in choices)
    assert texts(complete(client, best_of=5, **options | {"logprobs": None})) == ranked[:1]


def test_ends_can_be_held_back(tmp_path):
    path = tmp_path / "uniform.gguf"
    path.write_bytes(llama(ggml__eos_token_id=(U32, 0)))
    with serving(path) as s:
        client = client_of(s)

        def told(**options):
            (choice,) = complete(client, "a", max_tokens=4, **options).choices
            return choice.text, choice.finish_reason
        assert told() == ("", "stop")
        assert told(extra_body={"min_tokens": 2}) == ("\"\"", "stop")
        assert told(extra_body={"ignore_eos": True})[1] == "length"
        assert told(extra_body={"stop_token_ids": [3]}, logit_bias={3: 5}) == ("", "stop")
        many = list(range(3, 67))  # and the model's own: all of them are held back
        assert told(extra_body={"min_tokens": 2, "stop_token_ids": many}, logit_bias={66: 5}) == ('""', "stop")
        assert told(stop=['"'], extra_body={"min_tokens": 2}) == ('""', "stop")
        held = complete(client, "a", max_tokens=6, logit_bias={3: 5}, extra_body={
            "min_tokens": 4, "ignore_eos": True, "stop_token_ids": [3]})
        assert (held.usage.completion_tokens, held.choices[0].finish_reason) == (5, "stop")


@pytest.fixture
def with_bos(tmp_path):
    """Llama 3's first special tokens behind the usual ones, of a model that wants BOS in front."""
    names = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    path = tmp_path / "bos.gguf"
    path.write_bytes(llama(
        rows=N + 5, ggml__tokens=(STRING, [*LLAMA_TOKENS, "\u010a", *names]), ggml__token_type=(I32, [1] * (N + 1) + [3] * 4),
        ggml__bos_token_id=(U32, N + 1), ggml__eos_token_id=(U32, N + 4), ggml__add_bos_token=(BOOL, True),
        llama__context_length=(U32, 256), tokenizer__chat_template=(STRING, "{{ bos_token }}<|start_header_id|>{{ messages[0].content }}<|eot_id|>")))
    with serving(path) as s:
        yield s, N + 1


def test_a_prompt_begins_with_one_bos_whoever_wrote_it(with_bos):
    """In chats the template writes it, in completions the tokenizer does or a client's own template did."""
    s, bos = with_bos
    ids = s.post("/apply-template", {"messages": HELLO})["tokens"]
    assert ids[0] == bos and ids.count(bos) == 1
    asked = {"model": "bos", "max_tokens": 1, "echo": True, "logprobs": 0}

    def prompt(text):
        answer = s.post("/v1/completions", asked | {"prompt": text})
        logprobs = answer["choices"][0]["logprobs"]
        assert answer["choices"][0]["text"].startswith("" if isinstance(text, list) else text)
        n = answer["usage"]["prompt_tokens"]
        return logprobs["tokens"][:n], logprobs["text_offset"][:n]
    name = "<|begin_of_text|>"
    assert prompt("ab") == ([name, "a", "b"], [0, 0, 1])
    assert prompt(name + "ab") == ([name, "a", "b"], [0, len(name), len(name) + 1])
    assert prompt(name) == ([name], [0])
    assert prompt(2 * name + "a")[0] == [name, name, "a"]  # as it was written
    assert prompt([bos, bos, 64])[0] == [name, name, "a"]


def test_a_stream_of_completions_is_the_whole_answer(client):
    options = {"model": MODEL, "prompt": ["The llama", "A hat"], "n": 2, "temperature": 1, "seed": 1, "max_tokens": 8,
               "logprobs": 1}
    whole = complete(client, **options)
    gathered = {c.index: ["", None, [], []] for c in whole.choices}
    for chunk in complete(client, stream=True, **options):
        for c in chunk.choices:
            g = gathered[c.index]
            g[0], g[1] = g[0] + c.text, c.finish_reason
            if c.logprobs:
                g[2] += c.logprobs.token_logprobs
                g[3] += c.logprobs.text_offset
    assert gathered == {c.index: [c.text, c.finish_reason, c.logprobs.token_logprobs, c.logprobs.text_offset]
                        for c in whole.choices}


# --- responses, time

def test_raw_responses_have_their_headers(client):
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=HELLO, max_tokens=1)
    assert raw.headers["content-type"] == "application/json" and int(raw.headers["openai-processing-ms"]) >= 0
    parsed = raw.parse()
    assert parsed._request_id == raw.headers["x-request-id"] == raw.request_id
    assert parsed.system_fingerprint.startswith("fp_") and parsed.model == MODEL
    with client.chat.completions.with_streaming_response.create(
            model=MODEL, messages=HELLO, max_tokens=2, temperature=0, stream=True) as streamed:
        assert streamed.headers["content-type"].startswith("text/event-stream")
        assert streamed.headers["x-request-id"] != raw.headers["x-request-id"]
        lines = [line for line in streamed.iter_lines() if line]
    assert all(line.startswith("data: ") for line in lines) and lines[-1] == "data: [DONE]"


def test_models_are_listed_and_found(client):
    names = [m.id for m in client.models.list()]
    assert names == [MODEL, "meta-llama/llama-3.3-70b-instruct"]
    assert [client.models.retrieve(name).id for name in names] == names


def test_a_client_that_runs_out_of_time_is_not_computed_for(server):
    client = client_of(server, timeout=0.3)
    with pytest.raises(openai.APITimeoutError):
        chat(client, max_tokens=900, extra_body={"ignore_eos": True})
    wait_until(server.is_idle)


# --- errors

def refusal(kind, call, *args, **options):
    with pytest.raises(kind) as caught:
        call(*args, **options)
    error = caught.value
    assert type(error) is kind and error.body.keys() == {"message", "type", "param", "code"}
    return error


BAD_CHATS = [
    ({"temperature": "hot"}, "temperature", "invalid_type"),
    ({"temperature": 2.5}, "temperature", "invalid_value"),
    ({"top_p": -1}, "top_p", "invalid_value"),
    ({"n": 129}, "n", "invalid_value"),
    ({"n": 1.5}, "n", "invalid_type"),
    ({"frobnicate": 1}, "frobnicate", "unknown_parameter"),
    ({"messages": []}, "messages", "invalid_value"),
    ({"messages": "Hello"}, "messages", "invalid_type"),
    ({"messages": [{"role": "wizard", "content": "a"}]}, "messages[0].role", "invalid_value"),
    ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]},
     "messages[0].content[0].type", "unsupported_value"),
    ({"model": None}, "model", "missing_required_parameter"),
    ({"stop": ["a"] * 5}, "stop", "invalid_value"),
    ({"stop": ""}, "stop", "invalid_value"),
    ({"logit_bias": {"49152": 1}}, "logit_bias.49152", "invalid_value"),
    ({"logit_bias": {"1": 101}}, "logit_bias.1", "invalid_value"),
    ({"top_logprobs": 2}, "top_logprobs", "invalid_value"),
    ({"top_logprobs": 21, "logprobs": True}, "top_logprobs", "invalid_value"),
    ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
    ({"min_tokens": 9, "max_tokens": 3}, "min_tokens", "invalid_value"),
    ({"tools": [{"type": "function", "function": {"name": "f", "strict": "yes"}}]}, "tools[0].function.strict", "invalid_type"),
    ({"tool_choice": "auto"}, "tool_choice", "invalid_value"),
    ({"response_format": {"type": "json"}}, "response_format.type", "invalid_value"),
    ({"response_format": {"type": "json_object"}, "ignore_eos": True}, "ignore_eos", "invalid_value"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"minimun": 1}}}}, "response_format.json_schema.schema",
     "unsupported_value"),
    ({"store": True}, "store", "unsupported_value"),
    ({"max_tokens": 0}, "max_tokens", "invalid_value"),
    ({"seed": 2**63}, None, None),  # jansson refuses the number: the body is no JSON to it
    ({"verbosity": "low", "strict": True}, "verbosity", "unsupported_parameter"),
]


@pytest.mark.parametrize("change, param, code", BAD_CHATS, ids=[json.dumps(c)[:50] for c, _, _ in BAD_CHATS])
@pytest.mark.parametrize("stream", [False, True])
def test_bad_requests_are_named(client, change, param, code, stream):
    if stream and "stream_options" in change:
        pytest.skip("allowed with stream")
    error = refusal(openai.BadRequestError, chat, client, max_tokens=2, stream=stream, extra_body=change)
    assert (error.status_code, error.type, error.param, error.code) == (400, "invalid_request_error", param, code)
    assert error.request_id.startswith("req_") and (param is None or param in error.message)


def test_what_has_no_effect_is_a_warning(client):
    answer = chat(client, max_tokens=1, verbosity="low")
    assert [w["param"] for w in answer.warnings] == ["verbosity"]
    first = next(iter(chat(client, max_tokens=1, verbosity="low", stream=True)))
    assert [w["param"] for w in first.warnings] == ["verbosity"]


def test_bytes_without_a_token_are_a_warning_and_an_error_when_strict(client, server, uniform):
    """As `puna run` and `puna score` warn of them; of turns that are dropped they do not count."""
    told = [{"param": "messages", "message": "has 2 bytes that the vocabulary has no token for: left out"}]
    odd = [{"role": "user", "content": "a \4 llama\4"}]
    answer = chat(client, odd, max_tokens=1)
    assert answer.warnings == told and answer.usage.prompt_tokens == chat(
        client, [{"role": "user", "content": "a  llama"}], max_tokens=1).usage.prompt_tokens
    assert next(iter(chat(client, odd, max_tokens=1, stream=True))).warnings == told
    assert server.post("/apply-template", {"messages": odd})["warnings"] == told
    assert chat(client, odd + turns(20) + odd, max_tokens=8, extra_body={"truncation": "auto"}).warnings == told
    assert "warnings" not in server.post("/apply-template", {"messages": HELLO})
    error = refusal(openai.BadRequestError, chat, client, odd, extra_body={"strict": True})
    assert error.param == "messages" and "2 bytes" in error.message
    (warning,) = complete(uniform, ["a\1b", "c", "\1d\1"], max_tokens=1).warnings
    assert warning == {"param": "prompt", "message": "has 3 bytes that the vocabulary has no token for: left out"}
    told = [{"param": "content", "message": "has 2 bytes that the vocabulary has no token for: left out"}]
    for pieces in (False, True):
        assert server.post("/v1/tokenize", {"content": ["a\4", 1, "\4"], "with_pieces": pieces})["warnings"] == told
        assert "warnings" not in server.post("/v1/tokenize", {"content": "a", "with_pieces": pieces})
    told = [{"param": "input", "message": "has 1 byte that the vocabulary has no token for: left out"}]
    answer = client.embeddings.create(model=MODEL, input=["a\4", "b"])
    assert answer.warnings == told and answer.data[0].embedding == client.embeddings.create(
        model=MODEL, input="a").data[0].embedding
    error = refusal(openai.BadRequestError, client.embeddings.create, model=MODEL, input="a\4",
                    extra_body={"strict": True})
    assert error.param == "input" and "1 byte" in error.message


def test_bad_completions_are_named(uniform):
    for change, param, code in [({"suffix": "x"}, "suffix", "unsupported_parameter"),
                                ({"prompt": [95]}, "prompt[0]", "invalid_value"),
                                ({"best_of": 1, "n": 2}, "best_of", "invalid_value"),
                                ({"logprobs": 6}, "logprobs", "invalid_value"),
                                ({"prompt": ""}, "prompt", "invalid_value"),  # no token begins a text
                                ({"messages": HELLO}, "messages", "unknown_parameter")]:
        error = refusal(openai.BadRequestError, complete, uniform, "a", extra_body=change)
        assert (error.param, error.code) == (param, code)


def test_a_model_without_a_template_cannot_chat(uniform):
    assert "template" in refusal(openai.BadRequestError, chat, uniform, model="uniform").message


@pytest.mark.parametrize("body", ["", "{", "[]", "1", '{"model":"a","model":"b"}', b'{"model":"\xff"}', "[" * 100000])
def test_what_is_no_json_object_is_refused(server, body):
    status, document = server.ask("POST", "/v1/chat/completions", body)
    assert status == 400 and document["error"]["type"] == "invalid_request_error"


def test_errors_have_the_classes_of_their_status(client, server):
    error = refusal(openai.NotFoundError, chat, client, model="gpt-4o")
    assert (error.param, error.code) == ("model", "model_not_found") and "gpt-4o" in error.message
    assert refusal(openai.NotFoundError, client.models.retrieve, "a/b").code == "model_not_found"
    assert refusal(openai.NotFoundError, client.get, "/nope", cast_to=object).code == "unknown_url"
    error = refusal(openai.APIStatusError, client.get, "/chat/completions", cast_to=object)
    assert error.status_code == 405 and "POST" in error.response.headers["allow"]
    error = refusal(openai.APIStatusError, chat, client, [{"role": "user", "content": "x" * (17 << 20)}])
    assert (error.status_code, error.type) == (413, "invalid_request_error")
    wait_until(server.is_idle)


# --- a context that is too short

def turns(n):
    return [{"role": "system", "content": "Be brief."}] + [
        {"role": role, "content": f"{role} {i} " + "word " * 40} for i in range(n) for role in ("user", "assistant")
    ] + [{"role": "user", "content": "Go on."}]


def test_a_prompt_that_is_too_long_is_the_same_error_in_a_stream(client):
    errors = [refusal(openai.BadRequestError, chat, client, turns(20), stream=stream) for stream in (False, True)]
    assert errors[0].body == errors[1].body
    assert (errors[0].code, errors[0].param) == ("context_length_exceeded", "messages")
    assert errors[0].message.count("This model's maximum context length is 1024 tokens. However, ") == 1
    assert errors[0].message.endswith("(context_length_exceeded)")
    assert refusal(openai.BadRequestError, chat, client, max_tokens=1024).code == "context_length_exceeded"


def test_what_cannot_fit_is_refused_before_it_is_tokenised(client, server, uniform):
    long = [{"role": "user", "content": "word " * (1 << 20)}]
    error = refusal(openai.BadRequestError, chat, client, long)
    assert (error.code, error.param) == ("context_length_exceeded", "messages")
    assert "1024 tokens. However, your messages resulted in at least " in error.message
    error = refusal(openai.BadRequestError, complete, uniform, ["a", "b" * 100])
    assert (error.code, error.param) == ("context_length_exceeded", "prompt[1]")
    assert "64 tokens. However, your prompt resulted in at least 100 tokens" in error.message
    assert len(server.post("/tokenize", {"content": "word " * 4096})["tokens"]) > 4096


def test_turns_are_dropped_when_that_is_asked_for_and_said(client, server):
    answer = chat(client, turns(20), max_tokens=8, extra_body={"truncation": "auto"})
    report = answer.truncation
    dropped = report["dropped_messages"]
    assert dropped % 2 == 0 and report["first_dropped_message"] == 1
    kept = turns(20)[:1] + turns(20)[1 + dropped:]
    assert parts(chat(client, kept, max_tokens=8)) == parts(answer)
    n_tokens = [len(server.post("/apply-template", {"messages": m})["tokens"]) for m in (turns(20), kept)]
    assert (n_tokens[0] - n_tokens[1], answer.usage.prompt_tokens) == (report["dropped_tokens"], n_tokens[1])
    one_less = turns(20)[:1] + turns(20)[dropped - 1:]
    assert refusal(openai.BadRequestError, chat, client, one_less, max_tokens=8).code == "context_length_exceeded"
    first = next(iter(chat(client, turns(20), max_tokens=8, stream=True, extra_body={"truncation": "auto"})))
    assert first.truncation == report
    assert not hasattr(chat(client, turns(1), max_tokens=1, extra_body={"truncation": "auto"}), "truncation")


def test_no_more_turns_are_dropped_than_must_be(server):
    """Held against a walk that drops one turn after the other."""
    chats = [turns(20), turns(20)[1:], turns(20)[2:], turns(3) + turns(12), turns(20) + [{"role": "assistant", "content": "I "}]]
    for messages in chats:
        n_system = next(i for i, m in enumerate(messages) if m["role"] != "system")
        starts = [i for i, m in enumerate(messages) if m["role"] == "user" and i > n_system]
        ways = [messages] + [messages[:n_system] + messages[i:] for i in starts]
        sizes = [len(server.post("/apply-template", {"messages": m})["tokens"]) for m in ways]
        for room in {sizes[1], sizes[1] - 1, sizes[-2], sizes[-2] - 1, sizes[-1], 1000, 777, 500} - {0}:
            if sizes[-1] <= room < 1024:
                answer = server.post("/v1/chat/completions", {
                    "model": MODEL, "messages": messages, "max_tokens": 1024 - room, "truncation": "auto", "stop": ["e", "a", "o", " "]})
                n = next(i for i, size in enumerate(sizes) if size <= room)
                report = n and {"dropped_messages": len(messages) - len(ways[n]), "dropped_tokens": sizes[0] - sizes[n],
                                "first_dropped_message": n_system}
                assert answer["usage"]["prompt_tokens"] == sizes[n] and answer.get("truncation", 0) == report


def test_an_eighth_of_the_context_is_kept_free_for_the_answer(server):
    asked = {"model": MODEL, "messages": turns(20), "truncation": "auto", "stop": ["e", "a", "o", " "]}
    answer = server.post("/v1/chat/completions", asked)
    assert answer["usage"]["prompt_tokens"] == server.post(
        "/v1/chat/completions", asked | {"max_tokens": 128})["usage"]["prompt_tokens"] <= 896
    barely = [{"role": "user", "content": "word " * 950}]  # nothing can be dropped, and it fits
    assert server.post("/v1/chat/completions", asked | {"messages": barely})["usage"]["prompt_tokens"] > 900


def test_two_thousand_turns_can_be_dropped(server):
    """One by one that would be thousands of millions of bytes to tokenise."""
    many = [{"role": role, "content": "a word " * 150} for _ in range(2000) for role in ("user", "assistant")] + HELLO
    answer = server.post("/v1/chat/completions", {"model": MODEL, "messages": many, "max_tokens": 8, "truncation": "auto"})
    assert answer["truncation"]["dropped_messages"] > 3990
    assert answer["usage"]["prompt_tokens"] <= 1016


def test_what_cannot_be_cut_is_an_error_though_it_may_be(client):
    error = refusal(openai.BadRequestError, chat, client, [{"role": "user", "content": "word " * 2000}],
                    extra_body={"truncation": "auto"})
    assert error.code == "context_length_exceeded"


def test_an_answer_that_would_be_too_large_is_refused_or_ends_sooner():
    much = {"model": MODEL, "messages": HELLO, "n": 16, "logprobs": True, "top_logprobs": 20, "stop": ["a", "e", "o", " "]}
    with serving("-c", 8192) as s:
        assert len(s.post("/v1/chat/completions", much)["choices"]) == 16
        status, document = s.ask("POST", "/v1/chat/completions", much | {"max_tokens": 4000})
        assert (status, document["error"]["param"]) == (400, "max_tokens")
        assert all(number in document["error"]["message"] for number in ("16 choices", "21 tokens", "130048000", "67108864"))
        assert s.ask("POST", "/v1/chat/completions", much | {"max_tokens": 4000, "stream": True})[0] == 200


# --- a queue that is full

def test_who_finds_the_queue_full_comes_again():
    with serving("--queue", 1, "--parallel", 1, "-c", 4096) as s, contextlib.ExitStack() as stack:
        client = client_of(s)
        running = stack.enter_context(chat(client, max_tokens=4000, stream=True, extra_body={"ignore_eos": True}))
        next(iter(running))
        wait_until(lambda: s.metric("puna_requests_running") == 1)
        waiting = stack.enter_context(chat(client, max_tokens=2, stream=True))
        wait_until(lambda: s.metric("puna_requests_waiting") == 1)
        for stream in (False, True):
            error = refusal(openai.RateLimitError, chat, client, stream=stream)
            assert (error.status_code, error.type, error.code) == (429, "rate_limit_exceeded", "rate_limit_exceeded")
            assert 1 <= int(error.response.headers["retry-after"]) <= 60
        with concurrent.futures.ThreadPoolExecutor() as pool:
            patient = pool.submit(chat, client_of(s, max_retries=8), max_tokens=2)
            running.close()
            assert joined(waiting)[0][0][1] == "length"
            assert patient.result().choices[0].finish_reason == "length"
        wait_until(s.is_idle)


# --- what is not OpenAI's

def test_texts_become_tokens_and_back(server):
    for text in ("", " a  b\n", "\U0001f999 \u4e2d\u6587\0\u00e9", "<|im_end|>"):
        tokens = server.post("/v1/tokenize", {"content": text})["tokens"]
        assert server.post("/detokenize", {"tokens": tokens}) == {"content": text}
    pieces = server.post("/tokenize", {"content": "Hello there", "with_pieces": True})["tokens"]
    assert "".join(p["piece"] for p in pieces) == "Hello there"


@pytest.mark.parametrize("path, body", [("/v1/tokenize", {"content": "a"}), ("/v1/detokenize", {"tokens": [1]}),
                                        ("/v1/apply-template", {"messages": [{"role": "user", "content": "a"}]})])
def test_a_model_named_beside_text_must_be_this_one(server, path, body):
    status, answer = server.ask("POST", path, body | {"model": "another"})
    assert (status, answer["error"]["code"], answer["error"]["param"]) == (404, "model_not_found", "model")
    assert server.post(path, body) == server.post(path, body | {"model": MODEL})


def test_a_template_takes_what_makes_a_prompt_and_nothing_else(server):
    for name, value in [("truncation", "auto"), ("max_tokens", 5), ("stream", True), ("temperature", 1)]:
        status, document = server.ask("POST", "/apply-template", {"messages": HELLO, name: value})
        assert (status, document["error"]["param"], document["error"]["code"]) == (400, name, "unknown_parameter")
    named = [HELLO[0] | {"name": "ada"}]
    assert [w["param"] for w in server.post("/apply-template", {"messages": named})["warnings"]] == ["messages[0].name"]
    assert server.ask("POST", "/apply-template", {"messages": named, "strict": True})[0] == 400
    assert "warnings" not in server.post("/apply-template", {"messages": HELLO, "strict": True})


def test_text_of_messages_never_becomes_control(server):
    ids = server.post("/apply-template", {"messages": [{"role": "user", "content": "<|im_end|>"}]})["tokens"]
    plain = server.post("/apply-template", {"messages": [{"role": "user", "content": "a"}]})["tokens"]
    (end,) = server.post("/tokenize", {"content": "<|im_end|>", "parse_special": True})["tokens"]
    assert ids.count(end) == plain.count(end)


def test_the_description_can_be_read(server):
    status, document = server.ask("GET", "/openapi.json")
    assert status == 200 and document["openapi"].startswith("3.1")
    assert {"/v1/chat/completions", "/v1/completions", "/v1/models"} <= document["paths"].keys()

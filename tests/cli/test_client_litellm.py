"""`puna serve` as LiteLLM meets it, by its provider for OpenAI's API at another address. What an answer
should be comes from the server itself by plain HTTP: the same request gets the same text."""
import asyncio
import os

import pytest

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # read at import: prices from the package, not the net
import litellm  # noqa: E402

from puna_server import serving, wait_until

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydantic", "ignore::DeprecationWarning:litellm")

MODEL = "SmolLM2-135M-Instruct.Q4_1"
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Tell me about llamas."}]
N_TOKENS = 32


@pytest.fixture(scope="module")
def server():
    with serving("-c", 1024) as s:
        yield s


def arguments(server, messages=MESSAGES, **options):
    return {"model": "openai/" + MODEL, "api_base": server.url + "/v1", "api_key": "none", "messages": messages,
            "temperature": 0, "max_tokens": N_TOKENS, "num_retries": 0, "timeout": 120} | options


def complete(server, messages=MESSAGES, **options):
    return litellm.completion(**arguments(server, messages, **options))


@pytest.fixture(scope="module")
def expected(server):
    """The answer as the server sends it."""
    return server.post("/v1/chat/completions", {"model": MODEL, "messages": MESSAGES, "temperature": 0,
                                                "max_tokens": N_TOKENS})


def text_of(answer):
    return answer.choices[0].message.content


def usage_of(usage):
    return {k: usage[k] for k in ("prompt_tokens", "completion_tokens", "total_tokens")}


def test_an_answer_comes_whole_with_usage(server, expected):
    answer = complete(server)
    assert text_of(answer) == expected["choices"][0]["message"]["content"]
    assert answer.choices[0].finish_reason == expected["choices"][0]["finish_reason"]
    assert answer.choices[0].message.role == "assistant" and not answer.choices[0].message.tool_calls
    assert usage_of(answer.usage) == usage_of(expected["usage"])
    assert answer.model.endswith(MODEL) and answer.id.startswith("chatcmpl-")


def test_a_stream_is_the_whole_answer_and_tells_usage(server, expected):
    chunks = list(complete(server, stream=True, stream_options={"include_usage": True}))
    assert sum(bool(c.choices and c.choices[0].delta.content) for c in chunks) > 5
    whole = litellm.stream_chunk_builder(chunks, messages=MESSAGES)
    assert text_of(whole) == expected["choices"][0]["message"]["content"]
    assert whole.choices[0].finish_reason == expected["choices"][0]["finish_reason"]
    # LiteLLM counts by a tokenizer of its own what no chunk tells.
    assert usage_of(whole.usage) == usage_of(expected["usage"])


def test_the_asynchronous_calls_are_the_others(server, expected):
    async def ask():
        whole, stream = await asyncio.gather(litellm.acompletion(**arguments(server)),
                                             litellm.acompletion(**arguments(server, stream=True)))
        return text_of(whole), "".join([c.choices[0].delta.content or "" async for c in stream])
    assert set(asyncio.run(ask())) == {expected["choices"][0]["message"]["content"]}


def test_batch_completion_answers_each_conversation(server):
    prompts = [[{"role": "user", "content": f"Count to {i}."}] for i in range(2, 6)]
    options = arguments(server)
    del options["messages"]
    together = litellm.batch_completion(messages=prompts, **options)
    assert [text_of(a) for a in together] == [text_of(complete(server, p)) for p in prompts]


def test_a_router_sends_to_the_server(server, expected):
    where = {k: v for k, v in arguments(server).items() if k in ("model", "api_base", "api_key")}
    router = litellm.Router([{"model_name": "llama", "litellm_params": where}], num_retries=0)
    answer = router.completion("llama", MESSAGES, temperature=0, max_tokens=N_TOKENS)
    assert text_of(answer) == expected["choices"][0]["message"]["content"]


def test_stop_seed_and_n_are_passed_on(server, expected):
    text = expected["choices"][0]["message"]["content"]
    stop = text[10:14]
    answer = complete(server, stop=[stop])
    assert (text_of(answer), answer.choices[0].finish_reason) == (text.partition(stop)[0], "stop")
    some = [complete(server, temperature=1, seed=seed, n=2) for seed in (3, 3, 4)]
    texts = [[c.message.content for c in a.choices] for a in some]
    assert texts[0] == texts[1] != texts[2] and texts[0][0] != texts[0][1]


def test_texts_go_on(server):
    options = {"model": "text-completion-openai/" + MODEL, "prompt": "Once upon a time", "temperature": 0,
               "api_base": server.url + "/v1", "api_key": "none", "max_tokens": N_TOKENS, "num_retries": 0}
    answer = litellm.text_completion(**options)
    assert answer.choices[0].text and answer.usage.completion_tokens <= N_TOKENS
    streamed = [c.choices[0].text or "" for c in litellm.text_completion(**options, stream=True)]
    assert "".join(streamed) == answer.choices[0].text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("change, kind, tells", [
    ({"temperature": 3}, litellm.BadRequestError, "temperature"),
    ({"model": "openai/gpt-4o-nowhere"}, litellm.NotFoundError, "gpt-4o-nowhere"),
    ({"messages": [{"role": "user", "content": "word " * 2000}]}, litellm.ContextWindowExceededError, "1024"),
    ({"max_tokens": 1024}, litellm.ContextWindowExceededError, "1024"),
])
def test_errors_become_the_classes_that_programs_catch(server, change, kind, tells, stream):
    with pytest.raises(kind) as caught:
        list(complete(server, stream=stream, **change))
    assert type(caught.value) is kind and tells in str(caught.value)
    assert caught.value.status_code == (404 if kind is litellm.NotFoundError else 400)


def test_a_full_queue_is_a_rate_limit():
    with serving("--queue", 1, "--parallel", 1, "-c", 4096) as s:
        running = complete(s, max_tokens=4000, stream=True, extra_body={"ignore_eos": True})
        next(running)
        wait_until(lambda: s.metric("puna_requests_running") == 1)
        waiting = complete(s, max_tokens=2, stream=True)
        wait_until(lambda: s.metric("puna_requests_waiting") == 1)
        with pytest.raises(litellm.RateLimitError) as caught:
            complete(s)
        assert caught.value.status_code == 429
        running.close()
        assert "".join(c.choices[0].delta.content or "" for c in waiting)
        assert s.metric("puna_generation_tokens_total") < 4000  # who leaves is not computed for

"""`puna serve` as LangChain's ChatOpenAI meets it. What an answer should be comes from the official client
that tests/cli/test_serve_openai.py tests: the same request gets the same text."""
import asyncio
import math

import openai
import pytest
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI

from puna_server import serving, wait_until
from scripted_model import ASKED, LAST_WORDS, WRITTEN, weather_loop

MODEL = "SmolLM2-135M-Instruct.Q4_1"
TURNS = [SystemMessage("Be brief."), HumanMessage("Hi!"), AIMessage("Hello."), HumanMessage("Tell me about llamas.")]
MESSAGES = [{"role": role, "content": m.content}
            for role, m in zip(["system", "user", "assistant", "user"], TURNS, strict=True)]
N_TOKENS = 32


@pytest.fixture(scope="module")
def server():
    with serving("-c", 1024) as s:
        yield s


def of(server, kind=ChatOpenAI, **options):
    """LangChain's model; its own tries again would hide an error."""
    return kind(**({"model": MODEL, "base_url": server.url + "/v1", "api_key": "none", "temperature": 0,
                    "max_tokens": N_TOKENS, "max_retries": 0, "timeout": 120} | options))


@pytest.fixture(scope="module")
def llm(server):
    return of(server)


@pytest.fixture(scope="module")
def expected(server):
    with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as client:
        return client.chat.completions.create(model=MODEL, messages=MESSAGES, temperature=0, max_tokens=N_TOKENS)


def usage_of(message):
    u = message.usage_metadata
    return u["input_tokens"], u["output_tokens"], u["total_tokens"]


def expected_usage(answer):
    return answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens


def test_invoke_gives_text_usage_and_metadata(llm, expected):
    message = llm.invoke(TURNS)
    assert message.content == expected.choices[0].message.content and message.tool_calls == []
    assert usage_of(message) == expected_usage(expected)
    assert message.response_metadata["finish_reason"] == expected.choices[0].finish_reason
    assert message.response_metadata["model_name"] == MODEL
    assert message.response_metadata["system_fingerprint"] == expected.system_fingerprint
    assert message.response_metadata["id"].startswith("chatcmpl-")


def test_the_chunks_of_stream_add_up_to_the_message(llm, expected):
    chunks = list(llm.stream(TURNS, stream_usage=True))
    assert sum(bool(c.content) for c in chunks) > 5
    message = sum(chunks[1:], chunks[0])
    assert message.content == expected.choices[0].message.content
    assert usage_of(message) == expected_usage(expected)
    assert message.response_metadata["finish_reason"] == expected.choices[0].finish_reason
    assert message.response_metadata["model_name"] == MODEL


def test_batch_answers_each_prompt_as_if_it_were_alone(llm):
    prompts = [f"Count to {i}." for i in range(2, 8)]
    together = llm.batch(prompts)
    assert [m.content for m in together] == [llm.invoke(p).content for p in prompts]
    assert len({m.content for m in together}) > 1


def test_the_asynchronous_calls_are_the_others(llm, expected):
    async def ask():
        chunks = [c async for c in llm.astream(TURNS)]
        return (await llm.ainvoke(TURNS)).content, "".join(c.content for c in chunks), await llm.abatch([TURNS] * 3)
    whole, streamed, batch = asyncio.run(ask())
    assert {whole, streamed, *(m.content for m in batch)} == {expected.choices[0].message.content}


def test_stop_ends_the_answer_whole_and_in_a_stream(llm, expected):
    text = expected.choices[0].message.content
    stop = text[10:14]
    message = llm.invoke(TURNS, stop=[stop])
    assert message.content == text.partition(stop)[0]
    assert message.response_metadata["finish_reason"] == "stop"
    assert "".join(c.content for c in llm.stream(TURNS, stop=[stop])) == message.content


def test_a_chain_of_template_model_and_parser(llm, expected):
    template = ChatPromptTemplate.from_messages([*TURNS[:-1], ("human", "Tell me about {what}.")])
    chain = template | llm | StrOutputParser()
    assert chain.invoke({"what": "llamas"}) == expected.choices[0].message.content
    assert "".join(chain.stream({"what": "llamas"})) == expected.choices[0].message.content


def test_several_generations_and_their_logprobs(server):
    llm = of(server, n=2, temperature=1, seed=5, logprobs=True, top_logprobs=2)
    (generations,) = llm.generate([TURNS]).generations
    assert len({g.text for g in generations}) == 2
    for g in generations:
        entries = g.message.response_metadata["logprobs"]["content"]
        assert b"".join(bytes(e["bytes"]) for e in entries).decode(errors="ignore").startswith(g.text)
        assert all(e["logprob"] <= 0 and len(e["top_logprobs"]) == 2 for e in entries)
        assert all(math.fsum(math.exp(t["logprob"]) for t in e["top_logprobs"]) <= 1 + 1e-6 for e in entries)


def test_parameters_reach_the_server(server):
    options = {"temperature": 0.8, "top_p": 0.9, "frequency_penalty": 0.5, "presence_penalty": 0.5, "seed": 3,
               "logit_bias": {"5": -1}, "extra_body": {"top_k": 40, "min_p": 0.05}}
    texts = [of(server, **options | change).invoke(TURNS).content for change in ({}, {}, {"seed": 4})]
    assert texts[0] == texts[1] != texts[2]


def test_the_model_for_texts_completes_and_streams(server):
    llm = of(server, OpenAI)
    text = llm.invoke("Once upon a time")
    assert text and "".join(llm.stream("Once upon a time")) == text
    together = llm.generate(["Once upon a time", "There was"])
    assert [g[0].text for g in together.generations] == [text, llm.invoke("There was")]
    usage = together.llm_output["token_usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["completion_tokens"] <= 2 * N_TOKENS


# --- errors

@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("change, kind, code", [
    ({"temperature": 3}, openai.BadRequestError, "invalid_value"),
    ({"model": "gpt-4o"}, openai.NotFoundError, "model_not_found"),
    ({"extra_body": {"tempature": 1}}, openai.BadRequestError, "unknown_parameter"),
])
def test_errors_keep_class_and_code(server, change, kind, code, stream):
    with pytest.raises(kind) as caught:
        llm = of(server, **change)
        list(llm.stream(TURNS)) if stream else llm.invoke(TURNS)
    assert caught.value.code == code and caught.value.response.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize("stream", [False, True])
def test_too_long_a_prompt_is_the_overflow_that_chains_catch(llm, stream):
    prompt = "word " * 2000
    with pytest.raises(ContextOverflowError) as caught:
        list(llm.stream(prompt)) if stream else llm.invoke(prompt)
    assert isinstance(caught.value, openai.BadRequestError) and caught.value.code == "context_length_exceeded"


def test_a_chain_falls_back_from_an_error(server, llm, expected):
    chain = of(server, model="gpt-4o").with_fallbacks([llm])
    assert chain.invoke(TURNS).content == expected.choices[0].message.content


def test_who_leaves_a_stream_is_not_computed_for(server):
    llm = of(server, max_tokens=900, n=4, extra_body={"ignore_eos": True})
    made = server.metric("puna_generation_tokens_total")
    stream = llm.stream(TURNS)
    next(stream)
    stream.close()
    wait_until(server.is_idle)
    assert server.metric("puna_generation_tokens_total") - made < 4 * 900


# --- tools

@tool
def get_weather(city: str, days: int) -> str:
    """Tells the weather of some days."""
    return f"In {city}: rain, {days} mm."


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("family", WRITTEN)
def test_an_agent_calls_tools_through_ten_turns(tmp_path, family, streams):
    weather_loop(tmp_path / "scripted.gguf", family)
    with serving(tmp_path / "scripted.gguf", "-t", "1") as s:
        llm = of(s, model="scripted").bind_tools([get_weather])
        messages, asked = [HumanMessage("Hi!")], []
        while not isinstance(messages[-1], AIMessage):
            if streams:
                first, *chunks = llm.stream(messages)
                message = sum(chunks, first)
            else:
                message = llm.invoke(messages)
            messages.append(message)
            asked += [c["args"] for c in message.tool_calls]
            assert message.invalid_tool_calls == []
            assert message.response_metadata["finish_reason"] == ("tool_calls" if message.tool_calls else "stop")
            answers = [get_weather.invoke(c) for c in message.tool_calls]
            assert all(isinstance(a, ToolMessage) for a in answers)
            messages += answers
        assert asked == ASKED and messages[-1].content == LAST_WORDS

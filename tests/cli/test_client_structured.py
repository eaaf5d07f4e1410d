"""The ways in which Python programs ask for objects rather than text: the official client's parse() with pydantic models,
LangChain's with_structured_output, instructor. Random weights write them, so that nothing is right by chance."""
import enum
import pathlib
import typing

import instructor
import openai
import pytest
from instructor.core.exceptions import IncompleteOutputException
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, ConfigDict, Field

from puna_server import PUNA, serving

TINY = pathlib.Path(PUNA).parent / "tests/tiny.gguf"
HELLO = [{"role": "user", "content": "Tell me about Bob."}]
OPTIONS = {"model": "tiny", "messages": HELLO, "max_tokens": 600, "temperature": 1.5, "seed": 2}
SEEDS = range(6)
Word = typing.Annotated[str, Field(max_length=6)]


class Closed(BaseModel):
    """Random weights would write members that nobody asked for without end."""
    model_config = ConfigDict(extra="forbid")


class Kind(str, enum.Enum):
    LLAMA = "llama"
    ALPACA = "alpaca"


class Place(Closed):
    """Where somebody lives."""
    city: Word = Field(description="A name.")
    height: int = Field(ge=0, le=6000)


class Nested(Closed):
    name: Word
    home: Place
    kinds: list[Kind] = Field(max_length=3)


class Tree(Closed):
    value: typing.Literal[1, 2, 3]
    next: typing.Optional["Tree"]


class Email(Closed):
    kind: typing.Literal["email"]
    name: Word


class Phone(Closed):
    kind: typing.Literal["phone"]
    number: int = Field(ge=0, le=999)


class Union(Closed):
    contact: Email | Phone
    other: Word | bool | None


class Optionals(Closed):
    """What may be missing, and what has a default."""
    name: typing.Optional[Word] = None
    n: int = Field(default=3, ge=0, le=9)
    ratio: typing.Optional[typing.Annotated[float, Field(ge=0, le=1)]] = None


class Exact(Closed):
    code: typing.Annotated[str, Field(pattern=r"^[A-Z]{2}-\d{3}$")]
    pair: tuple[bool, bool]


MODELS = [Nested, Tree, Union, Optionals, Exact]


@pytest.fixture(scope="module")
def server():
    with serving(TINY, "-c", 2048, "-t", 1) as s:
        yield s


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=300) as client:
        yield client


# --- the official client

# Its helper for schemas makes what the API of the hosted product wants, where tuples have no form.
@pytest.mark.parametrize("kind", [Nested, Tree, Union, Optionals])
def test_parse_gives_the_models_that_were_asked_for(client, kind):
    parsed = 0
    for seed in SEEDS:
        try:
            answer = client.chat.completions.parse(**OPTIONS | {"seed": seed, "n": 2}, response_format=kind)
        except openai.LengthFinishReasonError as e:
            assert any(c.finish_reason == "length" for c in e.completion.choices)
            continue
        for choice in answer.choices:
            assert choice.finish_reason == "stop" and isinstance(choice.message.parsed, kind)
            assert kind.model_validate_json(choice.message.content) == choice.message.parsed
            parsed += 1
    assert parsed > 1


@pytest.mark.parametrize("kind", [Nested, Union])
def test_a_stream_is_parsed_as_it_comes(client, kind):
    with client.chat.completions.stream(**OPTIONS, response_format=kind) as stream:
        parsed = [e.parsed for e in stream if e.type == "content.delta" and e.parsed is not None]
        final = stream.get_final_completion().choices[0].message
    assert isinstance(final.parsed, kind) and kind.model_validate(parsed[-1]) == final.parsed
    assert client.chat.completions.parse(**OPTIONS, response_format=kind).choices[0].message.content == final.content


def test_what_is_cut_is_the_clients_own_error(client):
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(**OPTIONS | {"max_tokens": 5}, response_format=Nested)


def test_tools_made_of_models_are_strict_and_their_arguments_parsed(client):
    tools = [openai.pydantic_function_tool(kind) for kind in (Optionals, Place)]
    assert all(t["function"]["strict"] for t in tools)
    for choice in ("required", {"type": "function", "function": {"name": "Place"}}):
        answer = client.chat.completions.parse(**OPTIONS, tools=tools, tool_choice=choice, parallel_tool_calls=False)
        (call,) = answer.choices[0].message.tool_calls
        assert isinstance(call.function.parsed_arguments, {"Optionals": Optionals, "Place": Place}[call.function.name])


# --- LangChain

@pytest.mark.parametrize("kind, method", [(kind, method) for kind in (Nested, Tree, Union, Optionals)
                                          for method in ("json_schema", "function_calling")
                                          if kind is not Tree or method == "json_schema"])  # what it writes for calls has no recursion
def test_langchain_gives_models(server, kind, method):
    llm = ChatOpenAI(model="tiny", base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=300, temperature=1.5, seed=2, max_tokens=600)
    parsed = 0
    for seed in SEEDS:
        structured = llm.with_structured_output(kind, method=method, include_raw=True)
        try:
            got = structured.invoke([HumanMessage(f"Tell me about Bob {seed}.")])
        except openai.LengthFinishReasonError:
            continue
        if got["parsed"] is not None:
            assert isinstance(got["parsed"], kind)
            parsed += 1
        else:
            assert got["raw"].response_metadata["finish_reason"] == "length"
    assert parsed > 0


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_langchain_takes_schemas_and_streams(server, method):
    schema = {"title": "Bob", "description": "Who he is.", "type": "object", "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 99}},
              "required": ["age"], "additionalProperties": False}
    llm = ChatOpenAI(model="tiny", base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=300, temperature=0, max_tokens=60)
    structured = llm.with_structured_output(schema, method=method)
    whole = structured.invoke(HELLO)
    assert whole.keys() == {"age"} and 0 <= whole["age"] <= 99
    assert list(structured.stream(HELLO))[-1] == whole


def test_langchains_json_mode_is_an_object(server):
    llm = ChatOpenAI(model="tiny", base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=300, temperature=2, max_tokens=600)
    found = 0
    for i in range(12):
        try:
            got = llm.with_structured_output(None, method="json_mode").invoke([HumanMessage(f"Bob {i}, as JSON.")])
        except openai.LengthFinishReasonError:
            continue
        assert isinstance(got, dict)
        found += 1
    assert found > 0


# --- instructor

@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("mode", [instructor.Mode.TOOLS, instructor.Mode.TOOLS_STRICT, instructor.Mode.JSON_SCHEMA])
def test_instructor_gives_models(client, mode, kind):
    if mode == instructor.Mode.TOOLS_STRICT and kind is Exact:
        pytest.skip("the client's helper takes no tuples")
    patched = instructor.from_openai(client, mode=mode)
    parsed = 0
    for seed in SEEDS:
        try:
            got = patched.chat.completions.create(**OPTIONS | {"seed": seed}, response_model=kind, max_retries=0)
        except IncompleteOutputException:
            continue
        assert isinstance(got, kind)
        parsed += 1
    assert parsed > 0

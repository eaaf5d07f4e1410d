// The official JavaScript client against the real server. What is expected comes from the client's own
// types and errors, and from the server's promise that the same request gives the same answer: whole or
// as a stream, alone or among others.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import OpenAI from "openai";
import { ChatCompletionStream } from "openai/lib/ChatCompletionStream";

import { MODEL, Server } from "./server.mjs";

const MESSAGES = [
    { role: "system", content: "Act like you are a helpful assistant." },
    { role: "user", content: "Hi there!" },
];
const CHAT = { model: MODEL, messages: MESSAGES, max_tokens: 40, seed: 7 };
const TEXT = { model: MODEL, prompt: "Once upon a time", max_tokens: 30, seed: 7 };
// Takes seconds, which no test waits for.
const LONG = { model: MODEL, messages: MESSAGES, n: 8, max_tokens: 1900, ignore_eos: true };

let server, client;
before(async () => {
    server = await Server.start();
    client = server.client();
});
after(async () => {
    assert.equal(await server.stop(), 0);
});

async function collect(stream) {
    const parts = [];
    for await (const part of stream) {
        parts.push(part);
    }
    return parts;
}

function textOf(chunks, index = 0) {
    const own = chunks.flatMap((c) => c.choices).filter((c) => c.index === index);
    return own.map((c) => c.delta.content ?? "").join("");
}

// --- models

test("models are listed, and found by names with slashes", async () => {
    const names = (await collect(client.models.list())).map((m) => m.id);
    assert.deepEqual(names, ["tiny", MODEL]);
    for (const id of names) {
        const model = await client.models.retrieve(id);
        assert.equal(model.id, id);
        assert.equal(model.object, "model");
    }
});

test("every prefix serves the client", async () => {
    const expected = (await client.chat.completions.create(CHAT)).choices;
    for (const prefix of ["v3/openai", "openai/v1"]) {
        const other = server.client({ baseURL: `${server.url}/${prefix}` });
        assert.deepEqual((await other.chat.completions.create(CHAT)).choices, expected);
    }
});

// --- chats

test("a chat is answered in the client's form", async () => {
    const answer = await client.chat.completions.create(CHAT);
    assert.equal(answer.object, "chat.completion");
    assert.equal(answer.model, MODEL);
    assert.equal(answer.choices.length, 1);
    const { message, finish_reason } = answer.choices[0];
    assert.equal(message.role, "assistant");
    assert.ok(message.content.length > 0);
    assert.ok(["stop", "length"].includes(finish_reason));
    const { prompt_tokens, completion_tokens, total_tokens } = answer.usage;
    assert.equal(prompt_tokens + completion_tokens, total_tokens);
    assert.ok(completion_tokens <= CHAT.max_tokens);
    assert.ok(Math.abs(answer.created - Date.now() / 1000) < 3600);
});

test("a stream's pieces are the whole answer", async () => {
    const whole = await client.chat.completions.create(CHAT);
    const options = { ...CHAT, stream: true, stream_options: { include_usage: true } };
    const chunks = await collect(await client.chat.completions.create(options));
    const last = chunks.pop();
    assert.equal(textOf(chunks), whole.choices[0].message.content);
    assert.equal(chunks[0].choices[0].delta.role, "assistant");
    const reasons = chunks.map((c) => c.choices[0].finish_reason);
    assert.equal(reasons.pop(), whole.choices[0].finish_reason);
    assert.ok(reasons.every((r) => r === null));
    assert.deepEqual(last.choices, []);
    assert.equal(last.usage.completion_tokens, whole.usage.completion_tokens);
    assert.equal(last.usage.prompt_tokens, whole.usage.prompt_tokens);
    assert.ok(chunks.every((c) => c.id === last.id && c.usage === null));
    assert.ok(chunks.every((c) => c.object === "chat.completion.chunk"));
});

test("a stream tells no usage unless asked", async () => {
    const chunks = await collect(await client.chat.completions.create({ ...CHAT, stream: true }));
    assert.ok(chunks.every((c) => c.choices.length === 1 && c.usage === undefined));
});

test("several choices are kept apart in a stream", async () => {
    const whole = await client.chat.completions.create({ ...CHAT, n: 3 });
    const chunks = await collect(await client.chat.completions.create({ ...CHAT, n: 3, stream: true }));
    assert.deepEqual(whole.choices.map((c) => c.index), [0, 1, 2]);
    assert.deepEqual([0, 1, 2].map((i) => textOf(chunks, i)), whole.choices.map((c) => c.message.content));
    assert.ok(new Set(whole.choices.map((c) => c.message.content)).size > 1);
});

test("content in parts and the role developer are understood", async () => {
    const parts = MESSAGES.map(({ role, content }) => ({
        role: role === "system" ? "developer" : role,
        content: [{ type: "text", text: content }],
    }));
    const plain = await client.chat.completions.create(CHAT);
    const other = await client.chat.completions.create({ ...CHAT, messages: parts });
    assert.deepEqual(other.choices, plain.choices);
});

test("a stop text ends the answer and is no part of it", async () => {
    const full = (await client.chat.completions.create(CHAT)).choices[0].message.content;
    const stop = full.slice(10, 14);
    const expected = full.slice(0, full.indexOf(stop));
    const whole = await client.chat.completions.create({ ...CHAT, stop });
    assert.equal(whole.choices[0].message.content, expected);
    assert.equal(whole.choices[0].finish_reason, "stop");
    const chunks = await collect(await client.chat.completions.create({ ...CHAT, stop, stream: true }));
    assert.equal(textOf(chunks), expected);
});

test("log-probabilities of a stream are those of the whole answer, and their bytes its text", async () => {
    const options = { ...CHAT, logprobs: true, top_logprobs: 3 };
    const whole = (await client.chat.completions.create(options)).choices[0];
    const chunks = await collect(await client.chat.completions.create({ ...options, stream: true }));
    const streamed = chunks.flatMap((c) => c.choices[0].logprobs?.content ?? []);
    assert.deepEqual(streamed, whole.logprobs.content);
    // Random weights also choose control tokens, which are no text.
    const tokens = whole.logprobs.content.filter((t) => !/^<\|.*\|>$/.test(t.token));
    const bytes = Buffer.from(tokens.flatMap((t) => t.bytes));
    assert.equal(bytes.toString(), whole.message.content);
    assert.ok(streamed.every((t) => t.logprob <= 0 && t.top_logprobs.length === 3));
});

// --- the client's helpers for streams

test("the stream helper puts the answer together", async () => {
    const whole = await client.chat.completions.create(CHAT);
    const stream = client.chat.completions.stream({ ...CHAT, stream_options: { include_usage: true } });
    let text = "", snapshot = "";
    stream.on("content", (delta, all) => {
        text += delta;
        snapshot = all;
    });
    const final = await stream.finalChatCompletion();
    const { content } = whole.choices[0].message;
    assert.equal(final.choices[0].message.content, content);
    assert.equal(final.choices[0].finish_reason, whole.choices[0].finish_reason);
    assert.equal(text, content);
    assert.equal(snapshot, content);
    assert.equal(await stream.finalContent(), content);
    assert.equal((await stream.finalMessage()).role, "assistant");
    assert.equal((await stream.totalUsage()).completion_tokens, whole.usage.completion_tokens);
});

test("the stream helper iterates, and travels as a stream of bytes", async () => {
    const whole = await client.chat.completions.create(CHAT);
    const { content } = whole.choices[0].message;
    assert.equal(textOf(await collect(client.chat.completions.stream(CHAT))), content);
    const bytes = client.chat.completions.stream(CHAT).toReadableStream();
    assert.equal(await ChatCompletionStream.fromReadableStream(bytes).finalContent(), content);
});

test("a stream can be read twice", async () => {
    const stream = await client.chat.completions.create({ ...CHAT, stream: true });
    const [left, right] = await Promise.all(stream.tee().map(collect));
    assert.ok(textOf(left).length > 0);
    assert.deepEqual(left, right);
});

// --- completions

test("a text goes on alike whole and as a stream", async () => {
    const whole = await client.completions.create(TEXT);
    assert.equal(whole.object, "text_completion");
    const parts = await collect(await client.completions.create({ ...TEXT, stream: true }));
    assert.equal(parts.map((p) => p.choices[0]?.text ?? "").join(""), whole.choices[0].text);
    assert.equal(parts.at(-1).choices[0].finish_reason, whole.choices[0].finish_reason);
    const echoed = await client.completions.create({ ...TEXT, echo: true });
    assert.equal(echoed.choices[0].text, TEXT.prompt + whole.choices[0].text);
});

test("a list of prompts has a choice for each, as text or as tokens", async () => {
    const prompts = ["Once upon", "a time"];
    const together = await client.completions.create({ ...TEXT, prompt: prompts, temperature: 0 });
    for (const [i, prompt] of prompts.entries()) {
        const alone = await client.completions.create({ ...TEXT, prompt, temperature: 0 });
        assert.equal(together.choices[i].index, i);
        assert.equal(together.choices[i].text, alone.choices[0].text);
    }
    const { tokens } = await client.post("/tokenize", { body: { content: prompts[0], add_special: true } });
    const ids = await client.completions.create({ ...TEXT, prompt: tokens, temperature: 0 });
    assert.equal(ids.choices[0].text, together.choices[0].text);
});

test("log-probabilities of a completion belong to its tokens", async () => {
    const { text, logprobs } = (await client.completions.create({ ...TEXT, logprobs: 2 })).choices[0];
    const { tokens, token_logprobs, top_logprobs, text_offset } = logprobs;
    const lengths = [tokens, token_logprobs, top_logprobs, text_offset].map((list) => list.length);
    assert.equal(new Set(lengths).size, 1);
    assert.ok(token_logprobs.every((x) => x <= 0));
    assert.ok(text.length > 0);
});

// --- many at once

test("answers are the same alone and among others", async () => {
    const ask = async (seed) => {
        const chunks = await collect(await client.chat.completions.create({ ...CHAT, seed, stream: true }));
        return textOf(chunks);
    };
    const seeds = Array.from({ length: 12 }, (_, i) => i + 1);
    const together = await Promise.all(seeds.map(ask));
    for (const seed of seeds) {
        assert.equal(await ask(seed), together[seed - 1]);
    }
    assert.ok(new Set(together).size > 1);
});

// --- leaving: nothing goes on for a client that has left

// f asks for LONG and leaves.
async function leavesNothing(f) {
    await server.idle();
    const made = await server.metric("generation_tokens_total");
    await f();
    await server.idle();
    const more = (await server.metric("generation_tokens_total")) - made;
    assert.ok(more < LONG.n * LONG.max_tokens, `all ${more} tokens were made`);
}

test("an abort ends a stream and its work", async () => {
    await leavesNothing(async () => {
        const controller = new AbortController();
        const options = { signal: controller.signal };
        const stream = await client.chat.completions.create({ ...LONG, stream: true }, options);
        for await (const chunk of stream) {
            // Chunks that came together are given out even after the abort.
            if (chunk.choices[0].delta.content && !controller.signal.aborted) {
                assert.ok((await server.metric("requests_running")) > 0);
                controller.abort();
            }
        }
        assert.ok(controller.signal.aborted);
    });
});

test("leaving the loop ends a stream and its work, however early", async () => {
    await leavesNothing(async () => {
        for await (const chunk of await client.chat.completions.create({ ...LONG, stream: true })) {
            assert.ok(chunk.choices.length > 0);
            break;
        }
    });
});

test("an abort ends the stream helper and its work", async () => {
    await leavesNothing(async () => {
        const stream = client.chat.completions.stream(LONG);
        stream.once("content", () => stream.abort());
        await assert.rejects(stream.finalChatCompletion(), OpenAI.APIUserAbortError);
        assert.ok(stream.aborted);
    });
});

test("an abort ends an answer that comes whole", async () => {
    await leavesNothing(async () => {
        const controller = new AbortController();
        const answer = client.chat.completions.create(LONG, { signal: controller.signal });
        const rejected = assert.rejects(answer, OpenAI.APIUserAbortError);
        await server.until("requests_running", LONG.n);
        controller.abort();
        await rejected;
    });
});

test("a client whose patience ends leaves nothing behind", async () => {
    await leavesNothing(async () => {
        const answer = client.chat.completions.create(LONG, { timeout: 50 });
        await assert.rejects(answer, OpenAI.APIConnectionTimeoutError);
    });
});

// --- errors

// What is changed, the client's class, param and code, and what the message tells.
const { BadRequestError, NotFoundError } = OpenAI;
const REFUSED = [
    [{ temperature: 3 }, BadRequestError, "temperature", "invalid_value", /temperature.*3/],
    [{ temperature: "warm" }, BadRequestError, "temperature", "invalid_type", /temperature/],
    [{ tempature: 1 }, BadRequestError, "tempature", "unknown_parameter", /tempature/],
    [{ tool_choice: "required" }, BadRequestError, "tool_choice", "invalid_value", /tool_choice.*tools/],
    [{ max_tokens: 9999 }, BadRequestError, "messages", "context_length_exceeded", /2048.*9999/],
    [{ model: "no/such" }, NotFoundError, "model", "model_not_found", /no\/such/],
];

for (const [change, type, param, code, tells] of REFUSED) {
    for (const stream of [false, true]) {
        test(`${JSON.stringify(change)} is ${code}${stream ? " of a stream too" : ""}`, async () => {
            const answer = client.chat.completions.create({ ...CHAT, ...change, stream });
            const error = await answer.then(() => assert.fail("no error"), (e) => e);
            assert.ok(error instanceof type, `${error}`);
            assert.equal(error.param, param);
            assert.equal(error.code, code);
            assert.equal(error.type, "invalid_request_error");
            assert.match(error.message, tells);
            assert.equal(error.requestID, error.headers.get("x-request-id"));
            assert.match(error.requestID, /^req_/);
        });
    }
}

test("an address that is not there is a NotFoundError", async () => {
    const error = await client.get("/nosuch").then(() => assert.fail("no error"), (e) => e);
    assert.ok(error instanceof NotFoundError, `${error}`);
    assert.equal(error.code, "unknown_url");
});

test("a server that is not there is an APIConnectionError", async () => {
    const other = await Server.start();
    const { url } = other;
    assert.equal(await other.stop(), 0);
    const nobody = server.client({ baseURL: `${url}/v1` });
    await assert.rejects(nobody.models.list(), OpenAI.APIConnectionError);
});

test("a full queue is a RateLimitError, and the client's next tries get through", async () => {
    const small = await Server.start("--parallel", "1", "--queue", "1");
    const one = { ...LONG, n: 1, stream: true };
    const running = await small.client().chat.completions.create(one);
    await small.until("requests_running", 1);
    const waiting = small.client().chat.completions.create(CHAT);
    await small.until("requests_waiting", 1);
    const refused = small.client().chat.completions.create(CHAT);
    const error = await refused.then(() => assert.fail("no error"), (e) => e);
    assert.ok(error instanceof OpenAI.RateLimitError, `${error}`);
    assert.ok(Number(error.headers.get("retry-after")) >= 1);

    const statuses = [];
    const patient = small.client({
        maxRetries: 5,
        fetch: async (...request) => {
            const response = await fetch(...request);
            statuses.push(response.status);
            running.controller.abort(); // room for the next try
            return response;
        },
    });
    const answer = await patient.chat.completions.create(CHAT);
    assert.deepEqual([statuses[0], statuses.at(-1)], [429, 200]);
    assert.deepEqual(answer.choices, (await waiting).choices);
    await small.idle();
    assert.equal(await small.stop(), 0);
});

// --- raw answers

test("raw answers have the headers that programs read", async () => {
    const { data, response, request_id } = await client.chat.completions.create(CHAT).withResponse();
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("content-type"), "application/json");
    assert.equal(request_id, response.headers.get("x-request-id"));
    assert.equal(data._request_id, request_id);
    assert.match(response.headers.get("openai-processing-ms"), /^\d+$/);
    const raw = await client.chat.completions.create(CHAT).asResponse();
    assert.deepEqual((await raw.json()).choices, data.choices);
    assert.notEqual(raw.headers.get("x-request-id"), request_id);
});

test("a raw stream is events that end with [DONE]", async () => {
    const raw = await client.chat.completions.create({ ...CHAT, stream: true }).asResponse();
    assert.match(raw.headers.get("content-type"), /^text\/event-stream/);
    assert.equal(raw.headers.get("cache-control"), "no-cache");
    assert.match(raw.headers.get("x-request-id"), /^req_/);
    const events = (await raw.text()).split("\n\n");
    assert.deepEqual(events.slice(-2), ["data: [DONE]", ""]);
    const whole = await client.chat.completions.create(CHAT);
    const chunks = events.slice(0, -2).map((e) => JSON.parse(e.replace(/^data: /, "")));
    assert.equal(textOf(chunks), whole.choices[0].message.content);
});

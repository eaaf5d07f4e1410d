// Vercel's AI SDK with its provider for OpenAI-compatible servers, against the real server. What is
// expected comes from the server by plain fetch: the same request gives the same answer.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateText, RetryError, streamText, wrapLanguageModel, extractReasoningMiddleware } from "ai";

import { MODEL, Server } from "./server.mjs";

const CHAT = {
    system: "Act like you are a helpful assistant.",
    prompt: "Hi there!",
    maxOutputTokens: 40,
    seed: 7,
    temperature: 1,
    maxRetries: 0,
};
const BODY = {
    model: MODEL,
    messages: [
        { role: "system", content: CHAT.system },
        { role: "user", content: CHAT.prompt },
    ],
    max_tokens: 40,
    seed: 7,
    temperature: 1,
};

let server, provider, model, expected;
before(async () => {
    server = await Server.start();
    provider = createOpenAICompatible({ name: "puna", baseURL: `${server.url}/v1`, apiKey: "none", includeUsage: true });
    model = provider.chatModel(MODEL);
    expected = await ask("chat/completions", BODY);
});
after(async () => {
    assert.equal(await server.stop(), 0);
});

async function ask(path, body) {
    const response = await fetch(`${server.url}/v1/${path}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
    });
    assert.equal(response.status, 200);
    return response.json();
}

async function collect(stream) {
    const parts = [];
    for await (const part of stream) {
        parts.push(part);
    }
    return parts;
}

function checkUsage(usage, { prompt_tokens, completion_tokens, total_tokens }) {
    assert.equal(usage.inputTokens, prompt_tokens);
    assert.equal(usage.outputTokens, completion_tokens);
    assert.equal(usage.totalTokens, total_tokens);
}

test("generateText gives text, usage, reason and headers", async () => {
    const answer = await generateText({ model, ...CHAT });
    assert.equal(answer.text, expected.choices[0].message.content);
    assert.equal(answer.finishReason, expected.choices[0].finish_reason);
    assert.deepEqual(answer.warnings, []);
    assert.deepEqual(answer.toolCalls, []);
    checkUsage(answer.usage, expected.usage);
    assert.match(answer.response.headers["x-request-id"], /^req_/);
    assert.match(answer.response.id, /^chatcmpl-/);
    assert.equal(answer.response.modelId, MODEL);
    assert.ok(Math.abs(answer.response.timestamp - Date.now()) < 3600e3);
});

test("messages in turns and parts are one conversation", async () => {
    const { prompt, ...rest } = CHAT;
    const messages = [
        { role: "user", content: [{ type: "text", text: "Hi!" }] },
        { role: "assistant", content: [{ type: "text", text: "Hello." }] },
        { role: "user", content: prompt },
    ];
    const answer = await generateText({ model, ...rest, messages });
    const own = [BODY.messages[0], ...messages.map(({ role, content }) => ({ role, content: content[0].text ?? content }))];
    assert.equal(answer.text, (await ask("chat/completions", { ...BODY, messages: own })).choices[0].message.content);
});

test("streamText's pieces are the whole answer, and usage comes at the end", async () => {
    const result = streamText({ model, ...CHAT, onError: ({ error }) => assert.fail(error) });
    const pieces = await collect(result.textStream);
    assert.ok(pieces.length > 5);
    assert.equal(pieces.join(""), expected.choices[0].message.content);
    assert.equal(await result.text, pieces.join(""));
    assert.equal(await result.finishReason, expected.choices[0].finish_reason);
    checkUsage(await result.usage, expected.usage);
    assert.equal((await result.response).modelId, MODEL);
});

test("a full stream begins, carries text and finishes", async () => {
    const parts = await collect(streamText({ model, ...CHAT }).fullStream);
    const types = [...new Set(parts.map((p) => p.type))];
    assert.deepEqual(types, ["start", "start-step", "text-start", "text-delta", "text-end", "finish-step", "finish"]);
    checkUsage(parts.at(-1).totalUsage, expected.usage);
});

test("a stream goes on to a page as events", async () => {
    const response = streamText({ model, ...CHAT }).toUIMessageStreamResponse();
    const events = (await response.text()).split("\n\n").filter((e) => e.startsWith("data: {"));
    const deltas = events.map((e) => JSON.parse(e.slice(6))).filter((e) => e.type === "text-delta");
    assert.equal(deltas.map((d) => d.delta).join(""), expected.choices[0].message.content);
});

test("stop sequences end an answer whole and in a stream", async () => {
    const full = expected.choices[0].message.content;
    const stopSequences = [full.slice(10, 14)];
    const answer = await generateText({ model, ...CHAT, stopSequences });
    assert.equal(answer.text, full.slice(0, full.indexOf(stopSequences[0])));
    assert.equal(answer.finishReason, "stop");
    assert.equal(await streamText({ model, ...CHAT, stopSequences }).text, answer.text);
});

test("sampling parameters and the provider's own options reach the server", async () => {
    const answer = await generateText({
        model,
        ...CHAT,
        topP: 0.9,
        frequencyPenalty: 0.5,
        presencePenalty: -0.5,
        providerOptions: { puna: { top_k: 40, min_p: 0.01, user: "somebody" } },
    });
    const body = { ...BODY, top_p: 0.9, frequency_penalty: 0.5, presence_penalty: -0.5, top_k: 40, min_p: 0.01 };
    assert.equal(answer.text, (await ask("chat/completions", body)).choices[0].message.content);
});

test("a middleware around the model changes nothing by itself", async () => {
    const wrapped = wrapLanguageModel({ model, middleware: extractReasoningMiddleware({ tagName: "think" }) });
    assert.equal((await generateText({ model: wrapped, ...CHAT })).text, expected.choices[0].message.content);
});

test("a completion model goes on with a text, whole and as a stream", async () => {
    const { system, ...rest } = CHAT;
    const texts = { model: provider.completionModel(MODEL), ...rest };
    const whole = await generateText(texts);
    assert.ok(whole.text.length > 0);
    assert.ok(whole.usage.outputTokens <= CHAT.maxOutputTokens);
    const stream = streamText(texts);
    assert.equal(await stream.text, whole.text);
    assert.equal((await stream.usage).outputTokens, whole.usage.outputTokens);
});

// --- errors

const REFUSED = [
    [{ temperature: 3 }, MODEL, 400, "invalid_value", /temperature.*3/],
    [{ providerOptions: { puna: { tempature: 1 } } }, MODEL, 400, "unknown_parameter", /tempature/],
    [{ maxOutputTokens: 9999 }, MODEL, 400, "context_length_exceeded", /maximum context length/],
    [{}, "no/such", 404, "model_not_found", /no\/such/],
];

for (const [change, name, status, code, tells] of REFUSED) {
    const title = `${JSON.stringify(change)} for ${name} is ${code}`;
    function check(error) {
        assert.ok(APICallError.isInstance(error), `${error}`);
        assert.equal(error.statusCode, status);
        assert.equal(error.isRetryable, false);
        assert.match(error.message, tells);
        assert.equal(error.data.error.code, code);
        assert.match(error.responseHeaders["x-request-id"], /^req_/);
    }
    test(title, async () => {
        await assert.rejects(generateText({ model: provider.chatModel(name), ...CHAT, ...change }), (e) => {
            check(e);
            return true;
        });
    });
    test(`${title} in a stream too`, async () => {
        const errors = [];
        const result = streamText({
            model: provider.chatModel(name),
            ...CHAT,
            ...change,
            onError: ({ error }) => errors.push(error),
        });
        assert.deepEqual(await collect(result.textStream), []);
        assert.equal(errors.length, 1);
        check(errors[0]);
    });
}

test("a full queue is told as an error that may be tried again", async () => {
    const small = await Server.start("--parallel", "1", "--queue", "1");
    const other = createOpenAICompatible({ name: "puna", baseURL: `${small.url}/v1` }).chatModel(MODEL);
    const long = { model: other, ...CHAT, maxOutputTokens: 1900, providerOptions: { puna: { ignore_eos: true } } };
    const controller = new AbortController();
    const running = streamText({ ...long, abortSignal: controller.signal, onError: () => {} });
    const read = collect(running.textStream);
    await small.until("requests_running", 1);
    const waiting = generateText({ model: other, ...CHAT });
    await small.until("requests_waiting", 1);
    await assert.rejects(generateText({ model: other, ...CHAT }), (e) => {
        assert.ok(APICallError.isInstance(e) && e.isRetryable && e.statusCode === 429, `${e}`);
        assert.ok(Number(e.responseHeaders["retry-after"]) >= 1);
        return true;
    });
    controller.abort();
    await read;
    assert.equal((await waiting).text, expected.choices[0].message.content);
    assert.equal(await small.stop(), 0);
});

test("a server that is not there is an error with its address", async () => {
    const nobody = createOpenAICompatible({ name: "puna", baseURL: "http://127.0.0.1:9/v1" }).chatModel(MODEL);
    await assert.rejects(generateText({ model: nobody, ...CHAT }), (e) => {
        const last = RetryError.isInstance(e) ? e.lastError : e;
        assert.ok(APICallError.isInstance(last), `${e}`);
        assert.match(last.url, /127\.0\.0\.1:9/);
        return true;
    });
});

// --- leaving

const LONG = { ...CHAT, maxOutputTokens: 1900, providerOptions: { puna: { ignore_eos: true, n: 8 } } };

async function leavesNothing(f) {
    await server.idle();
    const made = await server.metric("generation_tokens_total");
    await f();
    await server.idle();
    const more = (await server.metric("generation_tokens_total")) - made;
    assert.ok(more < 8 * LONG.maxOutputTokens, `all ${more} tokens were made`);
}

test("an abort ends a stream and its work", async () => {
    await leavesNothing(async () => {
        const controller = new AbortController();
        let aborted = false;
        const result = streamText({
            model,
            ...LONG,
            abortSignal: controller.signal,
            onAbort: () => (aborted = true),
        });
        for await (const part of result.fullStream) {
            if (part.type === "text-delta" && !controller.signal.aborted) {
                assert.ok((await server.metric("requests_running")) > 0);
                controller.abort();
            }
        }
        assert.ok(aborted);
    });
});

test("an abort ends an answer that comes whole", async () => {
    await leavesNothing(async () => {
        const controller = new AbortController();
        const answer = generateText({ model, ...LONG, abortSignal: controller.signal });
        const rejected = assert.rejects(answer, { name: "AbortError" });
        await server.until("requests_running", 8);
        controller.abort();
        await rejected;
    });
});

// Pages of another origin in a real browser: what the Fetch standard lets them send and read. Requests
// with a key and JSON need a preflight, so each that works shows that the preflight does.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { after, before, test } from "node:test";

import { Pages, startBrowser } from "./page.mjs";
import { MODEL, Server } from "./server.mjs";

const MESSAGES = [{ role: "user", content: "Hi there!" }];
const CHAT = { model: MODEL, messages: MESSAGES, max_tokens: 40, seed: 7 };
const LONG = { ...CHAT, n: 8, max_tokens: 1900, ignore_eos: true };

let server, pages, browser, page, expected;
before(async () => {
    [server, pages, browser] = await Promise.all([Server.start(), Pages.start(), startBrowser()]);
    page = await open(pages.origin);
    expected = await (await fetch(`${server.url}/v1/chat/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(CHAT),
    })).json();
});
after(async () => {
    await browser.close();
    await pages.stop();
    assert.equal(await server.stop(), 0);
});

async function open(origin) {
    const opened = await browser.newPage();
    await opened.goto(origin);
    return opened;
}

// In the page: what a fetch with a key and JSON gives, or the name of the error.
async function call({ url, body, method = "POST" }) {
    try {
        const headers = { authorization: "Bearer none", "content-type": "application/json" };
        const answer = await fetch(url, { method, headers, body: body && JSON.stringify(body) });
        return {
            status: answer.status,
            type: answer.headers.get("content-type"),
            headers: Object.fromEntries(answer.headers),
            text: await answer.text(),
        };
    } catch (e) {
        return { error: e.name };
    }
}

const chatUrl = (s = server) => `${s.url}/v1/chat/completions`;

test("a page of another origin gets an answer, and reads the headers that programs need", async () => {
    const answer = await page.evaluate(call, { url: chatUrl(), body: CHAT });
    assert.equal(answer.status, 200, JSON.stringify(answer));
    assert.deepEqual(JSON.parse(answer.text).choices, expected.choices);
    assert.match(answer.headers["x-request-id"], /^req_/);
    assert.match(answer.headers["openai-processing-ms"], /^\d+$/);
});

test("a page reads a stream as it comes", async () => {
    const { first, text } = await page.evaluate(async ({ url, body }) => {
        const headers = { authorization: "Bearer none", "content-type": "application/json" };
        const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        let { value: first } = await reader.read();
        let text = first;
        for (let part = await reader.read(); !part.done; part = await reader.read()) {
            text += part.value;
        }
        return { first, text };
    }, { url: chatUrl(), body: { ...CHAT, max_tokens: 400, stream: true, ignore_eos: true } });
    assert.ok(first.length < text.length / 2, "it came in one piece");
    const events = text.split("\n\n");
    assert.deepEqual(events.slice(-2), ["data: [DONE]", ""]);
    const deltas = events.slice(0, -2).map((e) => JSON.parse(e.slice(6)).choices[0].delta.content ?? "");
    assert.ok(deltas.join("").startsWith(expected.choices[0].message.content));
});

test("a page reads errors of every kind", async () => {
    const cases = [
        [chatUrl(), { ...CHAT, temperature: 3 }, 400, "invalid_value"],
        [chatUrl(), { ...CHAT, temperature: 3, stream: true }, 400, "invalid_value"],
        [chatUrl(), { ...CHAT, model: "no/such" }, 404, "model_not_found"],
        [`${server.url}/v1/nosuch`, {}, 404, "unknown_url"],
        [`${server.url}/v1/models`, {}, 405, "method_not_supported"],
    ];
    for (const [url, body, status, code] of cases) {
        const answer = await page.evaluate(call, { url, body });
        assert.equal(answer.status, status, JSON.stringify(answer));
        assert.equal(JSON.parse(answer.text).error.code, code);
        assert.match(answer.headers["x-request-id"], /^req_/);
    }
});

test("a page may wait and try again when the queue is full, as it is told how long", async () => {
    const small = await Server.start("--parallel", "1", "--queue", "1");
    const one = { ...LONG, n: 1, stream: true };
    const pageOfTwo = await open(pages.origin);
    const start = () => pageOfTwo.evaluate(({ url, body }) => {
        const headers = { authorization: "Bearer none", "content-type": "application/json" };
        fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
    }, { url: chatUrl(small), body: one });
    await start();
    await small.until("requests_running", 1);
    await start();
    await small.until("requests_waiting", 1);
    const answer = await page.evaluate(call, { url: chatUrl(small), body: CHAT });
    assert.equal(answer.status, 429, JSON.stringify(answer));
    assert.ok(Number(answer.headers["retry-after"]) >= 1);
    await pageOfTwo.close(); // and so are its requests
    await small.idle();
    assert.equal(await small.stop(), 0);
});

test("the official client works in a page", async () => {
    const found = await page.evaluate(async ({ baseURL, chat }) => {
        const { default: OpenAI } = await import("/index.mjs");
        const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0, dangerouslyAllowBrowser: true });
        const models = [];
        for await (const model of client.models.list()) {
            models.push(model.id);
        }
        const whole = await client.chat.completions.create(chat);
        let streamed = "";
        for await (const chunk of await client.chat.completions.create({ ...chat, stream: true })) {
            streamed += chunk.choices[0].delta.content ?? "";
        }
        const refused = await client.chat.completions.create({ ...chat, temperature: 3 }).catch((e) => e);
        const { status, code, param, requestID } = refused;
        return {
            models,
            choices: whole.choices,
            id: whole._request_id,
            streamed,
            refused: { status, code, param, requestID, is: refused instanceof OpenAI.BadRequestError },
        };
    }, { baseURL: `${server.url}/v1`, chat: CHAT });
    assert.ok(found.models.includes(MODEL));
    assert.deepEqual(found.choices, expected.choices);
    assert.match(found.id, /^req_/);
    assert.equal(found.streamed, expected.choices[0].message.content);
    assert.match(found.refused.requestID, /^req_/);
    delete found.refused.requestID;
    assert.deepEqual(found.refused, { status: 400, code: "invalid_value", param: "temperature", is: true });
});

test("a stream that the official client aborts in a page leaves nothing behind", async () => {
    await server.idle();
    const made = await server.metric("generation_tokens_total");
    const chunks = await page.evaluate(async ({ baseURL, chat }) => {
        const { default: OpenAI } = await import("/index.mjs");
        const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0, dangerouslyAllowBrowser: true });
        const stream = await client.chat.completions.create({ ...chat, stream: true });
        let chunks = 0;
        for await (const _ of stream) {
            chunks++;
            stream.controller.abort();
        }
        return chunks;
    }, { baseURL: `${server.url}/v1`, chat: LONG });
    assert.ok(chunks > 0);
    await server.idle();
    assert.ok((await server.metric("generation_tokens_total")) - made < LONG.n * LONG.max_tokens);
});

test("a page that is closed leaves nothing behind", async () => {
    await server.idle();
    const made = await server.metric("generation_tokens_total");
    const closing = await open(pages.origin);
    await closing.evaluate(({ url, body }) => {
        const headers = { authorization: "Bearer none", "content-type": "application/json" };
        fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
    }, { url: chatUrl(), body: { ...LONG, stream: true } });
    await server.until("requests_running", LONG.n);
    await closing.close();
    await server.idle();
    assert.ok((await server.metric("generation_tokens_total")) - made < LONG.n * LONG.max_tokens);
});

// --- which origins may

// A frame without an origin of its own, as a page from a file is: its Origin is "null".
async function callFromNoOrigin(opened, options) {
    return opened.evaluate(async ({ source, options }) => {
        const frame = document.createElement("iframe");
        frame.sandbox = "allow-scripts";
        const told = new Promise((resolve) => addEventListener("message", (e) => resolve(e), { once: true }));
        frame.srcdoc = `<script>(${source})(${JSON.stringify(options)}).then((r) => parent.postMessage(r, "*"))</script>`;
        document.body.append(frame);
        const { data, origin } = await told;
        frame.remove();
        return { ...data, origin };
    }, { source: call.toString(), options });
}

test("any origin may where none is named, also none", async () => {
    const other = await open(pages.otherOrigin);
    assert.equal((await other.evaluate(call, { url: chatUrl(), body: CHAT })).status, 200);
    const answer = await callFromNoOrigin(page, { url: chatUrl(), body: CHAT });
    assert.deepEqual([answer.origin, answer.status], ["null", 200]);
    assert.match(answer.headers["x-request-id"], /^req_/);
    await other.close();
});

const help = spawnSync(process.env.PUNA ?? "build/release/puna", ["serve", "--help"]).stdout?.toString() ?? "";
const skip = !help.includes("--cors-origin") && "puna serve has no option --cors-origin";

test("where origins are named, no other may send or read", { skip }, async () => {
    const strict = await Server.start("--cors-origin", pages.origin);
    const body = { ...CHAT, stream: true };
    const other = await open(pages.otherOrigin);
    for (const answer of [
        await other.evaluate(call, { url: chatUrl(strict), body }),
        await other.evaluate(call, { url: `${strict.url}/v1/models`, method: "GET" }),
        await callFromNoOrigin(page, { url: chatUrl(strict), body }),
    ]) {
        assert.equal(answer.error, "TypeError", JSON.stringify(answer));
    }
    // The browser asked first, so nothing was computed.
    assert.equal(await strict.metric("prompt_tokens_total"), 0);
    assert.equal((await page.evaluate(call, { url: chatUrl(strict), body })).status, 200);
    assert.equal((await page.evaluate(call, { url: `${strict.url}/v1/nosuch`, body })).status, 404);
    await other.close();
    assert.equal(await strict.stop(), 0);
});

// Every status that the server can give, provoked through the official JavaScript client: the class of
// the error, its type, code, param and request id, and what it says about coming again.
// tests/cli/test_serve_errors.py is the same for the Python client, and says which statuses are not given;
// it alone has 408 and the 503 of a model that is being loaded, which need another clock and other threads.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";

import OpenAI from "openai";

import { MODEL, PROGRAM, Server, TINY } from "./server.mjs";

const { APIError, BadRequestError, InternalServerError, NotFoundError, PermissionDeniedError, RateLimitError } = OpenAI;
const INVALID = "invalid_request_error";
const OWN_ID = "mine-1";
const TEXT = { model: MODEL, prompt: "a", max_tokens: 4 };
// More than sockets hold, so that it does not end before it is read.
const LONG = { ...TEXT, n: 8, max_tokens: 1900, ignore_eos: true };

let server, client;
before(async () => {
    server = await Server.start("--cors-origin", "https://app.example");
    client = server.client({ defaultHeaders: { "X-Request-Id": OWN_ID } });
});
after(async () => {
    assert.equal(await server.stop(), 0);
});

const complete = (change, options) => (c) => c.completions.create({ ...TEXT, ...change }, options);
const get = (address) => (c) => c.get(address);

// The error has what the body says, and the id of the head.
async function errorOf(call, c) {
    let body;
    const reading = c.withOptions({
        fetch: async (...request) => {
            const response = await fetch(...request);
            body = await response.clone().json().catch(() => undefined);
            return response;
        },
    });
    const error = await call(reading).then(() => assert.fail("no error"), (e) => e);
    assert.ok(error instanceof APIError, `${error}`);
    assert.deepEqual(Object.keys(body.error).sort(), ["code", "message", "param", "type"]);
    assert.deepEqual(error.error, body.error);
    assert.equal(error.message, `${error.status} ${body.error.message}`);
    assert.ok(body.error.message.length > 0);
    assert.equal(error.requestID, error.headers.get("x-request-id"));
    assert.equal(error.headers.get("content-type"), "application/json");
    return error;
}

function check(error, [kind, status, type, code, param]) {
    assert.equal(error.constructor, kind, `${error}`);
    assert.deepEqual([error.status, error.type, error.code, error.param], [status, type, code, param]);
}

const retryOf = (error) => [error.headers.get("retry-after"), error.headers.get("x-should-retry")];

// --- what the request is to blame for

const bad = (code, param) => [BadRequestError, 400, INVALID, code, param];
const BLAMED = {
    "a value of another type": [complete({ max_tokens: "x" }), bad("invalid_type", "max_tokens")],
    "a value outside its range": [complete({ temperature: 3 }), bad("invalid_value", "temperature")],
    "a parameter that is missing": [complete({ prompt: undefined }), bad("missing_required_parameter", "prompt")],
    "a parameter that nobody knows": [complete({ frobnicate: 1 }), bad("unknown_parameter", "frobnicate")],
    "a query": [complete({}, { query: { "api-version": "1" } }), bad("unknown_parameter", "api-version")],
    "a parameter that is not offered": [complete({ suffix: "b" }), bad("unsupported_parameter", "suffix")],
    "a value that is not offered": [
        (c) => c.embeddings.create({ model: MODEL, input: "a", dimensions: 5 }),
        bad("unsupported_value", "dimensions"),
    ],
    "a prompt that is too long": [complete({ prompt: "a ".repeat(3000) }), bad("context_length_exceeded", "prompt")],
    "a page that may not call": [
        complete({}, { headers: { Origin: "https://other.example" } }),
        [PermissionDeniedError, 403, "permission_error", null, null],
    ],
    "a model that is not there": [complete({ model: "gpt-4o" }), [NotFoundError, 404, INVALID, "model_not_found", "model"]],
    "a model that is looked up": [(c) => c.models.retrieve("a/b"), [NotFoundError, 404, INVALID, "model_not_found", "model"]],
    "an address that is not there": [get("/nope"), [NotFoundError, 404, INVALID, "unknown_url", null]],
    "another method": [get("/completions"), [APIError, 405, INVALID, "method_not_supported", null]],
    "a long body": [complete({ prompt: "a".repeat(17 << 20) }), [APIError, 413, INVALID, null, null]],
    "a long address": [get(`/${"a".repeat(9000)}`), [APIError, 414, INVALID, null, null]],
    "a compressed body": [
        complete({}, { headers: { "Content-Encoding": "gzip" } }),
        [APIError, 415, INVALID, null, null],
    ],
    "a long head": [complete({}, { headers: { "X-Long": "a".repeat(70000) } }), [APIError, 431, INVALID, null, null]],
};
// What could not be read as a request has a new id.
const UNREAD = ["a long address", "a long head"];

for (const [name, [provoke, expected]] of Object.entries(BLAMED)) {
    test(`${name} is ${expected[1]}`, async () => {
        const error = await errorOf(provoke, client);
        check(error, expected);
        assert.deepEqual(retryOf(error), [null, null]);
        assert.match(error.requestID, UNREAD.includes(name) ? /^req_/ : new RegExp(`^${OWN_ID}$`));
    });
}

test("a stream has the same error", async () => {
    for (const change of [{ temperature: 3 }, { prompt: "a ".repeat(3000) }, { model: "gpt-4o" }]) {
        const whole = await errorOf(complete(change), client);
        const streamed = await errorOf(complete({ ...change, stream: true }), client);
        assert.deepEqual(streamed.error, whole.error);
    }
});

// --- too many

test("a full queue is 429, and says when to come again", async () => {
    const small = await Server.start("--parallel", "8", "--queue", "1");
    const c = small.client();
    const running = await c.completions.create({ ...LONG, stream: true });
    await small.until("requests_running", LONG.n);
    const waiting = await c.completions.create({ ...LONG, stream: true });
    await small.until("requests_waiting", 1);
    for (const call of [complete({}), complete({ stream: true }), (x) => x.embeddings.create({ model: MODEL, input: "a" })]) {
        const error = await errorOf(call, c);
        check(error, [RateLimitError, 429, "rate_limit_exceeded", "rate_limit_exceeded", null]);
        const [seconds, should] = retryOf(error);
        assert.ok(Number(seconds) >= 1 && Number(seconds) <= 60);
        assert.equal(should, null);
    }
    running.controller.abort();
    waiting.controller.abort();
    await small.idle();
    assert.equal(await small.stop(), 0);
});

test("too many connections are 503", async () => {
    const small = await Server.start("--max-connections", "2"); // from one address: 1
    const { hostname, port } = new URL(small.url);
    const socket = net.connect(Number(port), hostname);
    socket.write("GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
    await new Promise((resolve) => socket.once("data", resolve));
    const error = await errorOf(complete({}), small.client());
    check(error, [InternalServerError, 503, "service_unavailable_error", "server_is_overloaded", null]);
    assert.deepEqual(retryOf(error), ["1", null]);
    socket.destroy();
    assert.equal(await small.stop(), 0);
});

// --- what the server is to blame for

// The model of random weights with a last norm of 3e38: its weights are numbers, its logits are none.
function makeTooLarge(folder) {
    const { tensors } = JSON.parse(spawnSync(PROGRAM, ["inspect", "--json", TINY]).stdout);
    const norm = tensors.find((t) => t.name === "output_norm.weight");
    const bytes = readFileSync(TINY);
    for (let i = 0; i < norm.dims[0]; i++) {
        bytes.writeFloatLE(3e38, norm.offset + 4 * i);
    }
    const made = path.join(folder, "large.gguf");
    writeFileSync(made, bytes);
    return made;
}

test("a failure is 500, and nobody comes again; in a stream it has no status", async () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), "errors-"));
    const large = await Server.startOn(makeTooLarge(folder));
    let n = 0;
    const c = large.client({
        maxRetries: 5,
        fetch: (...request) => {
            n++;
            return fetch(...request);
        },
    });
    const error = await c.completions.create(TEXT).then(() => assert.fail("no error"), (e) => e);
    check(error, [InternalServerError, 500, "server_error", null, null]);
    assert.deepEqual(retryOf(error), [null, "false"]);
    assert.equal(n, 1);
    const inside = await errorIn(await c.completions.create({ ...TEXT, stream: true }));
    check(inside, [APIError, undefined, "server_error", null, null]);
    assert.equal(await large.stop(), 0);
    rmSync(folder, { recursive: true });
});

async function errorIn(stream) {
    const read = async () => {
        for await (const chunk of stream) {
            assert.ok(chunk.choices);
        }
    };
    return read().then(() => assert.fail("no error"), (e) => e);
}

test("a server that is stopped is 503", async () => {
    const small = await Server.start("--parallel", "8", "--drain-timeout", "0");
    const c = small.client();
    const running = errorIn(await c.completions.create({ ...LONG, stream: true }));
    await small.until("requests_running", LONG.n);
    const waiting = [
        errorOf(complete({}), c),
        errorOf((x) => x.embeddings.create({ model: MODEL, input: ["a", "a"] }), c),
    ];
    await small.until("requests_waiting", 2);
    assert.equal(await small.stop(), 0);
    const notReady = ["service_unavailable_error", "server_not_ready", null];
    check(await running, [APIError, undefined, ...notReady]);
    for (const error of await Promise.all(waiting)) {
        check(error, [InternalServerError, 503, ...notReady]);
        assert.deepEqual(retryOf(error), ["1", null]);
    }
});

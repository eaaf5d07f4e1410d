// The official JavaScript client over TLS, with an authority of its own: in a process of its own, as
// Node reads NODE_EXTRA_CA_CERTS at its start.
import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import https from "node:https";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";

import { MODEL, Server } from "./server.mjs";

let folder, cert, server;
before(async () => {
    folder = mkdtempSync(path.join(os.tmpdir(), "puna-tls-"));
    cert = path.join(folder, "cert.pem");
    const key = path.join(folder, "key.pem");
    execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
        "-out", cert, "-days", "30", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"], { stdio: "ignore" });
    server = await Server.start("--tls-cert", cert, "--tls-key", key);
    assert.match(server.url, /^https:/);
});
after(async () => {
    assert.equal(await server.stop(), 0);
    rmSync(folder, { recursive: true });
});

// What the program prints, as JSON; it has `client`, MODEL and LONG.
function run(program, certificates) {
    const head = `
        import OpenAI from "openai";
        const client = new OpenAI({ baseURL: "${server.url}/v1", apiKey: "none", maxRetries: 0 });
        const MODEL = "${MODEL}", TEXT = { model: MODEL, prompt: "Once upon a time", max_tokens: 30, seed: 7 };
        const LONG = { ...TEXT, n: 8, max_tokens: 1900, ignore_eos: true };`;
    const env = { ...process.env, ...certificates };
    return new Promise((resolve, reject) => {
        execFile(process.execPath, ["--input-type=module", "-e", head + program], { env },
            (error, out) => (error ? reject(error) : resolve(JSON.parse(out))));
    });
}

function metric(name) {
    return new Promise((resolve, reject) => {
        https.get(`${server.url}/metrics`, { ca: readFileSync(cert), agent: false }, (answer) => {
            let text = "";
            answer.on("data", (piece) => (text += piece));
            answer.on("end", () => resolve(Number(new RegExp(`^puna_${name} (\\S+)$`, "m").exec(text)[1])));
        }).on("error", reject);
    });
}

test("whole answers and streams are the same", async () => {
    const [whole, streamed] = await run(`
        const whole = await client.completions.create(TEXT);
        let streamed = "";
        for await (const part of await client.completions.create({ ...TEXT, stream: true })) {
            streamed += part.choices[0]?.text ?? "";
        }
        console.log(JSON.stringify([whole.choices[0].text, streamed]));`, { NODE_EXTRA_CA_CERTS: cert });
    assert.ok(whole.length > 0);
    assert.equal(streamed, whole);
});

test("who does not know the authority does not connect", async () => {
    const name = await run(`
        const failed = await client.models.list().catch((error) => error);
        console.log(JSON.stringify(failed.constructor.name));`);
    assert.equal(name, "APIConnectionError");
});

test("a stream that is aborted is cancelled", async () => {
    const before = await metric("generation_tokens_total");
    await run(`
        const stream = await client.completions.create({ ...LONG, stream: true });
        for await (const part of stream) {
            stream.controller.abort();
            break;
        }
        console.log("0");`, { NODE_EXTRA_CA_CERTS: cert });
    const end = Date.now() + 20000;
    while ((await metric("kv_pages_in_use")) > 0 || (await metric("requests_running")) > 0) {
        assert.ok(Date.now() < end);
        await new Promise((resolve) => setTimeout(resolve, 5));
    }
    assert.ok((await metric("generation_tokens_total")) - before < 8 * 1900);
});

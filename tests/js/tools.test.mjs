// Conversations of ten turns with tools: the official JavaScript client's runTools, and Vercel's AI SDK.
// What the model says is written in advance (tests/cli/scripted_model.py).
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";

import { MODEL, Server } from "./server.mjs";

const HELLO = [{ role: "user", content: "Hi!" }];
const PARAMETERS = {
    type: "object",
    properties: { city: { type: "string" }, days: { type: "integer" } },
    required: ["city"],
};
const FAMILIES = ["llama3", "chatml", "llama3 in odd spaces at its end"];

let folder, script; // what the model asks for, and says in the end
const servers = {};
before(async () => {
    folder = mkdtempSync(path.join(os.tmpdir(), "tools-"));
    for (const family of FAMILIES) {
        const model = path.join(folder, `${family}.gguf`);
        const maker = path.join(import.meta.dirname, "../cli/scripted_model.py");
        script = JSON.parse(spawnSync("python3", [maker, model, family]).stdout);
        servers[family] = await Server.startOn(model);
    }
});
after(async () => {
    for (const server of Object.values(servers)) {
        assert.equal(await server.stop(), 0);
    }
    rmSync(folder, { recursive: true });
});

for (const family of FAMILIES) {
    for (const stream of [false, true]) {
        test(`runTools goes through ten turns: ${family}, ${stream ? "streams" : "whole answers"}`, async () => {
            const calls = [];
            const runner = servers[family].client().chat.completions.runTools({
                model: MODEL,
                messages: HELLO,
                temperature: 0,
                stream,
                ...(stream && { stream_options: { include_usage: true } }),
                tools: [
                    {
                        type: "function",
                        function: {
                            name: "get_weather",
                            description: "Tells the weather.",
                            parameters: PARAMETERS,
                            parse: JSON.parse,
                            function: (place) => {
                                calls.push(place);
                                return { rain: place.days };
                            },
                        },
                    },
                ],
            }, { maxChatCompletions: 20 });
            const deltas = [];
            if (stream) {
                runner.on("chunk", (chunk) => deltas.push(...(chunk.choices[0]?.delta.tool_calls ?? [])));
            }
            assert.equal(await runner.finalContent(), script.last_words);
            assert.deepEqual(calls, script.asked);
            assert.equal(runner.messages.length, HELLO.length + script.n_turns + script.asked.length + 1);
            const named = deltas.filter((d) => d.id !== undefined);
            assert.equal(named.length, stream ? script.asked.length : 0);
            assert.equal(new Set(named.map((d) => d.id)).size, named.length);
            const usages = runner.allChatCompletions().map((answer) => answer.usage);
            assert.equal(usages.length, script.n_turns + 1);
            usages.slice(1).forEach((usage, i) => { // what was said is found again, to its last token
                const before = usages[i].total_tokens - 1;
                assert.ok(usage.prompt_tokens_details.cached_tokens >= before, `answer ${i + 1}`);
            });
        });
    }

    test(`the AI SDK goes through ten steps: ${family}`, async () => {
        const provider = createOpenAICompatible({ name: "puna", baseURL: `${servers[family].url}/v1`, apiKey: "none" });
        const run = (of) => {
            const calls = [];
            const get_weather = tool({
                description: "Tells the weather.",
                inputSchema: jsonSchema(PARAMETERS),
                execute: async (place) => {
                    calls.push(place);
                    return { rain: place.days };
                },
            });
            const shape = { model: provider.chatModel(MODEL), messages: HELLO, temperature: 0, maxRetries: 0 };
            return [of({ ...shape, tools: { get_weather }, stopWhen: stepCountIs(20) }), calls];
        };
        const [whole, wholeCalls] = run(generateText);
        assert.equal((await whole).text, script.last_words);
        assert.deepEqual(wholeCalls, script.asked);
        assert.equal((await whole).steps.length, script.n_turns + 1);
        assert.ok((await whole).steps.slice(0, script.n_turns).every((s) => s.finishReason === "tool-calls"));
        const [streamed, streamedCalls] = run(streamText);
        assert.equal(await streamed.text, script.last_words);
        assert.deepEqual(streamedCalls, script.asked);
        assert.equal((await streamed.steps).length, script.n_turns + 1);
    });
}

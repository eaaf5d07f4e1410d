// Conversations of ten turns with tools: the official JavaScript client's runTools, and Vercel's AI SDK. What the model
// says is written in advance (tests/cli/scripted_model.py), or it is the default model's, whose calls are demanded.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

import { MODEL, Server } from "./server.mjs";

const HELLO = [{ role: "user", content: "Hi!" }];
const FAMILIES = ["llama3", "chatml"];
const DEFAULT = process.env.PUNA_TEST_MODEL ?? "";
const SKIP = { skip: existsSync(DEFAULT) ? false : `no default model at '${DEFAULT}': tools/fetch-default-model brings it` };

let folder, script, Place; // what the model asks for, and says in the end; what it may ask for
const servers = {};
before(async () => {
    folder = mkdtempSync(path.join(os.tmpdir(), "tools-"));
    for (const family of FAMILIES) {
        const model = path.join(folder, `${family}.gguf`);
        const maker = path.join(import.meta.dirname, "../cli/scripted_model.py");
        script = JSON.parse(spawnSync("python3", [maker, model, family]).stdout);
        servers[family] = await Server.startOn(model);
    }
    Place = z.strictObject({ city: z.enum(script.asked.map((place) => place.city)), days: z.int().min(0).max(9) });
    if (!SKIP.skip) {
        servers.default = await Server.startOn(DEFAULT, "-c", "4096");
    }
});
after(async () => {
    for (const server of Object.values(servers)) {
        assert.equal(await server.stop(), 0);
    }
    rmSync(folder, { recursive: true });
});

// What the tool says after these calls: where to ask next.
function answer(calls) {
    return script.asked[calls.length] ?? "No more.";
}

// The client's loop, and the arguments that its tool is called with while it runs; so does the next function.
function runTools(server, request, options) {
    const calls = [];
    const runner = server.client().chat.completions.runTools({
        model: MODEL,
        temperature: 0,
        ...request,
        ...(request.stream ? { stream_options: { include_usage: true } } : {}),
        tools: [
            {
                type: "function",
                function: {
                    name: "get_weather",
                    description: "Tells the weather.",
                    parameters: z.toJSONSchema(Place),
                    parse: (text) => Place.parse(JSON.parse(text)),
                    function: (place) => {
                        calls.push(place);
                        return answer(calls);
                    },
                },
            },
        ],
    }, options);
    return [runner, calls];
}

function runSteps(of, server, request) {
    const calls = [];
    const get_weather = tool({
        description: "Tells the weather.",
        inputSchema: Place,
        execute: async (place) => {
            calls.push(place);
            return answer(calls);
        },
    });
    const provider = createOpenAICompatible({ name: "puna", baseURL: `${server.url}/v1`, apiKey: "none", includeUsage: true });
    const shape = { model: provider.chatModel(MODEL), temperature: 0, maxRetries: 0, stopWhen: stepCountIs(20) };
    return [of({ ...shape, ...request, tools: { get_weather } }), calls];
}

for (const family of FAMILIES) {
    for (const stream of [false, true]) {
        test(`runTools goes through ten turns: ${family}, ${stream ? "streams" : "whole answers"}`, async () => {
            const [runner, calls] = runTools(servers[family], { messages: HELLO, stream }, { maxChatCompletions: 20 });
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
        });
    }

    test(`the AI SDK goes through ten steps: ${family}`, async () => {
        const [whole, wholeCalls] = runSteps(generateText, servers[family], { messages: HELLO });
        assert.equal((await whole).text, script.last_words);
        assert.deepEqual(wholeCalls, script.asked);
        assert.equal((await whole).steps.length, script.n_turns + 1);
        assert.ok((await whole).steps.slice(0, script.n_turns).every((s) => s.finishReason === "tool-calls"));
        const [streamed, streamedCalls] = runSteps(streamText, servers[family], { messages: HELLO });
        assert.equal(await streamed.text, script.last_words);
        assert.deepEqual(streamedCalls, script.asked);
        assert.equal((await streamed.steps).length, script.n_turns + 1);
    });
}

// --- the default model, which was taught no tools; it asks for what it was told to

const MAX_TOKENS = 60;
const oneByOne = (salt) => ({ parallel_tool_calls: false, cache_salt: salt }); // nothing is in the cache of a new salt
const start = () => [{ role: "user", content: `Ask for ${JSON.stringify(script.asked[0])} first.` }];

// usages: of each turn, [tokens of its conversation that the next one has, those that it found in the cache].
function checkTurns(calls, ids, usages) {
    assert.deepEqual(calls, script.asked.slice(0, script.n_turns));
    assert.ok(ids.length === script.n_turns && new Set(ids).size === ids.length);
    assert.equal(usages.length, script.n_turns);
    usages.slice(1).forEach(([, cached], i) => assert.ok(cached >= usages[i][0] - 2, `${i}: ${cached} of ${usages[i][0]}`));
}

for (const stream of [false, true]) {
    const title = `runTools goes through ten turns: the default model, ${stream ? "streams" : "whole answers"}`;
    test(title, SKIP, async () => {
        const request = { stream, max_tokens: MAX_TOKENS, ...oneByOne(title) };
        const demanded = { ...request, messages: start(), tool_choice: "required" };
        const [runner, calls] = runTools(servers.default, demanded, { maxChatCompletions: script.n_turns });
        await runner.done();
        const answers = runner.allChatCompletions();
        assert.ok(answers.every((a) => a.choices[0].finish_reason === "tool_calls"));
        const asked = runner.messages.flatMap((m) => m.tool_calls ?? []);
        assert.deepEqual(asked.map((c) => JSON.parse(c.function.arguments)), calls);
        const answered = runner.messages.filter((m) => m.role === "tool");
        assert.deepEqual(answered.map((m) => m.tool_call_id), asked.map((c) => c.id));
        const usages = answers.map(({ usage: u }) => [u.total_tokens, u.prompt_tokens_details.cached_tokens]);
        checkTurns(calls, asked.map((c) => c.id), usages);

        const messages = [...runner.messages];
        const [last] = runTools(servers.default, { ...request, messages, tool_choice: "none" });
        assert.ok((await last.finalContent()).length > 0);
        assert.equal((await last.finalChatCompletion()).choices[0].finish_reason, "stop");
        assert.equal(last.messages.length, messages.length + 1);
    });
}

for (const [name, of] of Object.entries({ generateText, streamText })) {
    const title = `the AI SDK goes through ten steps: the default model, ${name}`;
    test(title, SKIP, async () => {
        const [result, calls] = runSteps(of, servers.default, {
            messages: start(),
            maxOutputTokens: MAX_TOKENS,
            providerOptions: { puna: oneByOne(title) },
            prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber < script.n_turns ? "required" : "none" }),
        });
        const steps = await (await result).steps;
        const turns = steps.slice(0, script.n_turns);
        assert.ok(turns.every((s) => s.finishReason === "tool-calls" && s.toolCalls.length === 1));
        assert.deepEqual(turns.map((s) => s.toolCalls[0].input), calls);
        const ids = turns.map((s) => s.toolCalls[0].toolCallId);
        assert.deepEqual(turns.map((s) => s.toolResults[0].toolCallId), ids);
        // It spells arguments anew, without spaces, when it sends them back.
        checkTurns(calls, ids, turns.map(({ usage: u }) => [u.inputTokens, u.inputTokenDetails.cacheReadTokens]));
        assert.equal(steps.length, script.n_turns + 1);
        assert.equal(await (await result).finishReason, "stop");
        assert.ok((await (await result).text).length > 0);
        assert.deepEqual(steps.at(-1).toolCalls, []);
    });
}

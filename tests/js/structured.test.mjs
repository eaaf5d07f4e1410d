// Objects rather than text, as JavaScript programs ask for them: the official client's parse() with zod, Vercel's AI SDK.
// Random weights write them, so that nothing is right by chance.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, jsonSchema, Output, streamText, tool } from "ai";
import { LengthFinishReasonError } from "openai/error";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

import { Server } from "./server.mjs";

const HELLO = [{ role: "user", content: "Tell me about Bob." }];
const MODEL = "tiny";
const word = () => z.string().max(6);
const Place = z.object({ city: word().describe("A name."), height: z.number().int().min(0).max(6000) });
const KINDS = {
    nested: z.object({ name: word(), home: Place, kinds: z.array(z.enum(["llama", "alpaca"])).max(3) }),
    union: z.object({
        contact: z.discriminatedUnion("kind", [
            z.object({ kind: z.literal("email"), name: word() }),
            z.object({ kind: z.literal("phone"), number: z.number().int().min(0).max(999) }),
        ]),
        other: z.union([word(), z.boolean(), z.null()]),
    }),
    nullable: z.object({ name: word().nullable(), ratio: z.number().min(0).max(1).nullable() }),
    tree: z.object({
        value: z.literal([1, 2, 3]),
        get next() {
            return KINDS.tree.nullable();
        },
    }),
    exact: z.object({ code: z.string().regex(/^[A-Z]{2}-\d{3}$/), when: z.iso.date(), id: z.uuid() }),
};
const SEEDS = [1, 2, 3, 4, 5, 6];

let server, client, provider;
before(async () => {
    server = await Server.start("--alias", MODEL, "-c", "2048");
    client = server.client();
    provider = createOpenAICompatible({ name: "puna", baseURL: `${server.url}/v1`, apiKey: "none", supportsStructuredOutputs: true });
});
after(async () => {
    assert.equal(await server.stop(), 0);
});

// --- the official client

const options = (seed) => ({ model: MODEL, messages: HELLO, max_tokens: 600, temperature: 1.5, seed });

for (const [name, kind] of Object.entries(KINDS)) {
    test(`parse gives what zod describes: ${name}`, async () => {
        let parsed = 0;
        for (const seed of SEEDS) {
            let answer;
            try {
                answer = await client.chat.completions.parse({ ...options(seed), response_format: zodResponseFormat(kind, name) });
            } catch (error) {
                assert.ok(error instanceof LengthFinishReasonError, error);
                continue;
            }
            const { message, finish_reason: reason } = answer.choices[0];
            assert.equal(reason, "stop");
            assert.deepEqual(kind.parse(JSON.parse(message.content)), message.parsed);
            parsed++;
        }
        assert.ok(parsed > 0);
    });
}

test("a stream is parsed when it has ended", async () => {
    const format = zodResponseFormat(KINDS.nested, "nested");
    const stream = client.chat.completions.stream({ ...options(1), response_format: format });
    const snapshots = [];
    stream.on("content.delta", ({ parsed }) => snapshots.push(parsed));
    const { message } = (await stream.finalChatCompletion()).choices[0];
    assert.deepEqual(KINDS.nested.parse(JSON.parse(message.content)), message.parsed);
    assert.deepEqual(snapshots.at(-1), message.parsed);
    const whole = await client.chat.completions.parse({ ...options(1), response_format: format });
    assert.equal(whole.choices[0].message.content, message.content);
});

test("functions made of zod are strict, and their arguments are parsed", async () => {
    const tools = [zodFunction({ name: "exact", parameters: KINDS.exact }), zodFunction({ name: "nullable", parameters: KINDS.nullable })];
    assert.ok(tools.every((t) => t.function.strict));
    for (const choice of ["required", { type: "function", function: { name: "nullable" } }]) {
        const answer = await client.chat.completions.parse({ ...options(2), tools, tool_choice: choice, parallel_tool_calls: false });
        const [call] = answer.choices[0].message.tool_calls;
        assert.deepEqual(KINDS[call.function.name].parse(JSON.parse(call.function.arguments)), call.function.parsed_arguments);
        assert.ok(choice === "required" || call.function.name === "nullable");
    }
});

// --- Vercel's AI SDK

for (const [name, kind] of Object.entries(KINDS)) {
    test(`the AI SDK's objects are what zod describes: ${name}`, async () => {
        let found = 0;
        for (const seed of SEEDS) {
            const request = generateText({
                model: provider.chatModel(MODEL),
                prompt: "Tell me about Bob.",
                maxOutputTokens: 600,
                temperature: 1.5,
                seed,
                maxRetries: 0,
                output: Output.object({ schema: kind }),
            });
            const answer = await request.catch((error) => error);
            if (answer.finishReason === "stop") {
                assert.deepEqual(kind.parse(JSON.parse(answer.text)), answer.output);
                found++;
            } else {
                assert.equal(answer.finishReason, "length", answer);
            }
        }
        assert.ok(found > 0);
    });
}

test("generateObject gives objects, and one of some words", async () => {
    const base = { model: provider.chatModel(MODEL), prompt: "Tell me about Bob.", maxOutputTokens: 400, temperature: 1, seed: 3, maxRetries: 0 };
    const { object } = await generateObject({ ...base, schema: KINDS.nested });
    assert.deepEqual(KINDS.nested.parse(object), object);
    const { object: word } = await generateObject({ ...base, output: "enum", enum: ["yes", "no"] });
    assert.ok(["yes", "no"].includes(word));
    const { object: list } = await generateObject({ ...base, output: "array", schema: Place, seed: 5, maxOutputTokens: 1500 }).catch((e) => {
        assert.equal(e.finishReason, "length");
        return { object: [] };
    });
    assert.deepEqual(z.array(Place).parse(list), list);
});

test("a stream of an object grows to the object", async () => {
    const result = streamText({
        model: provider.chatModel(MODEL),
        prompt: "Tell me about Bob.",
        maxOutputTokens: 400,
        temperature: 1,
        seed: 1,
        maxRetries: 0,
        output: Output.object({ schema: KINDS.nested }),
        onError: ({ error }) => assert.fail(error),
    });
    const parts = [];
    for await (const part of result.partialOutputStream) {
        parts.push(part);
    }
    assert.deepEqual(KINDS.nested.parse(parts.at(-1)), await result.output);
});

test("a demanded call of the AI SDK has valid arguments", async () => {
    for (const toolChoice of ["required", { type: "tool", toolName: "place" }]) {
        const answer = await generateText({
            model: provider.chatModel(MODEL),
            prompt: "Where does Bob live?",
            maxOutputTokens: 600,
            temperature: 1,
            seed: 1,
            maxRetries: 0,
            toolChoice,
            tools: {
                place: tool({ description: "Says where.", inputSchema: Place }),
                nested: tool({ description: "Says all.", inputSchema: jsonSchema(z.toJSONSchema(KINDS.nested)) }),
            },
        });
        assert.ok(answer.toolCalls.length > 0);
        for (const call of answer.finishReason === "length" ? answer.toolCalls.slice(0, -1) : answer.toolCalls) {
            assert.ok(!call.invalid && call.toolName in { place: 1, nested: 1 });
            assert.ok(toolChoice === "required" || call.toolName === "place");
        }
    }
});

// One message; the answer comes as it is made, piece by piece.
import OpenAI from "openai";

const client = new OpenAI({
    baseURL: process.env.OPENAI_BASE_URL ?? "http://127.0.0.1:8080/v1",
    apiKey: process.env.OPENAI_API_KEY ?? "none",
});

const stream = await client.chat.completions.create({
    model: "meta-llama/llama-3.3-70b-instruct",
    messages: [
        { role: "system", content: "Act like you are a helpful assistant." },
        { role: "user", content: "Hi there!" },
    ],
    max_tokens: 512,
    stream: true,
});
for await (const chunk of stream) {
    process.stdout.write(chunk.choices[0].delta.content ?? "");
}
process.stdout.write("\n");

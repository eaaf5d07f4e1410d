// A running `puna serve` with the model of random weights that lies beside the program $PUNA.
import { spawn } from "node:child_process";
import path from "node:path";
import { createInterface } from "node:readline";

import OpenAI from "openai";

export const MODEL = "meta-llama/llama-3.3-70b-instruct";
export const PROGRAM = process.env.PUNA ?? "build/release/puna";
export const TINY = path.join(path.dirname(PROGRAM), "tests/tiny.gguf");
const LIMIT_MS = 20000;

export class Server {
    // The plain kernels and one thread: what is to be stopped must not have ended by itself.
    static start(...options) {
        return Server.startOn(TINY, ...options);
    }

    static async startOn(model, ...options) {
        const server = new Server();
        const all = ["serve", "--port", "0", "--log", "none", "--alias", MODEL, "--cpu", "ref", "-t", "1", ...options, model];
        server.child = spawn(PROGRAM, all, {
            stdio: ["ignore", "pipe", "inherit"],
            env: { ...process.env, PUNA_STORE: "", XDG_DATA_HOME: "/nonexistent" },
        });
        server.ended = new Promise((resolve) => server.child.on("close", resolve));
        server.kill = () => server.child.kill("SIGKILL");
        process.on("exit", server.kill);
        for await (const line of createInterface({ input: server.child.stdout })) {
            server.url = /^listening on (https?:\S+)$/.exec(line)[1];
            return server;
        }
        throw new Error("the server did not start");
    }

    client(options = {}) {
        return new OpenAI({ baseURL: `${this.url}/v1`, apiKey: "none", maxRetries: 0, ...options });
    }

    async metric(name) {
        const text = await (await fetch(`${this.url}/metrics`)).text();
        return Number(new RegExp(`^puna_${name} (\\S+)$`, "m").exec(text)[1]);
    }

    // Waits until the metric has the value; fails when that does not come.
    async until(name, value) {
        const end = Date.now() + LIMIT_MS;
        let found;
        while ((found = await this.metric(name)) !== value) {
            if (Date.now() > end) {
                throw new Error(`puna_${name} is still ${found}, not ${value}`);
            }
            await new Promise((resolve) => setTimeout(resolve, 5));
        }
    }

    async idle() {
        await this.until("requests_waiting", 0);
        await this.until("requests_running", 0);
        await this.until("kv_pages_in_use", 0);
    }

    // The exit code; what runs is finished first.
    async stop() {
        this.child.kill("SIGTERM");
        const code = await this.ended;
        process.off("exit", this.kill);
        return code;
    }
}

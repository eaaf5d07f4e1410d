// Web pages and a browser for the tests: Debian's Chromium, and a server of pages that belongs to another
// origin than the server that they call.
import { readFile } from "node:fs/promises";
import http from "node:http";
import path from "node:path";

import { chromium } from "playwright-core";

const OPENAI = path.join(import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname), "node_modules/openai");
const PAGE = `<!doctype html><meta charset="utf-8"><title>page</title><link rel="icon" href="data:,">`;

async function answer(request, response) {
    const [pathname] = request.url.split("?");
    if (pathname === "/") {
        response.writeHead(200, { "content-type": "text/html" }).end(PAGE);
        return;
    }
    try {
        const file = path.join(OPENAI, path.normalize(pathname));
        response.writeHead(200, { "content-type": "text/javascript" }).end(await readFile(file));
    } catch {
        response.writeHead(404).end();
    }
}

// Serves an empty page as /, and beside it the files of the official client.
export class Pages {
    static async start() {
        const pages = new Pages();
        pages.server = http.createServer(answer);
        await new Promise((resolve) => pages.server.listen(0, "127.0.0.1", resolve));
        const { port } = pages.server.address();
        // Two names of one address are two origins.
        pages.origin = `http://127.0.0.1:${port}`;
        pages.otherOrigin = `http://localhost:${port}`;
        return pages;
    }

    async stop() {
        this.server.closeAllConnections();
        await new Promise((resolve) => this.server.close(resolve));
    }
}

// Without a sandbox, which root has none of; the pages are our own.
export function startBrowser() {
    const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
    return chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
}

// Runs the specs in their order: node run.mjs --install FOLDER --vsix FILE --python FILE [--only PART,PART] [--tries N] [--pictures FOLDER]
//
// A spec is a module in specs/ with a title and a default function; it gets a window of its own, on a workspace of its own.

import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";
import { Editor, WINDOW } from "./editor.mjs";
import { Server } from "./server.mjs";
import { makeMap, makeWorkspace, ROOT } from "./workspace.mjs";

const BROWSER = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const { values: options } = parseArgs({
  options: {
    install: { type: "string" },
    vsix: { type: "string" },
    python: { type: "string" },
    only: { type: "string", default: "" },
    tries: { type: "string", default: "3" },
    pictures: { type: "string", default: join(ROOT, "build", "e2e", "pictures") },
  },
});

const say = (text) => process.stdout.write(`${text}\n`);
const seconds = (milliseconds) => `${(milliseconds / 1000).toFixed(1)} s`;
const measured = [];
const failed = [];
const repeated = [];

process.env.PYTHONPATH = [ROOT, process.env.PYTHONPATH].filter(Boolean).join(":");
process.env.OMP_NUM_THREADS ??= "1";
process.env.HF_HUB_OFFLINE = "1";

const home = await mkdtemp(join(tmpdir(), "llm-dap-e2e-"));
const failures = join(ROOT, "build", "e2e", "failures");
await rm(failures, { recursive: true, force: true });

const map = await makeMap(join(home, "atlas.llmmap"), options.python);
const servers = new Map();

/** One server for all specs that want the same of it. */
async function serverFor({ trust = false, settings = {}, python = options.python }) {
  const key = JSON.stringify({ trust, settings, python });
  if (!servers.has(key)) {
    const folder = join(home, `server-${servers.size}`);
    const server = new Server({ install: resolve(options.install), folder, python, trust, settings });
    servers.set(key, server);
    await server.start(resolve(options.vsix));
  }
  return servers.get(key);
}

/** Whether it passes. Every attempt has a workspace and a window of its own. */
async function runSpec(browser, name, attempt) {
  const spec = await import(`./specs/${name}`);
  say(`\n${name}: ${spec.title}`);
  const server = await serverFor(spec.server ?? {});
  const folder = await makeWorkspace(join(home, `${name.replace(".mjs", "")}-${attempt}`), map, spec);
  const context = await browser.newContext({ viewport: WINDOW, permissions: ["clipboard-read", "clipboard-write"] });
  const editor = new Editor(await context.newPage(), server, options.pictures);
  const step = async (sentence, action) => {
    const begun = performance.now();
    try {
      const value = await action();
      say(`  ok    ${sentence} (${seconds(performance.now() - begun)})`);
      return value;
    } catch (error) {
      say(`  FAIL  ${sentence}\n${String(error.stack ?? error).replace(/^/gm, "        ")}`);
      throw error;
    }
  };
  const measure = (what, milliseconds) => measured.push([what, milliseconds]);
  try {
    await editor.openFolder(folder);
    await spec.default({ editor, folder, step, measure, python: options.python });
    return true;
  } catch (error) {
    await mkdir(failures, { recursive: true });
    const picture = join(failures, `${name.replace(/\.mjs$/, "")}.png`);
    await editor.page.screenshot({ path: picture }).catch(() => undefined);
    say(`        the window: ${picture}`);
    if (editor.problems.length > 0) {
      say(`        errors in the page: ${editor.problems.join("; ")}`);
    }
    const said = await server.said();
    if (said) {
      say(`        the server: ${said.split("\n").slice(-10).join("\n        ")}`);
    }
    if (!String(error.stack).includes("specs/")) {
      say(String(error.stack));
    }
    return false;
  } finally {
    await context.close();
  }
}

const begun = performance.now();
const browser = await chromium.launch({
  executablePath: existsSync("/usr/bin/chromium") ? "/usr/bin/chromium" : "chromium",
  args: BROWSER,
});
try {
  const names = (await readdir(new URL("specs", import.meta.url))).filter((name) => name.endsWith(".mjs")).sort();
  const parts = options.only.split(",");
  for (const name of names.filter((each) => parts.some((part) => each.includes(part)))) {
    let attempt = 1;
    while (!(await runSpec(browser, name, attempt))) {
      if (attempt === Number(options.tries)) {
        failed.push(name);
        break;
      }
      say(`\n${name} failed, and is tried once more: a browser on a busy machine loses a click now and then`);
      attempt += 1;
    }
    if (attempt > 1 && !failed.includes(name)) {
      repeated.push(`${name} (${attempt} tries)`);
    }
  }
} finally {
  await browser.close();
  for (const server of servers.values()) {
    await server.stop();
  }
  await rm(home, { recursive: true, force: true });
}

say("");
for (const [what, milliseconds] of measured) {
  say(`${milliseconds.toFixed(0).padStart(7)} ms  ${what}`);
}
say(`${((await stat(options.vsix)).size / 1024).toFixed(0).padStart(7)} KB  the packaged extension`);
if (repeated.length > 0) {
  say(`\nnot at the first try: ${repeated.join(", ")}`);
}
say(
  `\n${failed.length === 0 ? "all specs passed" : `failed: ${failed.join(", ")}`} in ${seconds(performance.now() - begun)}`,
);
process.exit(failed.length === 0 ? 0 : 1);

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { until } from "../editor.mjs";

export const title = "attaching to a program that runs, and leaving it";
export const programs = ["prompts.py"];

/** A program that listens and waits for an editor: its port, its token, what it has said, and its end. */
async function listening(python, file) {
  const process = spawn(python, ["-m", "dap_server", "listen", "--port", "0", "--wait", file]);
  const said = { out: "", err: "" };
  process.stdout.on("data", (data) => {
    said.out += data;
  });
  process.stderr.on("data", (data) => {
    said.err += data;
  });
  const ended = once(process, "exit");
  const line = await until(
    () => /listens on 127\.0\.0\.1:(\d+) with the token (\S+)/.exec(said.err),
    () => `a program that listens; it said ${JSON.stringify(said)}`,
  );
  return { port: Number(line[1]), token: line[2], said, ended, process };
}

/** A port on which nobody listens. */
async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

export default async function ({ editor, folder, step, python }) {
  const program = await listening(python, join(folder, "programs", "prompts.py"));
  const started = [program.process];
  try {
    const connect = { host: "127.0.0.1", port: program.port };
    const attach = { type: "llm", request: "attach" };
    const configurations = [
      { ...attach, name: "Nobody", connect: { port: await freePort() } },
      { ...attach, name: "Wrong", connect: { ...connect, token: `${program.token}x` } },
      { ...attach, name: "Right", connect },
    ];
    await writeFile(join(folder, ".vscode", "launch.json"), JSON.stringify({ version: "0.2.0", configurations }));

    await step("where nobody listens, it is said how a program listens", async () => {
      await editor.show("Run and Debug");
      await editor.functionBreakpoint("*.layers.1");
      await editor.start("Nobody");
      assert.match(await editor.notification("nothing listens"), /127\.0\.0\.1:\d+.*llm-dap listen/);
      await editor.dismiss();
      await editor.ended();
    });

    await step("with a wrong token nobody is let in, and it is said where the token is from", async () => {
      await editor.start("Wrong");
      assert.match(await editor.notification("token is wrong"), /connect\.token/);
      await editor.dismiss();
      await editor.ended();
    });

    await step("a program of one's own needs no token, and goes on until it calls its model", async () => {
      await editor.start("Right");
      await editor.stoppedAt("model.layers.1", 60_000);
      for (const frame of ["step 0", "answer", "main"]) {
        await editor.frame(frame);
      }
      await editor.status(new RegExp(`127\\.0\\.0\\.1:${program.port} · LlamaForCausalLM · cpu · token 0`));
    });

    await step("when the editor leaves, the program goes on and ends by itself", async () => {
      await editor.press("disconnect");
      await editor.ended();
      assert.deepEqual(await program.ended, [0, null]);
      assert.match(program.said.out, /capital of France.*capital of Italy.*capital of Japan/s);
    });

    await step("a command attaches without a launch.json, to another program", async () => {
      const other = await listening(python, join(folder, "programs", "prompts.py"));
      started.push(other.process);
      await editor.command("LLM: Attach to a Python Program…");
      await editor.answer(String(other.port), { title: "Where it listens" });
      await editor.moving(() => editor.answer(other.token, { title: "Token that the program printed" }));
      await editor.stoppedAt("model.layers.1", 60_000);
    });

    await step("and says so when that is killed", async () => {
      started[1].kill("SIGKILL");
      await editor.ended();
      await editor.notification("has ended, or the connection is lost");
    });
  } finally {
    for (const each of started) {
      each.kill("SIGKILL");
    }
  }
}

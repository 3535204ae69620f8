// Plays one session and prints what it saw as JSON: node session.cjs PYTHON MODEL PROMPT MAX_NEW_TOKENS
"use strict";

const fs = require("fs");
const { DebugClient } = require("@vscode/debugadapter-testsupport");

const [python, model, prompt, count] = process.argv.slice(2);
const TIMEOUT = 60000;
const THREAD = { threadId: 1 };

async function main() {
  // It starts a runtime with one script; ours is a module with an argument, which a shell takes apart.
  const client = new DebugClient(`"${python}" -m dap_server`, "adapter", "llm-dap", { shell: true }, true);
  client.defaultTimeout = TIMEOUT;
  const seen = { places: [], output: "", stops: 0 };
  client.on("output", ({ body }) => {
    if (body.category === "stdout") seen.output += body.output;
  });
  const place = async () => {
    const { body } = await client.stackTraceRequest({ ...THREAD, startFrame: 0, levels: 1 });
    seen.places.push(body.stackFrames[0].name);
  };
  const move = async (request) => {
    const stopped = client.waitForEvent("stopped", TIMEOUT);
    await request.call(client, THREAD);
    await stopped;
    await place();
  };

  await client.start();
  await client.initializeRequest();
  const ended = client.waitForEvent("terminated", TIMEOUT);
  const exited = client.waitForEvent("exited", TIMEOUT);
  const first = client.waitForEvent("stopped", TIMEOUT);
  const initialized = client.waitForEvent("initialized", TIMEOUT);
  const launched = client.launchRequest({
    model,
    prompt,
    generation: { max_new_tokens: Number(count) },
    stopAtEnd: false,
  });
  await initialized;
  await client.setFunctionBreakpointsRequest({ breakpoints: [{ name: "*.layers.3" }] });
  await client.configurationDoneRequest();
  await launched;
  seen.hits = (await first).body.hitBreakpointIds;
  await place();
  await move(client.nextRequest);
  await move(client.stepInRequest);
  await move(client.stepOutRequest);
  await breakOnLine(client, seen, move);
  client.on("stopped", () => {
    seen.stops += 1;
    client.continueRequest(THREAD);
  });
  await client.continueRequest(THREAD);
  seen.exitCode = (await exited).body.exitCode;
  await ended;
  await client.stop();
  console.log(JSON.stringify(seen));
}

// Sets a breakpoint behind a module's line of the map that the stack points into, runs to it and takes it away.
async function breakOnLine(client, seen, move) {
  const { body } = await client.stackTraceRequest({ ...THREAD, startFrame: 0, levels: 1 });
  const source = { path: body.stackFrames[0].source.path };
  const text = fs.readFileSync(source.path, "utf8").split("\n");
  const line = 1 + text.findIndex((one) => one.trim().startsWith("model.layers.5.mlp "));
  const locations = await client.customRequest("breakpointLocations", { source, line });
  const { column } = locations.body.breakpoints[1];
  const set = await client.setBreakpointsRequest({ source, breakpoints: [{ line, column }] });
  seen.verified = set.body.breakpoints[0].verified;
  await move(client.continueRequest);
  await client.setBreakpointsRequest({ source, breakpoints: [] });
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});

import assert from "node:assert/strict";
import { mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { downloadedModels, isHubId, isModel, locate } from "../src/debug/models";
import { mapHeader } from "../src/language/header";

test("a model is a folder whose config.json says so", async () => {
  const folder = await mkdtemp(join(tmpdir(), "llm-dap-"));
  const config = join(folder, "config.json");
  assert.equal(await isModel(config), false);
  await writeFile(config, '{"compilerOptions": {}}');
  assert.equal(await isModel(config), false);
  await writeFile(config, '{"model_type": "llama"}');
  assert.equal(await isModel(config), true);
});

test("a model is found from the folders that it may be named from", async () => {
  const folder = await mkdtemp(join(tmpdir(), "llm-dap-"));
  await mkdir(join(folder, "models", "small"), { recursive: true });
  await writeFile(join(folder, "models", "small", "config.json"), "{}");
  assert.equal(locate("models/small", ["/nowhere", folder]), join(folder, "models", "small"));
  assert.equal(locate("models/other", [folder]), "models/other");
});

test("models of the hub are found where they were downloaded to", async () => {
  const home = await mkdtemp(join(tmpdir(), "llm-dap-"));
  for (const name of ["models--gpt2", "models--Qwen--Qwen3-0.6B", "datasets--wikitext", "version.txt"]) {
    await mkdir(join(home, "hub", name), { recursive: true });
  }
  assert.deepEqual(await downloadedModels({ HF_HOME: home }), ["Qwen/Qwen3-0.6B", "gpt2"]);
  assert.deepEqual(await downloadedModels({ HF_HOME: join(home, "nowhere") }), []);
});

test("an id of the hub is told from a folder", () => {
  assert.ok(isHubId("gpt2") && isHubId("Qwen/Qwen3-0.6B"));
  assert.ok(!isHubId("./model") && !isHubId("/models/a") && !isHubId("a/b/c") && !isHubId("two words"));
});

test("the head of a map tells its model", () => {
  const text =
    "# llm-dap map 1\n# model: fixtures/models/atlas\n# class: LlamaForCausalLM\n\nstep   # model: another\n";
  assert.deepEqual(mapHeader(text), { model: "fixtures/models/atlas", className: "LlamaForCausalLM" });
  assert.deepEqual(mapHeader(""), { model: undefined, className: undefined });
});

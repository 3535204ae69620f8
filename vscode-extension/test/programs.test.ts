import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import {
  addressOf,
  attachConfiguration,
  isProgram,
  kindOf,
  programConfiguration,
  programPath,
  readAddress,
  readConnect,
  workingFolder,
  writtenAddress,
} from "../src/debug/programConfiguration";

const folder = mkdtempSync(join(tmpdir(), "llm-programs-"));
after(() => rmSync(folder, { recursive: true }));
writeFileSync(join(folder, "prompts.py"), "print()\n");

test("what is debugged is told by the options", () => {
  assert.equal(kindOf({ request: "launch", model: "gpt2" }), "model");
  assert.equal(kindOf({ request: "launch", program: "a.py" }), "program");
  assert.equal(kindOf({ request: "launch", module: "a.b" }), "module");
  assert.equal(kindOf({ request: "attach", program: "a.py" }), "attach");
  assert.equal(isProgram({ request: "launch" }), false);
});

test("a program is named by its file, and by no variable that stands for it", () => {
  assert.equal(programConfiguration("/here/prompts.py").name, "Debug prompts.py with its models");
  assert.equal(programConfiguration("${file}").name, "Debug the Python file with its models");
});

test("a program is found from the working folder", () => {
  assert.deepEqual(programPath("prompts.py", folder), { path: join(folder, "prompts.py") });
  assert.deepEqual(programPath(join(folder, "prompts.py"), undefined), { path: join(folder, "prompts.py") });
});

test("a program that is not there, a folder and what is no path are refused in words", () => {
  assert.match(problem(programPath("nowhere.py", folder)), /^There is no program at .*nowhere\.py: check “program”/);
  assert.match(problem(programPath(".", folder)), /is a folder.*“module”/);
  assert.match(problem(programPath(7, folder)), /path of a Python file/);
  assert.match(problem(programPath("", folder)), /path of a Python file/);
});

test("the working folder is the configuration's, else the workspace's, else the program's", () => {
  assert.deepEqual(workingFolder({ cwd: folder, program: "/x/y.py" }, "/workspace"), { cwd: folder });
  assert.deepEqual(workingFolder({ program: "/x/y.py" }, "/workspace"), { cwd: "/workspace" });
  assert.deepEqual(workingFolder({ program: "/x/y.py" }, undefined), { cwd: "/x" });
  assert.deepEqual(workingFolder({ module: "a.b" }, undefined), {});
  assert.match(problem(workingFolder({ cwd: "/nowhere/at/all" }, undefined)), /There is no folder .*“cwd”/);
});

test("an address is a port of this machine, or a host and a port", () => {
  assert.deepEqual(readAddress(" 5678 "), { host: "127.0.0.1", port: 5678 });
  assert.deepEqual(readAddress("gpu-7:80"), { host: "gpu-7", port: 80 });
  assert.deepEqual(readAddress("[::1]:5678"), { host: "::1", port: 5678 });
  for (const wrong of ["", "gpu-7", "0", "70000", "a:b:1", "http://x:5"]) {
    assert.equal(readAddress(wrong), undefined, wrong);
  }
  assert.equal(writtenAddress({ port: 5678 }), "127.0.0.1:5678");
  assert.equal(writtenAddress({ host: "::1", port: 1 }), "[::1]:1");
});

test("a port may have come as a text; what cannot be read is left for the debugger to refuse", () => {
  assert.deepEqual(readConnect({ host: "h", port: "5678", token: "t" }), { host: "h", port: 5678, token: "t" });
  assert.deepEqual(readConnect("h:1"), { host: "h", port: 1 });
  assert.deepEqual(readConnect(5678), { host: "127.0.0.1", port: 5678 });
  assert.equal(readConnect("nonsense"), "nonsense");
  assert.deepEqual(readConnect({ port: "many" }), { port: "many" });
  assert.equal(readConnect(undefined), undefined);
});

test("a token that is empty is none", () => {
  const address = { host: "h", port: 1 };
  assert.deepEqual(attachConfiguration(address, "").connect, address);
  assert.deepEqual(attachConfiguration(address, "t").connect, { ...address, token: "t" });
});

test("a session has an address only where it was attached", () => {
  assert.equal(addressOf({ request: "attach", connect: { port: 5678 } }), "127.0.0.1:5678");
  assert.equal(addressOf({ request: "launch", program: "a.py" }), undefined);
});

function problem(found: object): string {
  return (found as { problem?: string }).problem ?? "no problem";
}

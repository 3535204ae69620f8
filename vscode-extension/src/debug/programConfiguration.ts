// Configurations of Python programs that call models: started here, or running already. Knows no editor.

import { existsSync, statSync } from "node:fs";
import { basename, dirname, isAbsolute, resolve } from "node:path";

/** Where programs listen by default, as debugpy has it. */
export const USUAL_PORT = 5678;
const HERE = "127.0.0.1";

/** The part of a configuration that says what is debugged; what it may be is up to whoever wrote it. */
export interface Given {
  type: string;
  request: string;
  name: string;
  [option: string]: unknown;
}

export type Kind = "attach" | "program" | "module" | "model";

export function kindOf(config: Record<string, unknown>): Kind {
  if (config.request === "attach") {
    return "attach";
  }
  return config.program !== undefined ? "program" : config.module !== undefined ? "module" : "model";
}

/** Whether a session is about a program, in which a stop may have no model around it. */
export function isProgram(config: Record<string, unknown>): boolean {
  return kindOf(config) !== "model";
}

export function programConfiguration(program: string): Given {
  const name = program.includes("${") ? "the Python file" : basename(program);
  return { type: "llm", request: "launch", name: `Debug ${name} with its models`, program };
}

export function moduleConfiguration(module: string): Given {
  return { type: "llm", request: "launch", name: "Debug a Python module with its models", module };
}

export function attachConfiguration({ host, port }: Address, token?: string): Given {
  const connect = { host, port, ...(token && { token }) };
  return { type: "llm", request: "attach", name: `Attach to ${host}:${port}`, connect };
}

// ------------------------------------------------------------------------------------------------------------ checks

/** A program by its whole path, from the working folder of its configuration; or in words what is wrong with it. */
export function programPath(program: unknown, cwd: string | undefined): { path: string } | { problem: string } {
  if (typeof program !== "string" || program.trim() === "") {
    return { problem: "“program” of the configuration is the path of a Python file." };
  }
  const path = resolve(cwd ?? ".", program.replace(/^~(?=\/)/, process.env.HOME ?? "~"));
  if (!existsSync(path)) {
    return { problem: `There is no program at ${path}: check “program” of the configuration.` };
  }
  if (!statSync(path).isFile()) {
    return { problem: `${path} is a folder. “program” names a Python file; a package is started with “module”.` };
  }
  return { path };
}

/** The folder that a session works in: what the configuration says, the workspace's, or the program's own. */
export function workingFolder(
  config: Record<string, unknown>,
  workspace: string | undefined,
): { cwd?: string } | { problem: string } {
  const { cwd, program } = config;
  if (typeof cwd === "string" && cwd !== "") {
    const folder = resolve(workspace ?? ".", cwd);
    return existsSync(folder) ? { cwd: folder } : { problem: `There is no folder at ${folder}: check “cwd”.` };
  }
  const own = typeof program === "string" && isAbsolute(program) ? dirname(program) : undefined;
  const found = workspace ?? own;
  return found === undefined ? {} : { cwd: found };
}

// --------------------------------------------------------------------------------------------------------- addresses

export interface Address {
  host: string;
  port: number;
}

/** `5678`, `HOST:5678`, `[::1]:5678`. */
export function readAddress(text: string): Address | undefined {
  const [, ipv6, name, digits] = /^\s*(?:(?:\[([^\]]+)\]|([^\s:[\]]+)):)?(\d{1,5})\s*$/.exec(text) ?? [];
  const port = Number(digits);
  return port >= 1 && port <= 65_535 ? { host: ipv6 ?? name ?? HERE, port } : undefined;
}

/** As a person types and reads it. */
export function writtenAddress({ host, port }: Partial<Address>): string {
  const name = host ?? HERE;
  return `${name.includes(":") ? `[${name}]` : name}:${port ?? "?"}`;
}

/** Where the program of a session listens, as it is written; undefined of a session that has started its own. */
export function addressOf(config: Record<string, unknown>): string | undefined {
  return kindOf(config) === "attach" ? writtenAddress((config.connect ?? {}) as Partial<Address>) : undefined;
}

/** What `connect` says, where a port may be a text that came from `${env:…}` or an input. */
export function readConnect(connect: unknown): unknown {
  if (typeof connect === "string" || typeof connect === "number") {
    return readAddress(String(connect)) ?? connect; // what cannot be read is for the debugger to refuse
  }
  const port = (connect as { port?: unknown } | undefined)?.port;
  return typeof port === "string" && /^\d+$/.test(port) ? { ...(connect as object), port: Number(port) } : connect;
}

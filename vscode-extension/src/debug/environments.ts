// Which Python can debug, and what is wrong with one that cannot. Knows no editor.

import { execFile } from "node:child_process";

/** The oldest llm-dap that this extension works with. */
export const OLDEST_DEBUGGER = "0.1.0";
export const OLDEST_PYTHON = [3, 11] as const;

/** A Python that may be there, and who says so. */
export interface Candidate {
  python: string;
  /** `launch.json` and `setting` are a person's own words: nothing else is tried then. */
  origin: "launch.json" | "setting" | "python extension" | "workspace" | "path";
}

export type Verdict =
  | { kind: "ready"; python: string; version: string }
  | { kind: "absent"; python: string }
  | { kind: "broken"; python: string; detail: string }
  | { kind: "old python"; python: string; version: string }
  | { kind: "no debugger"; python: string }
  | { kind: "old debugger"; python: string; version: string }
  | { kind: "no torch"; python: string };

// Imports nothing that is slow: whether torch is there is told without importing it.
const QUESTION = `
import importlib.util as u, json, sys
try:
    from dap_server import __version__ as v
except ImportError:
    v = None
found = lambda name: u.find_spec(name) is not None
print("llm-dap:" + json.dumps({"python": list(sys.version_info[:3]), "debugger": v, "torch": found("torch") and found("transformers")}))
`;

interface Answer {
  python: number[];
  debugger: string | null;
  torch: boolean;
}

/** Asks a Python about itself: one short process. */
export async function examine(python: string, cwd?: string): Promise<Verdict> {
  return new Promise((resolve) => {
    execFile(python, ["-c", QUESTION], { timeout: 30_000, ...(cwd && { cwd }) }, (error, stdout, stderr) => {
      const line = stdout.split("\n").find((each) => each.startsWith("llm-dap:"));
      if (line) {
        resolve(judge(python, JSON.parse(line.slice("llm-dap:".length)) as Answer));
      } else if (error && (error as NodeJS.ErrnoException).code === "ENOENT") {
        resolve({ kind: "absent", python });
      } else {
        resolve({ kind: "broken", python, detail: stderr.trim() || error?.message || "it said nothing" });
      }
    });
  });
}

export function judge(python: string, answer: Answer): Verdict {
  if (isOlder(answer.python, OLDEST_PYTHON)) {
    return { kind: "old python", python, version: answer.python.join(".") };
  }
  if (answer.debugger === null) {
    return { kind: "no debugger", python };
  }
  if (isOlder(numbers(answer.debugger), numbers(OLDEST_DEBUGGER))) {
    return { kind: "old debugger", python, version: answer.debugger };
  }
  return answer.torch ? { kind: "ready", python, version: answer.debugger } : { kind: "no torch", python };
}

/**
 * The first candidate that is ready; else what is wrong with the one that a person would mean: the first that is there.
 * A candidate that is named in a setting or launch.json is the only one.
 */
export async function choose(
  candidates: readonly Candidate[],
  examineOne: (python: string) => Promise<Verdict>,
): Promise<Verdict | undefined> {
  const named = candidates.find(({ origin }) => origin === "launch.json" || origin === "setting");
  let meant: Verdict | undefined;
  for (const candidate of named ? [named] : candidates) {
    const verdict = await examineOne(candidate.python);
    if (verdict.kind === "ready") {
      return verdict;
    }
    if (meant === undefined || meant.kind === "absent") {
      meant = verdict;
    }
  }
  return meant;
}

/** What a person is told, and what may be done about it. */
export interface Advice {
  message: string;
  install: string[] | undefined;
}

export function advice(verdict: Exclude<Verdict, { kind: "ready" }> | undefined): Advice {
  if (verdict === undefined) {
    const message = "No Python was found. llm-dap needs Python 3.11 or newer, with torch: choose one.";
    return { message, install: undefined };
  }
  const { python } = verdict;
  switch (verdict.kind) {
    case "absent":
      return { message: `There is no Python at ${python}. Choose another one.`, install: undefined };
    case "broken":
      return { message: `${python} does not run: ${lastLine(verdict.detail)}`, install: undefined };
    case "old python":
      return {
        message: `${python} is Python ${verdict.version}, and llm-dap needs ${OLDEST_PYTHON.join(".")} or newer.`,
        install: undefined,
      };
    case "no debugger":
      return { message: `llm-dap is not installed in ${python}.`, install: ["llm-dap"] };
    case "old debugger":
      return {
        message: `${python} has llm-dap ${verdict.version}, and this extension needs ${OLDEST_DEBUGGER} or newer.`,
        install: ["--upgrade", "llm-dap"],
      };
    case "no torch":
      return { message: `${python} has llm-dap, but not torch and transformers.`, install: ["torch", "transformers"] };
  }
}

function lastLine(text: string): string {
  return text.split("\n").at(-1) ?? text;
}

function numbers(version: string): number[] {
  return version.split(/[.+-]/).map((part) => Number.parseInt(part, 10) || 0);
}

function isOlder(version: readonly number[], than: readonly number[]): boolean {
  for (const [index, wanted] of than.entries()) {
    const part = version[index] ?? 0;
    if (part !== wanted) {
      return part < wanted;
    }
  }
  return false;
}

// A page's side of what is said between a panel and the extension.

import type { Anomaly } from "../../debug/explaining";
import type { Change, ToExtension, ToPanel } from "../../panels/wire";
import type { Requests, RunToStepArguments } from "../../protocol/messages";

interface VsCode {
  postMessage(message: ToExtension): void;
  getState(): unknown;
  setState(state: unknown): void;
}
declare function acquireVsCodeApi(): VsCode;

const vscode = acquireVsCodeApi();

/** A stop, as a page knows it. Requests that are made for it are cancelled when the next one comes. */
export interface Stop {
  frameId: number;
  threadId: number;
  session: string;
  /** Aborted when the run goes on or another frame is looked at. */
  signal: AbortSignal;
}

export interface Panel {
  stopped(stop: Stop): void | Promise<void>;
  /** The run goes on: what is shown is of the last stop. */
  running?(): void;
  ended?(): void;
  show?(what: unknown): void;
}

/** Thrown by `ask` when nobody wants the answer any more. */
export class Cancelled extends Error {}

interface Waiting {
  resolve(body: unknown): void;
  reject(error: Error): void;
}

const waiting = new Map<number, Waiting>();
let last = 0;

/** Asks the debugger. An abort cancels the work there too. */
export function ask<C extends keyof Requests>(
  command: C,
  args: Requests[C]["arguments"],
  signal?: AbortSignal,
): Promise<Requests[C]["body"]> {
  last += 1;
  const id = last;
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(new Cancelled());
      return;
    }
    signal?.addEventListener(
      "abort",
      () => {
        if (waiting.delete(id)) {
          vscode.postMessage({ kind: "cancel", id });
          reject(new Cancelled());
        }
      },
      { once: true },
    );
    waiting.set(id, { resolve: resolve as (body: unknown) => void, reject });
    vscode.postMessage({ kind: "ask", id, command, arguments: args });
  });
}

/** For how long after a stop, in milliseconds, and how often the focus is brought back to a page that has led there. */
const FOCUS_TAKEN = 3000;
const TIMES = 2;
let refocus = { until: 0, times: 0 };

/** Has the run go to a place, past all breakpoints; settled when it is known that there is a way. A stop follows. */
export async function travel(to: RunToStepArguments): Promise<void> {
  await resume((id) => ({ kind: "travel", id, to }));
}

/** Changes the run; settled when that is taken. A stop follows, where something that has run is changed. */
export function change<C extends Change>(command: C, args: Requests[C]["arguments"]): Promise<Requests[C]["body"]> {
  return resume((id) => ({ kind: "change", id, command, arguments: args })) as Promise<Requests[C]["body"]>;
}

function resume(message: (id: number) => ToExtension): Promise<unknown> {
  last += 1;
  const id = last;
  refocus = { until: Number.POSITIVE_INFINITY, times: document.hasFocus() ? TIMES : 0 };
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    vscode.postMessage(message(id));
  });
}

// VS Code focuses the editor at every stop: whoever travels by the keys of a page would then type into it.
window.addEventListener("blur", () => {
  if (refocus.times > 0 && performance.now() < refocus.until) {
    refocus.times -= 1;
    vscode.postMessage({ kind: "focus" });
  }
});

type AnomalyListener = (anomaly: Anomaly | undefined) => void;
const anomalyListeners: AnomalyListener[] = [];

/** Calls it when the run stands at an anomaly, and when that is over. */
export function onAnomaly(listener: AnomalyListener): void {
  anomalyListeners.push(listener);
}

/** Begins to follow the stops. Errors of `stopped` are said in the page, and why there is nothing; cancelled ones are not. */
export function follow(panel: Panel, say: (message: string, kind: "info" | "error") => void): void {
  let current = new AbortController();
  const next = (): AbortSignal => {
    current.abort();
    current = new AbortController();
    return current.signal;
  };
  const stopped = async (stop: Stop): Promise<void> => {
    const begun = performance.now();
    try {
      await panel.stopped(stop);
      painted(performance.now() - begun);
    } catch (error) {
      if (!(error instanceof Cancelled) && !stop.signal.aborted) {
        say(error instanceof Error ? error.message : String(error), "error");
      }
    }
  };
  window.addEventListener("message", ({ data }: MessageEvent<ToPanel>) => {
    switch (data.kind) {
      case "stopped":
        refocus.until = performance.now() + FOCUS_TAKEN;
        void stopped({ ...data, signal: next() });
        break;
      case "running":
        next();
        panel.running?.();
        break;
      case "ended":
        next();
        panel.ended?.();
        break;
      case "outside":
        next();
        (panel.running ?? panel.ended)?.();
        say(data.message, "info");
        painted(0);
        break;
      case "anomaly":
        for (const listener of anomalyListeners) {
          listener(data.anomaly);
        }
        break;
      case "show":
        panel.show?.(data.what);
        break;
      case "answer":
        settle(data.id)?.resolve(data.body);
        break;
      case "failed":
        settle(data.id)?.reject(new Error(data.message));
        break;
    }
  });
  vscode.postMessage({ kind: "ready" });
}

function settle(id: number): Waiting | undefined {
  const found = waiting.get(id);
  waiting.delete(id);
  return found;
}

function painted(milliseconds: number): void {
  requestAnimationFrame(() => {
    document.body.dataset.painted = milliseconds.toFixed(0);
    vscode.postMessage({ kind: "painted", milliseconds });
  });
}

/** Has the person save a file. */
export async function save(name: string, content: Blob): Promise<void> {
  const bytes = new Uint8Array(await content.arrayBuffer());
  let binary = "";
  for (let at = 0; at < bytes.length; at += 0x8000) {
    binary += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  }
  vscode.postMessage({ kind: "save", name, data: btoa(binary) });
}

/** What the person has chosen in the page, over restarts of the window. */
export const choices = {
  get<T>(fallback: T): T {
    return (vscode.getState() as T | undefined) ?? fallback;
  },
  set(state: unknown): void {
    vscode.setState(state);
  },
};

// What the status bar says of a run. Knows no editor.

import type { GenerationResponseBody, StatusResponseBody } from "../protocol/messages";
import { count } from "./moduleTree";

const KIB = 1024;

/** Where the run stands, as `llm/generation` tells it. */
export type Where = Pick<GenerationResponseBody, "step" | "path">;

/** `target` is the program that is debugged, or where it listens; outside of every call of a model there is no `where`. */
export function statusText(status: StatusResponseBody, where: Where | undefined, target?: string): string {
  const { model, device } = status;
  const words = where ? [target, model, device, place(where), speed(status)] : [target, "Python"];
  return [...words, memory(status.memory)].filter(Boolean).join(" · ");
}

/** The same and more, as rows of a name and a value. */
export function statusRows(status: StatusResponseBody, where: Where | undefined, address?: string): [string, string][] {
  const model: [string, string | undefined][] = [
    [where ? "model" : "model of the last call", status.model],
    ["parameters", `${count(status.parameters)}, ${status.dtype}`],
    ["device", status.device],
    ["speed, stops not counted", speed(status)],
  ];
  const rows: [string, string | undefined][] = [
    ["program", status.program],
    ["attached to", address],
    ["place", where ? place(where) : "Python code; no model is being called"],
    ...(status.model ? model : []),
    ["memory in use", memory(status.memory)],
  ];
  return rows.filter((row): row is [string, string] => row[1] !== undefined);
}

/** Tokens count as the steps of the stack do, from 0. */
function place({ step, path }: Where): string {
  return path === "end" ? "end" : `token ${step}`;
}

/** Of one sequence; stops do not count. */
function speed({ steps, seconds }: StatusResponseBody): string | undefined {
  const perSecond = steps / seconds;
  return steps > 0 && seconds > 0
    ? `${perSecond < 10 ? perSecond.toFixed(1) : perSecond.toFixed(0)} tokens/s`
    : undefined;
}

/** In the unit in which it has at most three digits before the point. */
function memory(bytes: number | undefined): string | undefined {
  if (bytes === undefined) {
    return undefined;
  }
  const power = Math.min(Math.max(Math.floor(Math.log(bytes) / Math.log(KIB)), 2), 4);
  const value = bytes / KIB ** power;
  return `${value < 10 ? value.toFixed(1) : value.toFixed(0)} ${["", "", "MiB", "GiB", "TiB"][power]}`;
}

// The motions that DAP has no word for, and the menu of the call stack.

import * as vscode from "vscode";
import { ask } from "./asking";
import { type FrameContext, frameOfMenu } from "./frames";
import { destination, type Move } from "./places";
import { isOutside, OUTSIDE } from "./pythonStops";
import type { Stops } from "./stops";
import { told } from "./telling";

export const NOT_STOPPED = "The model is not stopped: set a breakpoint, or press Pause.";

const NO_FRAME = "Use the menu of a frame in the call stack.";
/** What is shown of a frame, by the panel that shows it. */
const HERE = { "llm.attentionHere": "llm.showAttention", "llm.lensHere": "llm.showLens" };

async function move(stops: Stops, way: Move): Promise<string | undefined> {
  const stop = stops.stop;
  if (stop === undefined) {
    return NOT_STOPPED;
  }
  if (await isOutside(stop)) {
    return OUTSIDE;
  }
  const standing = await ask(stop.session, "llm/generation", { threadId: stop.threadId, count: 0 });
  const there = destination(way, standing);
  if (typeof there === "string") {
    return there;
  }
  await ask(stop.session, "llm/runToStep", there);
  return undefined;
}

/** To the beginning of a module in the step at which the run stands, past or to come. */
export async function runToModule(stops: Stops, path: string): Promise<void> {
  await told(async () => {
    const stop = stops.stop;
    if (stop === undefined) {
      return NOT_STOPPED;
    }
    const { step } = await ask(stop.session, "llm/generation", { threadId: stop.threadId, count: 0 });
    await ask(stop.session, "llm/runToStep", { step, path });
    return undefined;
  });
}

/** To where a frame begins: a step or a layer of the history, or what is running. */
async function goToFrame(context: FrameContext | undefined): Promise<string | undefined> {
  const found = frameOfMenu(context);
  if (found === undefined) {
    return NO_FRAME;
  }
  const [session, frame] = found;
  await ask(session, "restartFrame", { frameId: frame.id });
  return undefined;
}

/** Has the panels look at a frame, and shows one of them. */
async function showAt(stops: Stops, context: FrameContext | undefined, panel: string): Promise<string | undefined> {
  const found = frameOfMenu(context);
  const stop = stops.stop;
  if (found === undefined || stop === undefined) {
    return NO_FRAME;
  }
  const [session, frame] = found;
  stops.lookAt({ session, threadId: stop.threadId, frameId: frame.id });
  await vscode.commands.executeCommand(panel);
  return undefined;
}

export function registerMoving(context: vscode.ExtensionContext, stops: Stops): void {
  const ways: readonly (readonly [command: string, way: Move])[] = [
    ["llm.nextLayer", "nextLayer"],
    ["llm.nextToken", "nextToken"],
    ["llm.previousToken", "previousToken"],
  ];
  context.subscriptions.push(
    ...ways.map(([command, way]) => vscode.commands.registerCommand(command, () => told(() => move(stops, way)))),
    vscode.commands.registerCommand("llm.goToFrame", (_source: unknown, frame?: FrameContext) =>
      told(() => goToFrame(frame)),
    ),
    ...Object.entries(HERE).map(([command, panel]) =>
      vscode.commands.registerCommand(command, (_source: unknown, frame?: FrameContext) =>
        told(() => showAt(stops, frame, panel)),
      ),
    ),
  );
}

// What a panel and the extension say to each other. Both sides import it.

import type { Anomaly } from "../debug/explaining";
import type { Requests, RunToStepArguments } from "../protocol/messages";

/** What changes a run, and so resumes it. */
export type Change = "llm/edit" | "llm/switchBranch";

/** From the extension to the panel. */
export type ToPanel =
  | { kind: "stopped"; frameId: number; threadId: number; session: string }
  | { kind: "running" }
  | { kind: "ended" }
  /** The run stands where no model is called, so there is nothing of one to show; why, in words. */
  | { kind: "outside"; message: string }
  /** The run stands at an anomaly, or does not any more. Comes after `stopped`. */
  | { kind: "anomaly"; anomaly: Anomaly | undefined }
  /** What the person asked to be shown, such as a variable; a panel says in its own file what it may be. */
  | { kind: "show"; what: unknown }
  | { kind: "answer"; id: number; body: unknown }
  | { kind: "failed"; id: number; message: string };

/** From the panel to the extension. */
export type ToExtension =
  | { kind: "ready" }
  | { kind: "ask"; id: number; command: keyof Requests; arguments: unknown }
  | { kind: "cancel"; id: number }
  /** Goes to a place of the run; answered when it is known that there is a way. */
  | { kind: "travel"; id: number; to: RunToStepArguments }
  /** Changes the run, which then stops anew; answered when that is taken. */
  | { kind: "change"; id: number; command: Change; arguments: unknown }
  /** Gives the focus back to the page, which a stop has taken from it. */
  | { kind: "focus" }
  /** Writes a file; the person says where. `data` is base64. */
  | { kind: "save"; name: string; data: string }
  /** How long it took from the stop to the first paint, in milliseconds: for the log, and for the end-to-end test. */
  | { kind: "painted"; milliseconds: number };

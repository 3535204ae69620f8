// Keeps the stack of the present stop, as it went over the wire. Knows no editor.

import type { StackFrame, StackTraceArguments } from "../protocol/messages";

export interface Message {
  type?: string;
  command?: string;
  event?: string;
  seq?: number;
  request_seq?: number;
  arguments?: unknown;
  body?: unknown;
}

export class ToldFrames {
  readonly #asked = new Map<number, StackTraceArguments>();
  readonly #byId = new Map<number, StackFrame>();
  readonly #byPlace = new Map<string, StackFrame>();

  asked({ type, command, seq, arguments: args }: Message): void {
    if (type === "request" && command === "stackTrace" && seq !== undefined) {
      this.#asked.set(seq, args as StackTraceArguments);
    }
  }

  answered({ type, command, event, request_seq, body }: Message): void {
    if (type === "event" && event === "stopped") {
      this.#byId.clear();
      this.#byPlace.clear();
    } else if (type === "response" && command === "stackTrace" && request_seq !== undefined) {
      const asked = this.#asked.get(request_seq);
      this.#asked.delete(request_seq);
      const frames = (body as { stackFrames?: StackFrame[] } | undefined)?.stackFrames ?? [];
      frames.forEach((frame, offset) => {
        this.#byId.set(frame.id, frame);
        if (asked) {
          this.#byPlace.set(`${asked.threadId}:${(asked.startFrame ?? 0) + offset}`, frame);
        }
      });
    }
  }

  byId(id: number): StackFrame | undefined {
    return this.#byId.get(id);
  }

  /** By VS Code's own name of a frame: `stackframe:thread:SESSION:THREAD:INDEX:SOURCE`. */
  named(own: string, name: string): StackFrame | undefined {
    const [, thread, index] = /^stackframe:thread:[^:]*:(\d+):(\d+):/.exec(own) ?? [];
    const frame = this.#byPlace.get(`${thread}:${index}`);
    return frame?.name === name ? frame : undefined;
  }
}

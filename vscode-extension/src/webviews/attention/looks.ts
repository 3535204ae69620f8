// What the page asks of the debugger: where heads look, in the step of a frame or in another one.

import type { AttentionArguments, AttentionResponseBody } from "../../protocol/messages";
import type { Patch, Span } from "../shared/heatmap/patch";
import { Answers } from "./answers";
import type { Sink } from "./controls";
import { type Head, headsOf } from "./heads";
import { patchOf } from "./patch";

const ALL_HEADS = 1 << 18;
const ONE_HEAD = 1 << 16;
const PART = 1 << 18;

/** All heads of a step. */
export interface Seen {
  body: AttentionResponseBody;
  heads: Head[];
  /** Only the last query of many has been looked at so far. */
  isPartial: boolean;
}

export class Looks {
  readonly answers = new Answers();

  constructor(
    readonly frameId: number,
    readonly sink: () => Sink,
  ) {}

  /** All heads of the model, roughly if only small pictures are made of them; or those of its last query alone. */
  async heads(
    step: number | undefined,
    signal: AbortSignal,
    { last, isRough = false }: { last?: number; isRough?: boolean } = {},
  ): Promise<Seen> {
    const body = await this.#ask(
      {
        ...(step !== undefined && { step }),
        layer: "",
        maxCells: ALL_HEADS,
        dtype: isRough ? "uint8" : "float16",
        ...(last !== undefined && { queries: { start: last, end: last + 1 } }),
        ...this.#without(),
      },
      signal,
    );
    return {
      body,
      heads: headsOf(body),
      isPartial: body.calls.some(({ queries }) => queries.end - queries.start < queries.size),
    };
  }

  /** One head over all queries. */
  map(head: Head, step: number | undefined, signal: AbortSignal): Promise<Patch | undefined> {
    return this.#one(head, { ...(step !== undefined && { step }), maxCells: ONE_HEAD }, signal);
  }

  /** A part of it, as finely as it can be seen. */
  part(head: Head, rows: Span, columns: Span, signal: AbortSignal): Promise<Patch | undefined> {
    return this.#one(head, { queries: rows, keys: columns, maxCells: PART }, signal);
  }

  /** One query, as the model has it. */
  row(head: Head, query: number, step: number | undefined, signal: AbortSignal): Promise<Patch | undefined> {
    const queries = { start: query, end: query + 1 };
    return this.#one(head, { ...(step !== undefined && { step }), queries, dtype: "float32" }, signal);
  }

  /** Some keys of all heads. */
  async keys(keys: Span, signal: AbortSignal): Promise<Head[]> {
    return headsOf(await this.#ask({ layer: "", keys, maxCells: PART, dtype: "float16", ...this.#without() }, signal));
  }

  async #one(head: Head, options: Partial<AttentionArguments>, signal: AbortSignal): Promise<Patch | undefined> {
    const asked = { layer: head.call.path, heads: [head.is.head], ...options, ...this.#without(head) };
    const body = await this.#ask(asked, signal);
    const own = headsOf(body).filter(({ call }) => call.path === head.call.path)[head.nth];
    return own && patchOf(own);
  }

  #ask(args: Omit<AttentionArguments, "frameId">, signal: AbortSignal): Promise<AttentionResponseBody> {
    return this.answers.get("llm/attention", { frameId: this.frameId, ...args }, signal);
  }

  /** The key that is left out: of a head always the same, however few of its queries are asked for. */
  #without(head?: Head): Partial<AttentionArguments> {
    const sink = this.sink();
    return sink === "" ? {} : { leaveOut: sink === "highest" ? (head?.is.leftOut ?? sink) : sink };
  }
}

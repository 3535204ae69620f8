// What has been asked at this stop, so that nothing is asked twice.

import type { Requests } from "../../protocol/messages";
import { ask } from "../shared/host";

const MOST = 60;

export class Answers {
  readonly #kept = new Map<string, unknown>();

  /** The answer, which may be there already. */
  async get<C extends keyof Requests>(
    command: C,
    args: Requests[C]["arguments"],
    signal: AbortSignal,
  ): Promise<Requests[C]["body"]> {
    const key = JSON.stringify([command, args]);
    const kept = this.#kept.get(key);
    if (kept !== undefined) {
      return kept as Requests[C]["body"];
    }
    const body = await ask(command, args, signal);
    this.#kept.set(key, body);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > MOST && oldest !== undefined) {
      this.#kept.delete(oldest);
    }
    return body;
  }
}

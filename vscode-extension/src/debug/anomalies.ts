// The anomaly at which a run stands: asked for once at a stop, here and nowhere else.

import * as vscode from "vscode";
import { log } from "../log";
import { ask } from "./asking";
import { OUR_TYPE } from "./configuration";
import { type Anomaly, anomalyOf } from "./explaining";
import type { Stop, Stops } from "./stops";

interface StoppedEvent {
  type?: string;
  event?: string;
  body?: { reason?: string; threadId?: number };
}

/** The last stop of a session. */
interface Last {
  /** The thread that an exception has stopped; undefined at other stops. */
  threadId: number | undefined;
  anomaly?: Anomaly;
  isAsked?: true;
}

export class Anomalies implements vscode.Disposable {
  readonly #changed = new vscode.EventEmitter<Anomaly | undefined>();
  /** At every stop and start: the anomaly that is shown from now on, if any. */
  readonly onDidChange = this.#changed.event;
  readonly #last = new Map<string, Last>();
  readonly #listeners: vscode.Disposable[];
  #shown: Anomaly | undefined;

  constructor(private readonly stops: Stops) {
    this.#listeners = [
      vscode.debug.registerDebugAdapterTrackerFactory(OUR_TYPE, {
        createDebugAdapterTracker: ({ id }) => ({
          onDidSendMessage: ({ type, event, body }: StoppedEvent) => {
            if (type === "event" && event === "stopped") {
              this.#last.set(id, { threadId: body?.reason === "exception" ? body.threadId : undefined });
            }
          },
        }),
      }),
      vscode.debug.onDidTerminateDebugSession(({ id }) => this.#last.delete(id)),
      stops.onDidChange(() => void this.#follow()),
    ];
  }

  /** Where the run stands at one, and stands still. */
  get present(): Anomaly | undefined {
    const stop = this.stops.stop;
    return stop && this.#last.get(stop.session.id)?.anomaly;
  }

  async #follow(): Promise<void> {
    const stop = this.stops.stop;
    const last = stop && this.#last.get(stop.session.id);
    if (stop && last?.threadId !== undefined && !last.isAsked) {
      last.isAsked = true; // of all frames of this stop
      const anomaly = await explained(stop, last.threadId);
      if (anomaly) {
        last.anomaly = anomaly;
      }
    }
    const now = this.present;
    if (now !== this.#shown) {
      this.#shown = now;
      this.#changed.fire(now);
    }
  }

  dispose(): void {
    this.#changed.dispose();
    vscode.Disposable.from(...this.#listeners).dispose();
  }
}

async function explained({ session }: Stop, threadId: number): Promise<Anomaly | undefined> {
  try {
    const info = await ask(session, "exceptionInfo", { threadId });
    const where = await ask(session, "llm/generation", { threadId, count: 0 }).catch(() => undefined);
    return anomalyOf(info, where);
  } catch (error) {
    log().debug("anomaly:", error); // the run has gone on
    return undefined;
  }
}

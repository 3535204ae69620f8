// A panel: a page in an editor tab that follows the stops, asks the debugger, and may do nothing else.

import * as vscode from "vscode";
import type { Anomalies } from "../debug/anomalies";
import { ask } from "../debug/asking";
import { isOutside, OUTSIDE } from "../debug/pythonStops";
import type { Standing, Stop, Stops } from "../debug/stops";
import { log } from "../log";
import type { Requests } from "../protocol/messages";
import { page } from "./page";
import { saveFile } from "./saving";
import { destination } from "./travelling";
import type { Change, ToExtension, ToPanel } from "./wire";

/** Milliseconds in which another tab becomes the active one after a page has lost the focus to it. */
const SOON = 500;

/** What makes one panel differ from another, on this side. */
export interface PanelKind {
  /** Folder of its page below `src/webviews/`. */
  id: string;
  title: string;
  /** The command that opens it; package.json has it too. */
  command: string;
  /** What its page may ask of the debugger. */
  asks: readonly (keyof Requests)[];
  /** Whether its page may have the run go to another place. Nothing that resumes the run belongs into `asks`. */
  travels?: true;
  /** Whether it has something to show where a program stands outside of every call of a model. */
  inPython?: true;
  /** How its page may change the run. */
  changes?: readonly Change[];
}

/** One kind of panel in one window: shows the focused frame of the active session. */
export class Panel {
  #webview: vscode.WebviewPanel | undefined;
  readonly #pending = new Map<number, vscode.CancellationTokenSource>();
  #isReady = false;
  #shown: unknown;

  constructor(
    readonly kind: PanelKind,
    private readonly context: vscode.ExtensionContext,
    private readonly stops: Stops,
    private readonly anomalies: Anomalies,
  ) {}

  /** Opens it beside the editor, or brings it to the front; `what` is for panels that show something chosen. */
  show(what?: unknown): void {
    this.#shown = what ?? this.#shown;
    if (this.#webview === undefined) {
      const where = { viewColumn: vscode.ViewColumn.Beside, preserveFocus: true };
      this.adopt(
        vscode.window.createWebviewPanel(this.viewType, this.kind.title, where, { retainContextWhenHidden: true }),
      );
    } else {
      this.#webview.reveal(undefined, true);
    }
    if (what !== undefined) {
      this.#tell({ kind: "show", what });
    }
  }

  get viewType(): string {
    return `llm.${this.kind.id}`;
  }

  /** Fills a webview: a new one, or one that VS Code has kept over a restart. */
  adopt(webview: vscode.WebviewPanel): void {
    this.#webview = webview;
    const root = vscode.Uri.joinPath(this.context.extensionUri, "dist", "webviews");
    webview.webview.options = { enableScripts: true, localResourceRoots: [root] };
    const listeners = [
      webview.webview.onDidReceiveMessage((message: ToExtension) => this.#hear(message)),
      this.stops.onDidChange((standing) => this.#follow(standing)),
      this.anomalies.onDidChange((anomaly) => this.#tell({ kind: "anomaly", anomaly })),
    ];
    webview.onDidDispose(() => {
      for (const listener of listeners) {
        listener.dispose();
      }
      this.#cancelAll();
      this.#webview = undefined;
      this.#isReady = false;
    });
    webview.webview.html = page(webview.webview, root, this.kind);
  }

  #hear(message: ToExtension): void {
    switch (message.kind) {
      case "ready":
        this.#isReady = true;
        if (this.#shown !== undefined) {
          this.#tell({ kind: "show", what: this.#shown });
        }
        this.#follow(this.stops.standing);
        this.#tell({ kind: "anomaly", anomaly: this.anomalies.present });
        break;
      case "ask":
        void this.#ask(message);
        break;
      case "travel":
        void this.#travel(message);
        break;
      case "change":
        void this.#change(message);
        break;
      case "focus":
        this.#regainFocus();
        break;
      case "cancel":
        this.#pending.get(message.id)?.cancel();
        break;
      case "save":
        void saveFile(message.name, message.data);
        break;
      case "painted":
        log().info(`${this.kind.id}: painted after ${message.milliseconds.toFixed(0)} ms`);
        break;
    }
  }

  #follow(standing: Standing): void {
    if (standing.kind === "stopped") {
      void this.#showStop(standing);
    } else {
      this.#cancelAll();
      this.#tell({ kind: standing.kind });
    }
  }

  async #showStop(standing: Standing & { kind: "stopped" }): Promise<void> {
    const { session, threadId, frameId } = standing.stop;
    const outside = this.kind.inPython ? false : isOutside(standing.stop);
    if ((typeof outside === "boolean" ? outside : await outside) && standing === this.stops.standing) {
      this.#cancelAll();
      this.#tell({ kind: "outside", message: OUTSIDE });
    } else if (standing === this.stops.standing) {
      this.#tell({ kind: "stopped", threadId, frameId, session: session.id });
    }
  }

  async #ask({ id, command, arguments: args }: Extract<ToExtension, { kind: "ask" }>): Promise<void> {
    const standing = this.stops.standing;
    const session = standing.kind === "stopped" ? standing.stop.session : undefined;
    if (session === undefined || !this.kind.asks.includes(command)) {
      this.#tell({
        kind: "failed",
        id,
        message: session ? `a panel may not ask ${command}` : "the model is not stopped",
      });
      return;
    }
    const source = new vscode.CancellationTokenSource();
    this.#pending.set(id, source);
    try {
      const body = await ask(session, command, args as Requests[typeof command]["arguments"], source.token);
      this.#tell({ kind: "answer", id, body });
    } catch (error) {
      this.#tell({ kind: "failed", id, message: error instanceof Error ? error.message : String(error) });
    } finally {
      this.#pending.delete(id);
      source.dispose();
    }
  }

  async #travel({ id, to }: Extract<ToExtension, { kind: "travel" }>): Promise<void> {
    const place = this.kind.travels && destination(to);
    await this.#resume(
      id,
      "go there",
      async ({ session }) => place && { body: await ask(session, "llm/runToStep", place) },
    );
  }

  async #change({ id, command, arguments: args }: Extract<ToExtension, { kind: "change" }>): Promise<void> {
    const isAllowed = this.kind.changes?.includes(command);
    await this.#resume(
      id,
      `ask ${command}`,
      async ({ session }) =>
        isAllowed && { body: await ask(session, command, args as Requests[typeof command]["arguments"]) },
    );
  }

  /** What resumes the run ends all other requests, so it is not among those that are cancelled when the run goes on. */
  async #resume(
    id: number,
    what: string,
    action: (stop: Stop) => Promise<{ body: unknown } | false | undefined>,
  ): Promise<void> {
    try {
      const stop = this.stops.stop;
      if (stop === undefined) {
        throw new Error("the model is not stopped");
      }
      const done = await action(stop);
      if (!done) {
        throw new Error(`this panel may not ${what}`);
      }
      this.#tell({ kind: "answer", id, body: done.body });
    } catch (error) {
      this.#tell({ kind: "failed", id, message: error instanceof Error ? error.message : String(error) });
    }
  }

  /** From an editor, but not from the command palette or a menu: with these the panel stays the active tab. */
  #regainFocus(): void {
    const webview = this.#webview;
    if (webview?.active === false) {
      webview.reveal(undefined, false);
    } else if (webview) {
      const listener = webview.onDidChangeViewState(() => {
        if (!webview.active) {
          listener.dispose();
          webview.reveal(undefined, false);
        }
      });
      setTimeout(() => listener.dispose(), SOON);
    }
  }

  #cancelAll(): void {
    for (const source of this.#pending.values()) {
      source.cancel();
    }
  }

  #tell(message: ToPanel): void {
    if (this.#isReady) {
      void this.#webview?.webview.postMessage(message);
    }
  }
}

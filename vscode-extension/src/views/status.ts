// The item of the status bar: model, device, tokens, speed and memory, told at every stop. A click lists what can be shown.

import * as vscode from "vscode";
import { ask } from "../debug/asking";
import { addressOf } from "../debug/programConfiguration";
import type { Standing, Stops } from "../debug/stops";
import { log } from "../log";
import { totalCost } from "./costText";
import { statusRows, statusText } from "./statusText";

const LEFT_OF_LANGUAGE = 100;

export class StatusItem implements vscode.Disposable {
  #item: vscode.StatusBarItem | undefined;
  #token: vscode.CancellationTokenSource | undefined;

  async follow(standing: Standing): Promise<void> {
    this.#token?.cancel();
    if (standing.kind === "ended") {
      this.#item?.hide();
    }
    if (standing.kind !== "stopped") {
      return; // while it runs the last numbers stay
    }
    const source = new vscode.CancellationTokenSource();
    this.#token = source;
    try {
      const { session, threadId } = standing.stop;
      const status = await ask(session, "llm/status", {}, source.token);
      const where = status.isOutside
        ? undefined
        : await ask(session, "llm/generation", { threadId, count: 0 }, source.token);
      const costs = totalCost(await ask(session, "llm/breakpointCosts", {}, source.token));
      if (!source.token.isCancellationRequested) {
        const item = this.#made();
        const address = addressOf(session.configuration);
        item.text = `$(debug-alt) ${statusText(status, where, address ?? status.program)}`;
        item.tooltip = new vscode.MarkdownString(
          [...statusRows(status, where, address), ...(costs ? [["breakpoints", costs]] : [])]
            .map(([name, value]) => `- ${name}: ${value}`)
            .join("\n"),
        );
        item.show();
      }
    } catch (error) {
      log().debug("status:", error);
    } finally {
      source.dispose();
    }
  }

  #made(): vscode.StatusBarItem {
    if (this.#item === undefined) {
      this.#item = vscode.window.createStatusBarItem("llm.status", vscode.StatusBarAlignment.Left, LEFT_OF_LANGUAGE);
      this.#item.name = "Language model";
      this.#item.command = "llm.show";
    }
    return this.#item;
  }

  dispose(): void {
    this.#token?.cancel();
    this.#item?.dispose();
  }
}

interface Contributed {
  command: string;
  title: string;
  icon?: string;
}

/** Lists the commands that show something; a new panel is among them by its command's name, `llm.show…`. */
export async function chooseWhatToShow(context: vscode.ExtensionContext): Promise<void> {
  const { commands } = context.extension.packageJSON.contributes as { commands: Contributed[] };
  const items = commands
    .filter(({ command }) => /^llm\.show[A-Z]/.test(command) && command !== "llm.showLog")
    .map(({ command, title, icon }) => ({
      label: `${icon ?? "$(graph)"} ${title.replace(/^Show /, "").replace(/^./, (first) => first.toUpperCase())}`,
      command,
    }));
  const chosen = await vscode.window.showQuickPick(items, {
    title: "Show of the model",
    placeHolder: "What to look at, at this stop",
  });
  if (chosen) {
    await vscode.commands.executeCommand(chosen.command);
  }
}

export function registerStatus(context: vscode.ExtensionContext, stops: Stops): void {
  const item = new StatusItem();
  context.subscriptions.push(
    item,
    stops.onDidChange((standing) => void item.follow(standing)),
    vscode.commands.registerCommand("llm.show", () => chooseWhatToShow(context)),
  );
}

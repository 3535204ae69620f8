// The text as tokens: coloured by how unsure their choice was, with what else they could have been, and the branches of the
// run that came of making them that.

import type { Branch } from "../../protocol/messages";
import { fill, h } from "../shared/dom";
import { exportButtons } from "../shared/exporting";
import { frame } from "../shared/frame";
import { ask, Cancelled, change } from "../shared/host";
import { tableOnDemand } from "../shared/on-demand";
import { Reading } from "../shared/reading";
import { choiceOf, highestEntropy, neighbour } from "../shared/text";
import { onThemeChange } from "../shared/theme";
import { BranchTree } from "./branches";
import { Choices } from "./choices";
import { Comparing } from "./comparing";
import { drawing } from "./drawing";
import { legend } from "./legend";
import { shownTokens, spoken, textTable } from "./rows";
import { TokenList } from "./tokens";
import "./style.css";

const view = frame("Generation");
const alternatives = new Choices(force);
const branches = new BranchTree({ switchTo, name, remove, compare });
const comparing = new Comparing((position) => reading.text.tokens[position]?.text);
const reading = new Reading({ view, use: "Colours", paint, read, left });
const list = new TokenList({ look, choose, speak });
const readers = tableOnDemand(
  () => textTable(reading.text),
  () => reading.text.where?.step ?? 0,
);
const previous = h(
  "button",
  { onclick: () => go(-1), title: "The same place of the step before (P)" },
  "◂ Previous token",
);
const next = h("button", { onclick: () => go(1), title: "The same place of the next step (N)" }, "Next token ▸");
const key = h("div", { class: "legend" });

fill(
  view.tools,
  previous,
  next,
  reading.sequences,
  reading.measures,
  exportButtons({ name: "generation", table: () => textTable(reading.text), drawing: () => drawing(list) }),
);
fill(
  view.content,
  key,
  reading.notice,
  h("div", { class: "beside" }, list.element, branches.element),
  comparing.element,
  readers.element,
);
document.body.append(alternatives.element);
document.addEventListener("keydown", pressed);
window.addEventListener("scroll", () => alternatives.hide(), { passive: true });

view.say("Start a model (F5) and stop it, at a breakpoint or with Pause: its text is shown here, token by token.");
reading.follow();
onThemeChange(() => comparing.repaint());

function left(): void {
  alternatives.forget();
  previous.disabled = true;
  next.disabled = true;
}

function paint(isFirst: boolean): void {
  const { text, measure } = reading;
  const { where } = text;
  if (where === undefined) {
    return;
  }
  const scale = highestEntropy(text.tokens);
  list.element.classList.toggle("entropy", measure === "entropy");
  list.show(shownTokens(text, measure, scale), where.promptLength);
  fill(key, ...legend(measure, scale));
  const length = `${where.promptLength} tokens of prompt, ${where.steps} chosen`;
  view.caption(where.path === "end" ? "At the end" : `Step ${where.step}`, ` · ${length}`);
  previous.disabled = neighbour(where, -1) === undefined;
  next.disabled = neighbour(where, 1) === undefined;
  if (isFirst) {
    list.reveal();
  }
}

function read(): void {
  readers.update();
  void told(async (signal) => branches.show(await ask("llm/branches", { threadId: reading.threadId }, signal)));
}

/** Says above the text what goes wrong. */
async function told(action: (signal: AbortSignal) => Promise<void>, fail?: (message: string) => void): Promise<void> {
  const signal = reading.signal;
  try {
    if (signal) {
      await action(signal);
    }
  } catch (error) {
    if (!(error instanceof Cancelled)) {
      const message = error instanceof Error ? error.message : String(error);
      (fail ?? ((words) => fill(reading.notice, words)))(message);
    }
  }
}

/** The run stands at the step then, and goes on from it otherwise. */
function force(step: number, token: number | string, threadId: number): void {
  alternatives.hide();
  fill(reading.notice);
  void told(async () => {
    await change("llm/edit", {
      edits: [
        {
          target: { kind: "token", ...(reading.isBatch && { sequences: [threadId - 1] }) },
          change: { kind: "force", tokens: [token] },
          steps: { first: step, last: step },
        },
      ],
    });
  });
}

function switchTo({ id }: Branch): void {
  void told(async () => {
    await change("llm/switchBranch", { id, threadId: reading.threadId });
  });
}

function name({ id }: Branch, wanted: string): void {
  const { threadId } = reading;
  void told(async (signal) => branches.show(await ask("llm/nameBranch", { id, name: wanted, threadId }, signal)));
}

function remove({ id }: Branch): void {
  comparing.close();
  const { threadId } = reading;
  void told(async (signal) => branches.show(await ask("llm/deleteBranch", { id, threadId }, signal)));
}

function compare(one: Branch, other: Branch): void {
  comparing.wait(one, other);
  const args = { a: one.id, b: other.id, threadId: reading.threadId };
  void told(
    async (signal) => comparing.show(await ask("llm/compareBranches", args, signal), one, other),
    (message) => comparing.fail(message),
  );
}

function go(direction: 1 | -1): void {
  const { where } = reading.text;
  reading.go(where && neighbour(where, direction));
}

function choose(position: number): void {
  const { tokens, where } = reading.text;
  const step = tokens[position]?.step ?? (where && position >= where.promptLength ? where.step : undefined);
  reading.go(where && step !== undefined ? choiceOf(where, step) : undefined);
}

function look(position: number | undefined, element: HTMLElement | undefined): void {
  const { text, signal, threadId } = reading;
  if (position === undefined || !element || !text.where || !signal) {
    alternatives.leave();
  } else {
    alternatives.show({ token: text.tokens[position], where: text.where, threadId }, element, signal);
  }
}

function speak(position: number): string {
  const { tokens, where } = reading.text;
  return where ? spoken(tokens[position], where) : "";
}

function pressed(event: KeyboardEvent): void {
  const isElsewhere = (event.target as Element).closest("select, input") !== null;
  if (isElsewhere || event.ctrlKey || event.altKey || event.metaKey) {
    return;
  }
  if (event.key === "n" || event.key === "p") {
    go(event.key === "n" ? 1 : -1);
  } else if (event.key === "f" && (event.target as Element).matches("[role=option]")) {
    event.preventDefault();
    alternatives.enter();
  } else if (event.key === "Escape") {
    alternatives.hide();
  }
}

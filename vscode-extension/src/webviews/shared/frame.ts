// What every page has: a title line, the anomaly at which the run stands, its content, and a word where there is nothing to show.

import { anomalyBanner } from "./anomaly";
import { type Content, fill, h } from "./dom";
import "./theme.css";

export interface Frame {
  /** Where the page puts what it shows. */
  content: HTMLElement;
  /** Beside the title: buttons and choices. */
  tools: HTMLElement;
  /** Above the content, calm: what is shown, of which step. */
  caption(...words: Content[]): void;
  /** Instead of the content: why there is none. */
  say(message: string, kind?: "info" | "error"): void;
  /** Shows the content again. */
  clear(): void;
  /** Dims what is of an earlier stop. */
  outdated(is: boolean): void;
}

export function frame(title: string): Frame {
  const tools = h("div", { class: "tools" });
  const caption = h("p", { class: "caption", role: "status" });
  const message = h("p", { class: "message", hidden: true, role: "alert" });
  const content = h("div", { class: "content" });
  const main = document.getElementById("panel") ?? document.body;
  fill(main, h("header", {}, h("h1", {}, title), tools), anomalyBanner(), caption, message, content);
  return {
    content,
    tools,
    caption: (...words) => fill(caption, ...words),
    say(text, kind = "info") {
      message.textContent = text;
      message.className = `message ${kind}`;
      message.hidden = false;
      content.hidden = true;
    },
    clear() {
      message.hidden = true;
      content.hidden = false;
    },
    outdated: (is) => content.classList.toggle("outdated", is),
  };
}

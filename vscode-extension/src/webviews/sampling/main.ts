// How the token is chosen: the candidates at the last stage, the stages, the draw.

import type { SamplingResponseBody, SamplingToken } from "../../protocol/messages";
import { fill, h } from "../shared/dom";
import { exportButtons } from "../shared/exporting";
import { frame } from "../shared/frame";
import { ask, follow, type Stop } from "../shared/host";
import { number, type Table, tableElement } from "../shared/table";
import { candidates, percent, stages } from "./rows";
import "./style.css";

const view = frame("How the token is chosen");
let shown: SamplingResponseBody | undefined;

view.say("Stop the model to see how its token is chosen.");
follow({ stopped, running: () => view.outdated(true), ended: () => view.outdated(true) }, view.say);

async function stopped(stop: Stop): Promise<void> {
  shown = await ask("llm/sampling", { frameId: stop.frameId, top: 30 }, stop.signal);
  view.clear();
  view.outdated(false);
  view.caption(
    `Step ${shown.step}: `,
    h("span", { class: "token" }, JSON.stringify(shown.token.text)),
    `, ${percent(shown.token.probability)}, ${shown.draw}${shown.isChosen ? "" : ", to be chosen"}`,
  );
  fill(view.content, bars(shown), tableElement(stages(shown)));
  fill(view.tools, exportButtons({ name: `sampling-step-${shown.step}`, table }));
}

function table(): Table {
  return shown ? candidates(shown) : { caption: "", columns: [], rows: [] };
}

function bars(body: SamplingResponseBody): HTMLElement {
  const top = body.stages.at(-1)?.top ?? [];
  const highest = Math.max(...top.map((token) => token.probability ?? 0), Number.MIN_VALUE);
  const row = (token: SamplingToken): HTMLElement => {
    const meter = h("meter", { min: 0, max: highest, value: token.probability ?? 0, "aria-hidden": "true" });
    return h(
      "tr",
      { class: token.id === body.token.id ? "chosen" : undefined },
      h("th", { scope: "row", class: "token" }, JSON.stringify(token.text)),
      h("td", {}, meter),
      h("td", {}, percent(token.probability)),
      h("td", {}, token.score === undefined ? "" : number(token.score)),
    );
  };
  const names = ["token", "", "probability", "score"];
  return h(
    "table",
    { class: "candidates" },
    h("caption", {}, "What it could be"),
    h("thead", {}, h("tr", {}, ...names.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, ...top.map(row)),
  );
}

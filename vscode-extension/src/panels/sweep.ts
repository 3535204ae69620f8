import type { PanelKind } from "./panel";

/** One change at every layer and position of a step: where a fact sits, or what an answer needs. */
export const sweep: PanelKind = {
  id: "sweep",
  title: "Sweep",
  command: "llm.showSweep",
  asks: ["llm/sweep", "llm/generation"],
  changes: ["llm/edit"],
};

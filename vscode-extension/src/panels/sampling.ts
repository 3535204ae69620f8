import type { PanelKind } from "./panel";

/** How the token of a step is chosen: what the logits, every logits processor and the draw make of it. */
export const sampling: PanelKind = {
  id: "sampling",
  title: "How the token is chosen",
  command: "llm.showSampling",
  asks: ["llm/sampling"],
};

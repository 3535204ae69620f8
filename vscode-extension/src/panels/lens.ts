import type { PanelKind } from "./panel";

/** What every layer would say next, at every position: the logit lens. */
export const lens: PanelKind = {
  id: "lens",
  title: "Logit lens",
  command: "llm.showLens",
  asks: ["llm/lens", "llm/generation"],
  travels: true,
};

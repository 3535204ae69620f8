import type { PanelKind } from "./panel";

/** The text as tokens: how sure the model was of each, what else it could have been, and where the run stands. */
export const generation: PanelKind = {
  id: "generation",
  title: "Generation",
  command: "llm.showGeneration",
  asks: ["llm/generation", "threads"],
  travels: true,
};

import type { PanelKind } from "./panel";

/** The text as tokens: how sure the model was of each, what else it could have been, where the run stands, and the
 * other ways that it went. */
export const generation: PanelKind = {
  id: "generation",
  title: "Generation",
  command: "llm.showGeneration",
  asks: ["llm/generation", "llm/branches", "llm/nameBranch", "llm/deleteBranch", "llm/compareBranches", "threads"],
  travels: true,
  changes: ["llm/edit", "llm/switchBranch"],
};

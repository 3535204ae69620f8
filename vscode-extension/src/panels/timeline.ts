import type { PanelKind } from "./panel";

/** Where in the run the model stands: over all steps, and inside the present one. */
export const timeline: PanelKind = {
  id: "timeline",
  title: "Timeline",
  command: "llm.showTimeline",
  asks: ["llm/generation", "threads"],
  travels: true,
};

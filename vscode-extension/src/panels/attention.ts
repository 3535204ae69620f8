import type { PanelKind } from "./panel";

/** Where the heads look: all of them small, one large, the text coloured by one token's attention. */
export const attention: PanelKind = {
  id: "attention",
  title: "Attention",
  command: "llm.showAttention",
  asks: ["llm/attention", "llm/generation"],
};

import type { PanelKind } from "./panel";

/** Any tensor as a picture and in numbers; shows a variable, as VS Code gives it to a command of its context menu. */
export const tensor: PanelKind = {
  id: "tensor",
  title: "Tensor",
  command: "llm.showTensor",
  asks: ["llm/tensor", "scopes", "variables"],
  inPython: true,
};

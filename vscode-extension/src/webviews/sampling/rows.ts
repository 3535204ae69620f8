// The numbers of the page as tables. Knows no page.

import type { SamplingResponseBody } from "../../protocol/messages";
import type { Table } from "../shared/table";

export function percent(probability: number | undefined): string {
  return probability === undefined ? "–" : `${(100 * probability).toPrecision(3)} %`;
}

export function candidates(body: SamplingResponseBody): Table {
  const top = body.stages.at(-1)?.top ?? [];
  return {
    caption: `What the token of step ${body.step} could be`,
    columns: ["token", "id", "probability", "score"],
    rows: top.map(({ text, id, probability, score }) => [text, id, probability ?? "", score ?? ""]),
  };
}

export function stages(body: SamplingResponseBody): Table {
  return {
    caption: "Stages of the choice",
    columns: ["stage", "tokens", "pruned", "entropy (nats)", "rank"],
    rows: body.stages.map(({ name, tokens, pruned, entropy, rank }) => [
      name,
      tokens,
      pruned ?? 0,
      entropy ?? "",
      rank ?? "",
    ]),
  };
}

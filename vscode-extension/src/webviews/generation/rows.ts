// What the page shows of a token, and the text as a table. Knows no page.

import type { GeneratedToken, GenerationResponseBody } from "../../protocol/messages";
import { type Measure, percent, presentPosition, type Text, visible } from "../shared/text";

export type When = "past" | "present" | "future";

/** What is painted for one token, or for a run of padding. Equal ones need no new paint. */
export interface Shown {
  position: number;
  text: string;
  kind: "plain" | "special" | "padding" | "choice";
  when: When;
  /** How unsure the choice was, 0 … 1 on the scale; missing where nothing was chosen or it is not known. */
  unsure?: number;
}

/** Everything in its order; `scale` is the entropy at the strong end, in nats. */
export function shownTokens(text: Text, measure: Measure, scale: number): Shown[] {
  const { where } = text;
  if (where === undefined) {
    return [];
  }
  const shown: Shown[] = [];
  let padding = 0;
  for (const token of text.tokens) {
    padding = token?.padding && token.step === undefined ? padding + 1 : 0;
    const position = token ? token.position - Math.max(0, padding - 1) : 0;
    if (padding > 1) {
      shown.pop();
    }
    if (token) {
      shown.push(shownToken({ ...token, position }, where, measure, scale, padding));
    }
  }
  const present = presentPosition(where);
  if (present === where.total) {
    shown.push({ position: present, text: "…", kind: "choice", when: "present" });
  }
  return shown;
}

function shownToken(
  token: GeneratedToken,
  where: GenerationResponseBody,
  measure: Measure,
  scale: number,
  padding: number,
): Shown {
  const kind = padding ? "padding" : token.special ? "special" : "plain";
  const unsure = unsureness(token, measure, scale);
  return {
    position: token.position,
    text: padding ? `${token.text}${padding > 1 ? ` × ${padding}` : ""}` : visible(token.text),
    kind,
    when: whenOf(token, where),
    ...(unsure !== undefined && { unsure }),
  };
}

export function whenOf({ step }: GeneratedToken, where: GenerationResponseBody): When {
  if (step === undefined || step < where.step || where.path === "end") {
    return "past";
  }
  return step === where.step ? "present" : "future";
}

export function unsureness(
  { probability, entropy }: GeneratedToken,
  measure: Measure,
  scale: number,
): number | undefined {
  if (measure === "probability") {
    return probability === undefined ? undefined : 1 - probability;
  }
  return entropy === undefined ? undefined : Math.min(1, entropy / scale);
}

/** A token as a screen reader says it. */
export function spoken(token: GeneratedToken | undefined, where: GenerationResponseBody): string {
  if (token === undefined) {
    return `step ${where.step}, being chosen`;
  }
  const words = [JSON.stringify(token.text)];
  if (token.padding) {
    words.push("padding");
  } else if (token.special) {
    words.push("special token");
  }
  words.push(token.step === undefined ? "prompt" : `step ${token.step}`);
  if (token.probability !== undefined) {
    words.push(percent(token.probability));
  }
  const when = whenOf(token, where);
  return [...words, ...(when === "past" ? [] : [when])].join(", ");
}

export function textTable({ tokens, where }: Text): {
  caption: string;
  columns: string[];
  rows: (string | number)[][];
} {
  const known = tokens.filter((token) => token !== undefined);
  return {
    caption: where ? `The text of sequence ${where.sequence + 1}, at step ${where.step}` : "",
    columns: ["position", "token", "id", "kind", "step", "probability", "entropy (nats)"],
    rows: known.map((token) => [
      token.position,
      token.text,
      token.id,
      token.padding ? "padding" : token.special ? "special" : token.step === undefined ? "prompt" : "generated",
      token.step ?? "",
      token.probability ?? "",
      token.entropy ?? "",
    ]),
  };
}

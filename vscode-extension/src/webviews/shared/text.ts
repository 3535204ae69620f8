// The text of one sequence, as far as it is known. Knows no page.

import type { GeneratedToken, GenerationArguments, GenerationResponseBody } from "../../protocol/messages";

export type Measure = "probability" | "entropy";
export type AskText = (args: GenerationArguments, signal: AbortSignal) => Promise<GenerationResponseBody>;

/** Positions that are asked for at once: first those near the present place, then all others. */
const NEAR = 512;
const PAGE = 2048;

/** How many entropies are asked for at once; every one that is not known yet runs a step again. */
const FEWEST = 8;
const MOST = 512;
const SLOW = 400;

export class Text {
  /** By position; what has not been told yet is missing. */
  tokens: (GeneratedToken | undefined)[] = [];
  where: GenerationResponseBody | undefined;

  /** Reads all of it; `first` is called when what is near the present place is known, `more` after everything else. */
  async read(ask: AskText, threadId: number, signal: AbortSignal, first: () => void, more: () => void): Promise<void> {
    const asked = new Set<number>();
    const page = async (start: number, count: number): Promise<GenerationResponseBody> => {
      const body = await ask({ threadId, start, count }, signal);
      this.#take(body);
      for (let at = start; at < start + count; at += 1) {
        asked.add(at);
      }
      return body;
    };
    const { total, promptLength, step } = await page(0, NEAR);
    const near = Math.max(0, Math.min(promptLength + step, total) - NEAR / 2);
    if (total > NEAR && near + NEAR / 2 > NEAR) {
      await page(near, NEAR);
    }
    first();
    for (let start = 0; start < total; start += 1) {
      if (!asked.has(start)) {
        await page(start, PAGE);
        more();
      }
    }
  }

  /** Reads the entropies of all choices up to the present place, the nearest first. */
  async readEntropies(ask: AskText, threadId: number, signal: AbortSignal, more: () => void): Promise<void> {
    const { where } = this;
    let end = Math.min(this.tokens.length, where ? where.promptLength + where.step + 1 : 0);
    let count = FEWEST;
    while (where && end > where.promptLength) {
      const start = Math.max(where.promptLength, end - count);
      const begun = performance.now();
      this.#take(await ask({ threadId, start, count: end - start, entropy: true }, signal));
      more();
      end = start;
      const isSlow = performance.now() - begun > SLOW;
      count = isSlow ? Math.max(FEWEST, count / 2) : Math.min(MOST, count * 2);
    }
  }

  #take(body: GenerationResponseBody): void {
    this.where = body;
    this.tokens.length = body.total;
    for (const token of body.tokens) {
      const old = this.tokens[token.position];
      const isSame = old?.id === token.id && old.step === token.step && old.probability === token.probability;
      const entropy = token.entropy ?? (isSame ? old.entropy : undefined);
      this.tokens[token.position] = { ...token, ...(entropy !== undefined && { entropy }) };
    }
  }
}

/** The present position: of the token that the step chooses; undefined at the end, where nothing is chosen. */
export function presentPosition(where: GenerationResponseBody): number | undefined {
  return where.path === "end" || !where.hasSelection ? undefined : where.promptLength + where.step;
}

/** Where the choice of a step is. */
export function choiceOf(where: GenerationResponseBody, step: number): { step: number; path?: string } {
  return where.hasSelection ? { step, path: "sample" } : { step };
}

/** The same place in the next (+1) or the previous (-1) step; undefined when there is none. */
export function neighbour(
  where: GenerationResponseBody,
  direction: 1 | -1,
): { step: number; path?: string; phase?: "before" | "after" } | undefined {
  if (where.path === "end") {
    return direction === 1 || !where.hasSelection ? undefined : choiceOf(where, where.step);
  }
  const step = where.step + direction;
  return step < 0 ? undefined : { step, path: where.path, phase: where.phase };
}

/** How a token is written where line breaks and other invisible characters have to be seen. */
export function visible(text: string): string {
  return text === ""
    ? "∅"
    : text
        .replace(/\r/g, "␍")
        .replace(/\n/g, "↵\n")
        .replace(/\t/g, "⇥\t")
        // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the ones to be seen
        .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0)));
}

/** Nobody compares probabilities that are smaller. */
const LEAST = 1e-6;

export function percent(probability: number): string {
  const hundredths = 100 * probability;
  if (probability > 0.9995) {
    return probability < 1 ? "> 99.9 %" : "100 %";
  }
  if (probability > 0 && probability < LEAST) {
    return `< ${(100 * LEAST).toFixed(4)} %`;
  }
  return `${hundredths < 0.05 ? hundredths.toPrecision(2) : hundredths.toFixed(1)} %`;
}

/** The entropy at the strong end of the scale, in nats: whole, so that colours change rarely. */
export function highestEntropy(tokens: readonly (GeneratedToken | undefined)[]): number {
  return Math.max(1, Math.ceil(tokens.reduce((most, token) => Math.max(most, token?.entropy ?? 0), 0)));
}

// Heads of a whole model by name: which there are, in which order, and what is said of each. Knows no page.

import type { AttentionHead, AttentionOfModule, AttentionResponseBody } from "../../protocol/messages";
import type { Table } from "../shared/table";
import { weight } from "./text";

export const KINDS = ["induction", "previous token", "duplicate", "sink", "mixed"] as const;
export type Sort = "layer" | "kind" | "entropy";

/** One head, with the call of attention that it is of. */
export interface Head {
  /** `3.4`: layer and head, as they are written in the literature. */
  name: string;
  layer: string;
  /** Which of the calls of its module it is of. */
  nth: number;
  call: AttentionOfModule;
  is: AttentionHead;
}

export function headsOf({ calls }: AttentionResponseBody): Head[] {
  const layers = layerNames(calls);
  return calls.flatMap((call, at) => {
    const layer = layers[at] ?? call.path;
    const nth = calls.slice(0, at).filter((other) => other.path === call.path).length;
    return call.heads.map((is) => ({ name: `${layer}.${is.head}`, layer, nth, call, is }));
  });
}

/** The last number in every path, with what tells apart those that share one. */
export function layerNames(calls: readonly AttentionOfModule[]): string[] {
  const short = calls.map(
    ({ path, kind }) => `${path.match(/\d+(?!.*\d)/)?.[0] ?? path}${kind === "cross" ? "×" : ""}`,
  );
  return short.map((name, at) => {
    const before = short.slice(0, at).filter((other) => other === name).length;
    return before > 0 ? `${name}${"′".repeat(before)}` : name;
  });
}

/** The same head in another answer. */
export function sameHead(heads: readonly Head[], name: string | undefined): Head | undefined {
  return heads.find((head) => head.name === name);
}

export function sorted(heads: readonly Head[], by: Sort): Head[] {
  const byScore = (one: Head, other: Head): number => scoreOf(other) - scoreOf(one);
  switch (by) {
    case "layer":
      return [...heads];
    case "kind":
      return [...heads].sort((one, other) => rank(one) - rank(other) || byScore(one, other));
    case "entropy":
      return [...heads].sort((one, other) => one.is.entropy - other.is.entropy);
  }
}

export function ofKind(heads: readonly Head[], kind: string): Head[] {
  return kind ? heads.filter((head) => head.is.kind === kind) : [...heads];
}

/** What is looked at first: of the layer where the run stands, the head that does something known most clearly. */
export function telling(heads: readonly Head[], layerPath: string | undefined): Head | undefined {
  const near = heads.filter((head) => layerPath !== undefined && isBelow(head.call.path, layerPath));
  const known = (head: Head): number =>
    Math.max(0, ...Object.entries(head.is.scores ?? {}).map(([kind, score]) => (kind === "sink" ? score / 2 : score)));
  return [...(near.length > 0 ? near : heads)].sort((one, other) => known(other) - known(one))[0];
}

export function isBelow(path: string, parent: string): boolean {
  return path === parent || path.startsWith(`${parent}.`);
}

/** `induction 97 %`, or `mixed`. */
export function kindOf({ kind, scores }: AttentionHead): string {
  const score = kind === undefined ? undefined : scores?.[kind];
  return score === undefined ? (kind ?? "") : `${kind} ${weight(score)}`;
}

/** What is known of a head besides its kind, in words. */
export function sentence({ is }: Head): string {
  const scores = Object.entries(is.scores ?? {})
    .filter(([kind]) => kind !== is.kind)
    .sort((one, other) => other[1] - one[1]);
  return [
    ...scores.map(([kind, score]) => `${kind} ${weight(score)}`),
    `entropy ${is.entropy.toFixed(2)} nats`,
    `first token ${weight(is.first)}`,
    ...(is.distance === undefined ? [] : [`looks ${is.distance.toFixed(1)} back`]),
    ...(is.learntSink === undefined ? [] : [`learnt sink ${weight(is.learntSink)}`]),
  ].join(" · ");
}

export function headTable(heads: readonly Head[], caption: string): Table {
  return {
    caption,
    columns: ["head", "kind", "score", "entropy (nats)", "first token", "positions back"],
    rows: heads.map(({ name, is }) => [
      name,
      is.kind ?? "",
      (is.kind !== undefined && is.scores?.[is.kind]) || "",
      is.entropy,
      is.first,
      is.distance ?? "",
    ]),
  };
}

function rank({ is }: Head): number {
  return KINDS.indexOf(is.kind as (typeof KINDS)[number]) >>> 0;
}

function scoreOf({ is }: Head): number {
  return (is.kind !== undefined && is.scores?.[is.kind]) || 0;
}

// What breakpoints cost the run, in words. Knows no editor.

import type { ToldFilter } from "../debug/toldFilters";
import type { BreakpointCost, BreakpointCostsResponseBody } from "../protocol/messages";

export interface CostRow {
  label: string;
  description: string;
  detail: string;
}

/** The dearest first. */
export function costRows({ breakpoints }: BreakpointCostsResponseBody, filters: readonly ToldFilter[]): CostRow[] {
  return [...breakpoints]
    .sort((one, other) => perToken(other) - perToken(one))
    .map((each) => ({
      label: filters.find(({ id }) => each.kind === "exception" && id === each.name)?.label ?? each.name,
      description: price(each),
      detail: manner(each),
    }));
}

/** All of them together; undefined before a step is over. */
export function totalCost({ breakpoints, secondsPerToken }: BreakpointCostsResponseBody): string | undefined {
  if (secondsPerToken === undefined || breakpoints.length === 0) {
    return undefined;
  }
  const seconds = breakpoints.reduce((sum, each) => sum + perToken(each), 0);
  return `${duration(seconds)} a token, ${percent(seconds / secondsPerToken)} of its time`;
}

function perToken({ perToken = 0 }: BreakpointCost): number {
  return perToken;
}

function price(cost: BreakpointCost): string {
  if (cost.share === undefined) {
    return "not known before a token is made";
  }
  return `${percent(cost.share)} of a token's time · ${duration(perToken(cost))}`;
}

function manner({ places, judged, why, evaluations = 0 }: BreakpointCost): string {
  const on = places === 1 ? "1 place" : places > 0 && `${places.toLocaleString("en")} places`;
  const count = evaluations.toLocaleString("en");
  const times =
    evaluations === 0 ? "not evaluated yet" : evaluations === 1 ? "evaluated once" : `evaluated ${count} times`;
  return [on, why ? `judged ${judged}: ${why}` : `judged ${judged}`, times].filter(Boolean).join(" · ");
}

function percent(share: number): string {
  const value = share * 100;
  return value > 0 && value < 0.1 ? "< 0.1 %" : `${value.toFixed(1)} %`;
}

function duration(seconds: number): string {
  const units: [number, string][] = [
    [1, "s"],
    [1e-3, "ms"],
    [1e-6, "µs"],
  ];
  const [size, unit] = units.find(([size]) => seconds >= size) ?? [1e-6, "µs"];
  return `${Number((seconds / size).toPrecision(3))} ${unit}`;
}

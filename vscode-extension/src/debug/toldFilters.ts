// The filters of anomalies, as they go over the wire: an editor tells no extension of them. Knows no editor.

import type { Message } from "./toldFrames";

export interface ToldFilter {
  id: string;
  label: string;
  /** Whether it is switched on. */
  isOn: boolean;
  /** What was set in the place of its own threshold. */
  condition?: string;
}

interface Capabilities {
  exceptionBreakpointFilters?: { filter: string; label: string; default?: boolean }[];
}

interface SetFilters {
  filters: string[];
  filterOptions?: { filterId: string; condition?: string }[];
}

export class ToldFilters {
  #filters: ToldFilter[] = [];

  get all(): readonly ToldFilter[] {
    return this.#filters;
  }

  asked({ type, command, arguments: args }: Message): void {
    if (type !== "request" || command !== "setExceptionBreakpoints") {
      return;
    }
    const { filters, filterOptions = [] } = args as SetFilters;
    const on = new Map([
      ...filters.map((id): [string, string | undefined] => [id, undefined]),
      ...filterOptions.map(({ filterId, condition }): [string, string | undefined] => [filterId, condition]),
    ]);
    // Of a filter that is off nothing is told: it keeps what it had.
    this.#filters = this.#filters.map((each) => {
      const { condition, ...rest } = each;
      const now = on.has(each.id) ? on.get(each.id) : condition;
      return { ...rest, isOn: on.has(each.id), ...(now && { condition: now }) };
    });
  }

  answered({ type, command, body }: Message): void {
    if (type === "response" && command === "initialize") {
      const told = (body as Capabilities | undefined)?.exceptionBreakpointFilters ?? [];
      this.#filters = told.map(({ filter, label, default: isOn = false }) => {
        const before = this.#filters.find(({ id }) => id === filter);
        return { ...before, id: filter, label, isOn: before?.isOn ?? isOn };
      });
    }
  }
}

// The branches of a run as a tree, and what is told of each. Knows no page.

import type { Branch, BranchToken } from "../../protocol/messages";

export interface Node {
  branch: Branch;
  children: Node[];
  /** Those that its parent does not have. */
  edits: string[];
}

/** Those that left no other one, with all that left them; by the step in which they did. */
export function treeOf(branches: readonly Branch[]): Node[] {
  const known = new Map(branches.map((branch) => [branch.id, branch]));
  const below = (parent: number | undefined): Node[] =>
    branches
      .filter(
        (branch) => (branch.parent !== undefined && known.has(branch.parent) ? branch.parent : undefined) === parent,
      )
      .sort((one, other) => (one.forkStep ?? 0) - (other.forkStep ?? 0) || one.id - other.id)
      .map((branch) => ({ branch, children: below(branch.id), edits: ownEdits(branch, known.get(parent ?? -1)) }));
  return below(undefined);
}

function ownEdits({ edits }: Branch, parent: Branch | undefined): string[] {
  const inherited = new Set(parent?.edits.filter(({ enabled }) => enabled).map(({ id }) => id));
  return edits.filter(({ id, enabled }) => enabled && !inherited.has(id)).map(({ text }) => text);
}

/** Where it begins and how long it is. */
export function extent({ forkStep, steps, tokens, edits }: Branch): string {
  const hasPrompt = edits.some(({ enabled, spec }) => enabled && spec.target.kind === "prompt");
  const from = forkStep === undefined ? "the prompt" : forkStep === 0 && hasPrompt ? "its prompt" : `step ${forkStep}`;
  const count = tokens.length === 1 ? "1 token" : `${tokens.length} tokens`;
  return `${count} from ${from}${forkStep ? `, ${steps} in all` : ""}`;
}

/** The tokens that fit on a line, and whether there are more. */
export function beginning(tokens: readonly BranchToken[], most = 24): { shown: BranchToken[]; isCut: boolean } {
  return { shown: tokens.slice(0, most), isCut: tokens.length > most };
}

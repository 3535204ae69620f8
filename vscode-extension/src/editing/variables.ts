// What the menu of a variable changes: a tensor, a head of attention, values of another prompt.

import * as vscode from "vscode";
import { ask } from "../debug/asking";
import { frameOf } from "../debug/frames";
import { NOT_STOPPED } from "../debug/moving";
import type { Stop, Stops } from "../debug/stops";
import { told } from "../debug/telling";
import type { EditChange, EditTarget } from "../protocol/messages";
import { askUntilTaken } from "./inputs";
import { type Chosen, factorProblem, headOf, headsProblem, readHeads, targetOfData, targetOfOutput } from "./meaning";

const NO_TARGET =
  "This row cannot be changed so: choose what a module is given or returns, a parameter, an entry of the cache, or a head of Attention.";
const LAST_PROMPT = "lastPatchPrompt";

export class VariableEdits {
  constructor(
    private readonly stops: Stops,
    private readonly memory: vscode.Memento,
  ) {}

  async scale(chosen: Chosen | undefined): Promise<void> {
    await this.#withTarget(chosen, async (stop, target, name) => {
      await askUntilTaken(
        {
          title: `Scale ${name}`,
          prompt: "Factor to multiply by, in this step and all that follow",
          placeholder: "2",
          check: factorProblem,
        },
        (text) => change(stop, target, { kind: "scale", number: Number(text) }),
      );
    });
  }

  async zero(chosen: Chosen | undefined): Promise<void> {
    await this.#withTarget(chosen, async (stop, target) => {
      await change(stop, target, { kind: "zero" });
    });
  }

  /** Of the row of a head that one; else the person says which. */
  async ablateHead(chosen: Chosen | undefined): Promise<void> {
    await told(async () => {
      const stop = this.stops.stop;
      if (stop === undefined) {
        return NOT_STOPPED;
      }
      const head = chosen && headOf(chosen);
      const path = head?.path ?? pathOf(stop);
      if (path === undefined) {
        return "Choose the frame of a layer or of its attention: its heads are ablated.";
      }
      await askUntilTaken(
        {
          title: `Ablate heads of ${path}`,
          prompt: "They give zero in this step and all that follow",
          placeholder: "0, 2, 5",
          value: head === undefined ? "" : String(head.head),
          check: headsProblem,
        },
        (text) => change(stop, { kind: "attention", path, heads: readHeads(text) ?? [] }, { kind: "zero" }),
      );
      return undefined;
    });
  }

  /** Puts what another prompt has there in its place, at positions that are picked. */
  async patch(chosen: Chosen | undefined): Promise<void> {
    await this.#withTarget(chosen, async (stop, target, name) => {
      if (target.kind !== "module") {
        throw new Error("Values of another prompt can take the place of what a module is given or returns.");
      }
      const positions = target.index === undefined ? await pickPositions(stop) : [];
      if (positions === undefined) {
        return;
      }
      const where = positions.length > 0 ? { ...target, positions } : target;
      await askUntilTaken(
        {
          title: `Patch ${name} from another prompt`,
          prompt: "Prompt whose values take its place, at the same positions",
          placeholder: "The capital of Japan is",
          value: this.memory.get<string>(LAST_PROMPT) ?? "",
          check: (text) => (text.trim() === "" ? "A prompt, of as many tokens as there are" : undefined),
        },
        async (prompt) => {
          await change(stop, where, { kind: "patch", source: { prompt } }, "this");
          await this.memory.update(LAST_PROMPT, prompt);
        },
      );
    });
  }

  async #withTarget(
    chosen: Chosen | undefined,
    action: (stop: Stop, target: EditTarget, name: string) => Promise<void>,
  ): Promise<void> {
    await told(async () => {
      const stop = this.stops.stop;
      if (stop === undefined) {
        return NOT_STOPPED;
      }
      const target = chosen && (await targetOf(stop, chosen));
      if (chosen === undefined || target === undefined) {
        return NO_TARGET;
      }
      await action(stop, target, chosen.variable.name);
      return undefined;
    });
  }
}

async function change(stop: Stop, target: EditTarget, change: EditChange, steps?: "this"): Promise<void> {
  const edits = [{ target, change }];
  await ask(stop.session, "llm/edit", { edits, frameId: stop.frameId, ...(steps && { steps }) });
}

function pathOf({ session, frameId }: Stop): string | undefined {
  const path = frameOf(session, frameId)?.moduleId;
  return path === undefined ? undefined : String(path);
}

async function targetOf(stop: Stop, chosen: Chosen): Promise<EditTarget | undefined> {
  const head = headOf(chosen);
  const path = head?.path ?? pathOf(stop);
  if (head !== undefined && path !== undefined) {
    return { kind: "attention", path, heads: [head.head] };
  }
  const { variablesReference } = chosen.container;
  const info = await ask(stop.session, "dataBreakpointInfo", {
    name: chosen.variable.name,
    ...(variablesReference && { variablesReference }),
  });
  return (info.dataId ? targetOfData(info.dataId) : undefined) ?? targetOfOutput(chosen, path);
}

/** Positions of the text, none for all of them; undefined when the person gave up. */
async function pickPositions({ session, threadId }: Stop): Promise<number[] | undefined> {
  const { tokens, step, promptLength } = await ask(session, "llm/generation", { threadId });
  const [start, end] = step === 0 ? [0, promptLength] : [promptLength + step - 1, promptLength + step];
  const items = tokens
    .slice(start, end)
    .filter(({ padding }) => !padding)
    .map(({ text, position }) => ({ label: JSON.stringify(text), description: `position ${position}`, position }));
  const picked = await vscode.window.showQuickPick(items, {
    title: "Positions to patch",
    placeHolder: "None for all of this step",
    canPickMany: true,
    ignoreFocusOut: true,
  });
  return picked?.map(({ position }) => position);
}

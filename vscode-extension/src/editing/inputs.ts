// Boxes that check while somebody types, and stay open with the debugger's words when it refuses.

import * as vscode from "vscode";
import { wordsOf } from "../debug/telling";

export interface Question {
  title: string;
  prompt: string;
  placeholder?: string;
  value?: string;
  /** What is wrong with a text, in words; undefined if nothing is. */
  check(text: string): string | undefined;
}

/** Calls `take` with the text; whether it was taken before the person gave up. */
export function askUntilTaken(question: Question, take: (text: string) => Promise<unknown>): Promise<boolean> {
  const box = vscode.window.createInputBox();
  box.title = question.title;
  box.prompt = question.prompt;
  box.placeholder = question.placeholder;
  box.value = question.value ?? "";
  box.ignoreFocusOut = true; // a stop focuses the editor
  const look = (): void => {
    box.validationMessage = box.value.trim() === "" ? undefined : question.check(box.value);
  };
  return new Promise((resolve) => {
    box.onDidChangeValue(look);
    box.onDidAccept(async () => {
      const wrong = question.check(box.value);
      if (wrong !== undefined || box.busy) {
        box.validationMessage = wrong;
        return;
      }
      box.busy = true;
      try {
        await take(box.value);
        resolve(true);
        box.hide();
      } catch (error) {
        box.validationMessage = wordsOf(error);
      } finally {
        box.busy = false;
      }
    });
    box.onDidHide(() => {
      resolve(false);
      box.dispose();
    });
    look();
    box.show();
  });
}

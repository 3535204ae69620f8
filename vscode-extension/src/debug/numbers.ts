// Which number a request got. Knows no editor.

/** Requests leave in the order in which they were made, command by command; only we send `llm/…`. */
export class Numbers {
  readonly #waiting = new Map<string, ((seq: number) => void)[]>();

  /** The number of the next request with that command, once it is sent. */
  expect(command: string): Promise<number> {
    return new Promise((resolve) => {
      const waiting = this.#waiting.get(command) ?? [];
      this.#waiting.set(command, [...waiting, resolve]);
    });
  }

  sent(command: string, seq: number): void {
    this.#waiting.get(command)?.shift()?.(seq);
  }
}

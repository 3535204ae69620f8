// The person's wishes where to go, one at a time. Knows no page.

export interface Place {
  step: number;
  path?: string;
  phase?: "before" | "after";
}

/** Sends a wish when the run stands; of those that come while it does not, only the last one counts. */
export class Traveller {
  #wish: Place | undefined;
  #stands = false;

  constructor(
    private readonly go: (to: Place) => Promise<void>,
    private readonly complain: (message: string) => void,
  ) {}

  to(place: Place): void {
    this.#wish = place;
    if (this.#stands) {
      void this.#leave();
    }
  }

  stopped(): void {
    this.#stands = true;
    if (this.#wish) {
      void this.#leave();
    }
  }

  running(): void {
    this.#stands = false;
  }

  ended(): void {
    this.#stands = false;
    this.#wish = undefined;
  }

  async #leave(): Promise<void> {
    const place = this.#wish;
    this.#wish = undefined;
    this.#stands = false;
    try {
      if (place) {
        await this.go(place);
      }
    } catch (error) {
      this.#stands = true;
      this.complain(error instanceof Error ? error.message : String(error));
    }
  }
}

// What one drags, or moves with the arrow keys: nothing happens before it is let go.

export interface Sliding {
  element: HTMLElement;
  /** Names the value, such as a step with its token. */
  text(value: number): string;
  /** The value under a place on the screen. */
  at(clientX: number): number;
  /** The person points at a value, or has given it up. */
  wish(value: number | undefined): void;
  /** It was let go. */
  choose(value: number): void;
}

export class Slider {
  #value = 0;
  #most = 0;
  #wished: number | undefined;

  constructor(private readonly sliding: Sliding) {
    const { element } = sliding;
    element.setAttribute("role", "slider");
    element.tabIndex = 0;
    element.addEventListener("pointerdown", (event) => this.#grab(event));
    element.addEventListener("pointermove", (event) => {
      if (element.hasPointerCapture(event.pointerId)) {
        this.#wish(sliding.at(event.clientX));
      }
    });
    element.addEventListener("pointerup", () => this.#release());
    element.addEventListener("pointercancel", () => this.#giveUp());
    element.addEventListener("blur", () => this.#giveUp());
    element.addEventListener("keydown", (event) => this.#pressed(event));
    element.addEventListener("keyup", (event) => {
      if (isMoving(event.key)) {
        this.#release();
      }
    });
  }

  /** Where the run stands, and the highest value. A wish that is under way stays. */
  show(value: number, most: number): void {
    this.#value = value;
    this.#most = most;
    this.sliding.element.setAttribute("aria-valuemin", "0");
    this.sliding.element.setAttribute("aria-valuemax", String(most));
    this.#say(this.#wished ?? value);
  }

  #grab(event: PointerEvent): void {
    if (event.button === 0) {
      event.preventDefault();
      this.sliding.element.focus();
      this.sliding.element.setPointerCapture(event.pointerId);
      this.#wish(this.sliding.at(event.clientX));
    }
  }

  #pressed(event: KeyboardEvent): void {
    if (event.key === "Escape") {
      this.#giveUp();
    } else if (isMoving(event.key) && !event.ctrlKey && !event.altKey && !event.metaKey) {
      event.preventDefault();
      this.#wish(moved(event.key, this.#wished ?? this.#value, this.#most));
    }
  }

  #wish(value: number): void {
    this.#wished = value;
    this.#say(value);
    this.sliding.wish(value);
  }

  #release(): void {
    const wished = this.#wished;
    this.#giveUp();
    if (wished !== undefined) {
      this.sliding.choose(wished);
    }
  }

  #giveUp(): void {
    if (this.#wished !== undefined) {
      this.#wished = undefined;
      this.#say(this.#value);
      this.sliding.wish(undefined);
    }
  }

  #say(value: number): void {
    this.sliding.element.setAttribute("aria-valuenow", String(value));
    this.sliding.element.setAttribute("aria-valuetext", this.sliding.text(value));
  }
}

const KEYS: Record<string, number> = {
  ArrowLeft: -1,
  ArrowDown: -1,
  ArrowRight: 1,
  ArrowUp: 1,
  PageUp: 10,
  PageDown: -10,
  Home: Number.NEGATIVE_INFINITY,
  End: Number.POSITIVE_INFINITY,
};

function isMoving(key: string): boolean {
  return key in KEYS;
}

/** Where a key leads from a value, between 0 and `most`. */
export function moved(key: string, from: number, most: number): number {
  return Math.max(0, Math.min(from + (KEYS[key] ?? 0), most));
}

// Between the two scales: that the lower one is the present step of the upper one.

const NAMESPACE = "http://www.w3.org/2000/svg";
const HEIGHT = 16;

export class Wedge {
  readonly element = document.createElementNS(NAMESPACE, "svg");
  readonly #shape = document.createElementNS(NAMESPACE, "polygon");

  constructor() {
    this.element.setAttribute("class", "wedge");
    this.element.setAttribute("height", String(HEIGHT));
    this.element.setAttribute("aria-hidden", "true");
    this.element.append(this.#shape);
  }

  /** From the pixels of the step above to the whole width below. */
  show(from: number, to: number, width: number): void {
    this.element.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.#shape.setAttribute("points", `${from},0 ${to},0 ${width},${HEIGHT} 0,${HEIGHT}`);
  }
}

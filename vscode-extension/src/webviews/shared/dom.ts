// Elements in one expression: h("p", { class: "quiet" }, "text").

type Attributes = Record<string, string | number | boolean | undefined | ((event: Event) => void)>;
export type Content = Node | string | undefined;

/** An element; attributes that are undefined or false are left out, functions are listeners (`onclick`). */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...content: Content[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") {
      element.addEventListener(name.replace(/^on/, ""), value);
    } else if (value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...content.filter((each) => each !== undefined));
  return element;
}

/** Puts `content` in the place of what is there, unless it is the same. */
export function fill(parent: Element, ...content: Content[]): void {
  parent.replaceChildren(...content.filter((each) => each !== undefined));
}

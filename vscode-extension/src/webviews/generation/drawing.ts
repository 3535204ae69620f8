// The text as a drawing, as it stands on the screen.

import type { TokenList } from "./tokens";

const NAMESPACE = "http://www.w3.org/2000/svg";

export function drawing(list: TokenList): SVGSVGElement {
  const area = list.element.getBoundingClientRect();
  const style = getComputedStyle(list.element);
  const svg = make("svg", { width: area.width, height: area.height, viewBox: `0 0 ${area.width} ${area.height}` });
  svg.append(make("rect", { width: "100%", height: "100%", fill: getComputedStyle(document.body).backgroundColor }));
  for (const { span, text } of list.spans()) {
    const own = getComputedStyle(span);
    const lines = text.split("\n");
    for (const [at, box] of [...span.getClientRects()].entries()) {
      const [x, y] = [box.left - area.left, box.top - area.top];
      const shared = { opacity: own.opacity };
      svg.append(make("rect", { x, y, width: box.width, height: box.height, fill: own.backgroundColor, ...shared }));
      const words = make("text", {
        x,
        y: y + box.height * 0.75,
        fill: own.color,
        "font-family": style.fontFamily,
        "font-size": style.fontSize,
        "xml:space": "preserve",
        ...shared,
      });
      words.textContent = lines[at] ?? "";
      svg.append(words);
    }
  }
  return svg;
}

function make<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Record<string, string | number>,
): SVGElementTagNameMap[K] {
  const element = document.createElementNS(NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, String(value));
  }
  return element;
}

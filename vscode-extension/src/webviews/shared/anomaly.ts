// Above what a panel shows: the anomaly at which the run stands.

import type { Anomaly } from "../../debug/explaining";
import { fill, h } from "./dom";
import { onAnomaly } from "./host";

/** Of the body, while there is one: style sheets mark the present place with it. */
const AT_ANOMALY = "at-anomaly";

export function isAtAnomaly(): boolean {
  return document.body.classList.contains(AT_ANOMALY);
}

/** Hidden while there is none. */
export function anomalyBanner(): HTMLElement {
  const banner = h("section", { class: "anomaly", hidden: true, role: "status" });
  onAnomaly((anomaly) => {
    banner.hidden = anomaly === undefined;
    document.body.classList.toggle(AT_ANOMALY, anomaly !== undefined);
    fill(banner, ...(anomaly ? words(anomaly) : []));
  });
  return banner;
}

function words({ label, text, origins }: Anomaly): HTMLElement[] {
  const way = origins.length > 0 ? [h("details", {}, h("summary", {}, "The way back"), list(origins))] : [];
  return [h("p", {}, h("strong", {}, label), ` · ${text}`), ...way];
}

function list(origins: readonly string[]): HTMLElement {
  return h("ul", {}, ...origins.map((origin) => h("li", {}, origin)));
}

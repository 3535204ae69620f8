// Weights as colours of the theme: from the background over blue to what stands out most.

import { color, isDark } from "../theme";

export type Rgb = readonly [number, number, number];

export interface Scale {
  /** 256 colours, each of three bytes. */
  colors: Uint8Array;
  /** Which of them a number gets. */
  index(value: number): number;
  /** What is no ordinary number may have a colour of its own; else NaN is left clear. */
  mark?(value: number): Rgb | undefined;
}

/** Weights 0 … 1. Colours go by their square root, so that small ones are seen. */
export function weightScale(): Scale {
  const ground = rgb(color("editor-background"), isDark() ? [31, 31, 31] : [255, 255, 255]);
  const blue = rgb(color("charts-blue"), [26, 133, 255]);
  const high: Rgb = isDark() ? mixed(blue, [255, 255, 255], 0.85) : mixed(blue, [0, 0, 40], 0.75);
  return {
    colors: ramp([ground, mixed(ground, blue, 0.9), high]),
    index: (value) => Math.round(255 * Math.sqrt(Math.min(Math.max(value, 0), 1))),
  };
}

/** Numbers around 0, from -limit to limit: less is red, more is blue. NaN and infinities stand out. */
export function divergingScale(limit: number): Scale {
  const { colors } = differenceScale();
  const [nan, infinite] = [rgb(color("charts-yellow"), [204, 167, 0]), rgb(color("charts-purple"), [177, 128, 215])];
  return {
    colors,
    index: (value) => Math.round(127.5 + 127.5 * Math.max(-1, Math.min(limit > 0 ? value / limit : 0, 1))),
    mark: (value) => (Number.isFinite(value) ? undefined : Number.isNaN(value) ? nan : infinite),
  };
}

/** Differences -1 … 1, likewise: less is red, more is blue. */
export function differenceScale(): Scale {
  const ground = rgb(color("editor-background"), isDark() ? [31, 31, 31] : [255, 255, 255]);
  const more = rgb(color("charts-blue"), [26, 133, 255]);
  const less = rgb(color("charts-red"), [228, 86, 73]);
  return {
    colors: ramp([less, ground, more]),
    index: (value) => Math.round(127.5 + 127.5 * Math.sign(value) * Math.sqrt(Math.min(Math.abs(value), 1))),
  };
}

/** As CSS has it. */
export function cssOf({ colors, index }: Scale, value: number): string {
  const at = 3 * index(value);
  return `rgb(${colors[at]} ${colors[at + 1]} ${colors[at + 2]})`;
}

/** Black or white, whichever can be read on the colour of a value. */
export function inkOn({ colors, index }: Scale, value: number): string {
  const at = 3 * index(value);
  const light = [0.299, 0.587, 0.114].reduce((sum, share, each) => sum + share * (colors[at + each] ?? 0), 0);
  return light > 140 ? "#000" : "#fff";
}

/** A gradient of a scale from one value to another. */
export function gradient(scale: Scale, from: number, to: number): string {
  const steps = Array.from({ length: 17 }, (_, at) => cssOf(scale, from + ((to - from) * at) / 16));
  return `linear-gradient(to right, ${steps.join(", ")})`;
}

function ramp(stops: readonly Rgb[]): Uint8Array {
  const colors = new Uint8Array(3 * 256);
  for (let at = 0; at < 256; at++) {
    const place = (at / 255) * (stops.length - 1);
    const first = Math.min(Math.floor(place), stops.length - 2);
    colors.set(mixed(stops[first] as Rgb, stops[first + 1] as Rgb, place - first), 3 * at);
  }
  return colors;
}

function mixed(one: Rgb, other: Rgb, share: number): Rgb {
  const mix = (at: 0 | 1 | 2): number => Math.round(one[at] + (other[at] - one[at]) * share);
  return [mix(0), mix(1), mix(2)];
}

/** Any colour of CSS, by painting with it. */
function rgb(css: string, otherwise: Rgb): Rgb {
  const paint = document.createElement("canvas").getContext("2d");
  if (css === "" || paint === null) {
    return otherwise;
  }
  paint.fillStyle = css;
  paint.fillRect(0, 0, 1, 1);
  const [red = 0, green = 0, blue = 0] = paint.getImageData(0, 0, 1, 1).data;
  return [red, green, blue];
}

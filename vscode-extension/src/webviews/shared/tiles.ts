// The numbers of a tile (`Tile` in the protocol). Knows no page.

import type { Tile } from "../../protocol/messages";

/** Row by row; NaN where there is no number. */
export function tileValues(tile: Tile): Float32Array {
  const bytes = Uint8Array.from(atob(tile.data), (character) => character.charCodeAt(0));
  const scale = tile.scale ?? 1;
  switch (tile.dtype) {
    case "float32":
      return Float32Array.from(new Float32Array(bytes.buffer), (value) => value * scale);
    case "float16":
      return Float32Array.from(new Uint16Array(bytes.buffer), (bits) => half(bits) * scale);
    case "uint8":
      return Float32Array.from(bytes, (value) => (value === 255 ? Number.NaN : value * scale));
  }
}

/** A float16 by its bits. */
export function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) {
    return sign * fraction * 2 ** -24;
  }
  if (exponent === 0x1f) {
    return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  }
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

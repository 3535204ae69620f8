// A patch as a picture, one pixel for every cell.

import type { Scale } from "./colors";
import { cells, type Patch, type Span, spanOf } from "./patch";

/** Whether nothing can be seen of some columns from some rows. */
export type Hides = (rows: Span, columns: Span) => boolean;

/** What is masked, or has no number, is left clear. */
export function pictureOf(patch: Patch, scale: Scale, hides: Hides): HTMLCanvasElement {
  const [height, width] = [cells(patch.rows), cells(patch.columns)];
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(Math.max(width, 1), Math.max(height, 1));
  const columns = Array.from({ length: width }, (_, at) => spanOf(patch.columns, at));
  for (let row = 0; row < height; row++) {
    const down = spanOf(patch.rows, row);
    for (let column = 0; column < width; column++) {
      const value = patch.values[row * width + column] ?? Number.NaN;
      const mark = scale.mark?.(value);
      if (mark) {
        image.data.set([...mark, 255], 4 * (row * width + column));
        continue;
      }
      if (Number.isNaN(value) || (value === 0 && hides(down, columns[column] as Span))) {
        continue;
      }
      const [to, from] = [4 * (row * width + column), 3 * scale.index(value)];
      image.data[to] = scale.colors[from] ?? 0;
      image.data[to + 1] = scale.colors[from + 1] ?? 0;
      image.data[to + 2] = scale.colors[from + 2] ?? 0;
      image.data[to + 3] = 255;
    }
  }
  canvas.getContext("2d")?.putImageData(image, 0, 0);
  return canvas;
}

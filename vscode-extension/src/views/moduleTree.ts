// The modules of a model as a tree. Knows no editor.

import type { ModelModule } from "../protocol/messages";

export const ROOT = ".";

export interface ModuleNode {
  path: string;
  /** The last part of its path; of the whole model its name. */
  label: string;
  module: ModelModule;
  parent: ModuleNode | undefined;
  children: ModuleNode[];
}

/** Grows by pages, whose modules come in the order of the model: a module before those in it. */
export class ModuleTree {
  readonly #nodes = new Map<string, ModuleNode>();

  get size(): number {
    return this.#nodes.size;
  }

  get root(): ModuleNode | undefined {
    return this.#nodes.get(ROOT);
  }

  get(path: string): ModuleNode | undefined {
    return this.#nodes.get(path || ROOT);
  }

  add(modules: readonly ModelModule[]): void {
    for (const module of modules) {
      const path = String(module.id);
      const parent = path === ROOT ? undefined : this.#around(path);
      const label = parent === undefined ? module.name : path.slice(prefixOf(parent.path).length);
      const node = { path, label, module, parent, children: [] };
      this.#nodes.set(path, node);
      parent?.children.push(node);
    }
  }

  #around(path: string): ModuleNode | undefined {
    for (let end = path.lastIndexOf("."); end > 0; end = path.lastIndexOf(".", end - 1)) {
      const node = this.#nodes.get(path.slice(0, end));
      if (node) {
        return node;
      }
    }
    return this.root;
  }
}

function prefixOf(path: string): string {
  return path === ROOT ? "" : `${path}.`;
}

/** Beside its name: class and parameters; number format and device where they are not those of the whole model. */
export function described({ module }: ModuleNode, root: ModelModule | undefined): string {
  const of = module === root ? {} : { dtype: root?.dtype, device: root?.device };
  return [
    ...(module === root ? [] : [module.type]),
    module.parameters ? count(module.parameters) : undefined,
    module.dtype === of.dtype ? undefined : module.dtype,
    module.device === of.device ? undefined : module.device,
  ]
    .filter(Boolean)
    .join(" · ");
}

/** 1234567 as `1.23 M`. */
export function count(value: number): string {
  for (const [unit, size] of UNITS) {
    if (value >= size) {
      return `${(value / size).toPrecision(3)} ${unit}`;
    }
  }
  return String(value);
}

const UNITS: readonly [string, number][] = [
  ["T", 1e12],
  ["G", 1e9],
  ["M", 1e6],
  ["K", 1e3],
];

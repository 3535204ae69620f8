// The modules of the model as a tree of the debug view: asked for in pages when it is opened, marking where the run stands.

import * as vscode from "vscode";
import { ask } from "../debug/asking";
import { OUR_TYPE } from "../debug/configuration";
import { frameOf } from "../debug/frames";
import { isProgram } from "../debug/programConfiguration";
import type { Stops } from "../debug/stops";
import { log } from "../log";
import type { ModelModule } from "../protocol/messages";
import { described, type ModuleNode, ModuleTree } from "./moduleTree";

const PAGE = 500;
const NO_MODEL = "The program has not called a model yet.";

/** The modules of one session. */
interface Loaded {
  session: vscode.DebugSession;
  tree: ModuleTree;
  whole: Promise<void>;
}

export class ModulesView implements vscode.TreeDataProvider<ModuleNode>, vscode.Disposable {
  readonly #changed = new vscode.EventEmitter<ModuleNode | undefined>();
  readonly onDidChangeTreeData = this.#changed.event;
  readonly #listeners: vscode.Disposable[] = [];
  #view: vscode.TreeView<ModuleNode> | undefined;
  #loaded: Loaded | undefined;
  #here: ModuleNode | undefined;

  constructor(private readonly stops: Stops) {}

  register(): void {
    const view = vscode.window.createTreeView("llm.modules", { treeDataProvider: this, showCollapseAll: true });
    this.#view = view;
    this.#listeners.push(
      view,
      this.stops.onDidChange(() => void this.#follow()),
      view.onDidChangeVisibility(() => void this.#follow()),
      vscode.debug.onDidChangeActiveDebugSession(() => this.#changed.fire(undefined)),
      vscode.debug.onDidReceiveDebugSessionCustomEvent(({ session, event }) => {
        if (event === "llm/running" && session === this.#loaded?.session) {
          this.#loaded = undefined; // a restart may have brought another model
          this.#changed.fire(undefined);
        }
      }),
    );
  }

  async getChildren(node?: ModuleNode): Promise<ModuleNode[]> {
    if (node !== undefined) {
      return node.children;
    }
    const loaded = this.#load();
    try {
      await loaded?.whole;
    } catch (error) {
      log().debug("modules:", error); // such as while the model is being loaded: `llm/running` comes behind it
      this.#loaded = undefined;
    }
    const root = loaded?.tree.root;
    if (this.#view) {
      this.#view.message = loaded && !root && isProgram(loaded.session.configuration) ? NO_MODEL : "";
    }
    return root ? [root] : [];
  }

  getParent(node: ModuleNode): ModuleNode | undefined {
    return node.parent;
  }

  getTreeItem(node: ModuleNode): vscode.TreeItem {
    const { None, Collapsed, Expanded } = vscode.TreeItemCollapsibleState;
    const state = node.children.length === 0 ? None : node.parent === undefined ? Expanded : Collapsed;
    const item = new vscode.TreeItem(node.label, state);
    item.id = `${this.#loaded?.session.id} ${node.path}`;
    item.description = described(node, this.#loaded?.tree.root?.module);
    item.tooltip = tooltip(node);
    item.contextValue = node.module.path === undefined ? "module" : "module python";
    item.iconPath = icon(node, node === this.#here);
    item.command = { command: "llm.openMapLine", title: "Open Map Line", arguments: [node] };
    const here = node === this.#here ? ", where the run stands" : "";
    item.accessibilityInformation = { label: `${node.label}, ${item.description}${here}` };
    return item;
  }

  #load(): Loaded | undefined {
    const session = vscode.debug.activeDebugSession;
    if (session?.type !== OUR_TYPE) {
      return undefined;
    }
    if (this.#loaded?.session !== session) {
      const tree = new ModuleTree();
      this.#loaded = { session, tree, whole: readAll(session, tree) };
    }
    return this.#loaded;
  }

  /** A program may have called another model since. */
  async #renew(): Promise<void> {
    const { session, tree } = this.#loaded ?? {};
    if (session === undefined || !isProgram(session.configuration)) {
      return;
    }
    const { modules } = await ask(session, "modules", { startModule: 0, moduleCount: 1 }).catch(() => ({
      modules: [],
    }));
    if (JSON.stringify(modules[0]) !== JSON.stringify(tree?.root?.module) && session === this.#loaded?.session) {
      this.#loaded = undefined;
      this.#changed.fire(undefined);
    }
  }

  /** Marks and shows the module of the frame that is looked at. */
  async #follow(): Promise<void> {
    const stop = this.stops.stop;
    if (!this.#view?.visible || (stop === undefined && this.stops.standing.kind === "running")) {
      return; // on the way from stop to stop the mark stays
    }
    await this.#renew();
    const loaded = this.#load();
    await loaded?.whole.catch(() => undefined);
    const path = stop && frameOf(stop.session, stop.frameId)?.moduleId;
    const now = path === undefined ? undefined : loaded?.tree.get(String(path));
    const before = this.#here;
    this.#here = now;
    if (before !== now) {
      for (const node of [before, now]) {
        if (node !== undefined) {
          this.#changed.fire(node);
        }
      }
    }
    if (now !== undefined) {
      await this.#view.reveal(now, { select: true, focus: false }).then(undefined, (error) => log().debug(error));
    }
  }

  dispose(): void {
    this.#changed.dispose();
    for (const listener of this.#listeners) {
      listener.dispose();
    }
  }
}

async function readAll(session: vscode.DebugSession, tree: ModuleTree): Promise<void> {
  for (;;) {
    const body = await ask(session, "modules", { startModule: tree.size, moduleCount: PAGE });
    tree.add(body.modules as ModelModule[]);
    if (body.modules.length === 0 || tree.size >= (body.totalModules ?? 0)) {
      return;
    }
  }
}

function icon(node: ModuleNode, isHere: boolean): vscode.ThemeIcon {
  if (isHere) {
    return new vscode.ThemeIcon(
      "debug-stackframe",
      new vscode.ThemeColor("debugIcon.breakpointCurrentStackframeForeground"),
    );
  }
  return new vscode.ThemeIcon(node.children.length > 0 ? "symbol-class" : "symbol-field");
}

function tooltip({ path, module }: ModuleNode): vscode.MarkdownString {
  const rows: [string, string | undefined][] = [
    ["class", module.type],
    ["parameters", module.parameters?.toLocaleString("en")],
    ["dtype", module.dtype],
    ["device", module.device],
    ["source", module.path && `${module.path}:${module.line ?? 1}`],
    ["", module.symbolStatus === "runs" ? undefined : module.symbolStatus],
  ];
  const text = new vscode.MarkdownString();
  text.appendMarkdown("**");
  text.appendText(path === "." ? module.name : path);
  text.appendMarkdown("**\n");
  for (const [name, value] of rows) {
    if (value) {
      text.appendMarkdown("\n- ");
      text.appendText([name, value].filter(Boolean).join(": "));
    }
  }
  return text;
}

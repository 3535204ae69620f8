// "Open Model Map": of the session; else of a model that is picked, whose map is made when there is none yet.

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { basename, dirname, isAbsolute, join, relative } from "node:path";
import * as vscode from "vscode";
import { OUR_TYPE } from "../debug/configuration";
import { frameOf } from "../debug/frames";
import { isHubId, locate } from "../debug/models";
import { pickModel } from "../debug/picking";
import { readyPython } from "../debug/python";
import type { Stops } from "../debug/stops";
import { mapHeader } from "../language/header";
import { fileOf, mapOf } from "./sources";

const MAPS = "**/*.llmmap";
const ELSEWHERE = "**/node_modules/**";

export async function openMap(stops: Stops): Promise<void> {
  const session = vscode.debug.activeDebugSession;
  if (session?.type === OUR_TYPE) {
    await openMapOf(session, stops);
    return;
  }
  const model = await pickModel();
  const map = model && ((await mapInWorkspace(model)) ?? (await makeMap(model)));
  if (map) {
    await vscode.window.showTextDocument(map);
  }
}

async function openMapOf(session: vscode.DebugSession, stops: Stops): Promise<void> {
  const map = await mapOf(session);
  if (map === undefined) {
    void vscode.window.showInformationMessage("This session uses no model map.");
    return;
  }
  const editor = await vscode.window.showTextDocument(map);
  const at = lineOfStop(session, stops, map);
  if (at !== undefined) {
    const line = new vscode.Range(at - 1, 0, at - 1, 0);
    editor.selection = new vscode.Selection(line.start, line.start);
    editor.revealRange(line, vscode.TextEditorRevealType.InCenterIfOutsideViewport);
  }
}

/** Where in the map the run stands, from 1; nowhere when it has gone on, or ended, while the map was opened. */
function lineOfStop(session: vscode.DebugSession, stops: Stops, map: vscode.Uri): number | undefined {
  const stop = stops.stop;
  const frame = stop?.session === session ? frameOf(session, stop.frameId) : undefined;
  return frame?.source?.path && fileOf(frame.source.path).path === map.path ? frame.line : undefined;
}

/** A map that is there already and names the model. */
async function mapInWorkspace(model: string): Promise<vscode.Uri | undefined> {
  const folders = vscode.workspace.workspaceFolders?.map((folder) => folder.uri.fsPath) ?? [];
  for (const map of await vscode.workspace.findFiles(MAPS, ELSEWHERE)) {
    const head = mapHeader(new TextDecoder().decode(await vscode.workspace.fs.readFile(map)));
    const named = head.model && locate(head.model, [...folders, dirname(map.fsPath)]);
    if (named === model || head.model === model) {
      return map;
    }
  }
  return undefined;
}

async function makeMap(model: string): Promise<vscode.Uri | undefined> {
  if (!vscode.workspace.isTrusted) {
    void vscode.window.showErrorMessage("Making a map runs Python of this workspace: trust the workspace first.");
    return undefined;
  }
  const folder = vscode.workspace.workspaceFolders?.[0];
  const python = await readyPython(folder);
  const target = python && (await whereTo(model, folder));
  if (!python || !target) {
    return undefined;
  }
  const title = `Making the map of ${basename(model)}`;
  return vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title, cancellable: true },
    async (_, token) => {
      const problem = await run(python, model, target.fsPath, folder?.uri.fsPath, token);
      if (problem !== undefined && !token.isCancellationRequested) {
        void vscode.window.showErrorMessage(problem);
      }
      return problem === undefined ? target : undefined;
    },
  );
}

/** In the workspace by the model's name; where that is taken, or there is no workspace, the person says where. */
async function whereTo(model: string, folder: vscode.WorkspaceFolder | undefined): Promise<vscode.Uri | undefined> {
  const name = `${basename(model)}.llmmap`;
  const usual = folder && vscode.Uri.joinPath(folder.uri, name);
  if (usual && !existsSync(usual.fsPath)) {
    return usual;
  }
  const at = vscode.Uri.file(join(folder?.uri.fsPath ?? (isHubId(model) ? process.cwd() : dirname(model)), name));
  return vscode.window.showSaveDialog({
    title: "Where the model map is written",
    defaultUri: at,
    filters: { "Model map": ["llmmap"] },
  });
}

/** What went wrong, in words; a model inside the workspace is named from there, so that the map can be passed on. */
function run(
  python: string,
  model: string,
  file: string,
  folder: string | undefined,
  token: vscode.CancellationToken,
): Promise<string | undefined> {
  const inside = folder && isAbsolute(model) ? relative(folder, model) : undefined;
  const named = inside && !inside.startsWith("..") && !isAbsolute(inside) ? inside : model;
  const args = ["-m", "dap_server", "map", named, "--force", "-o", file];
  return new Promise((resolve) => {
    const child = execFile(python, args, folder ? { cwd: folder } : {}, (error, _, stderr) =>
      resolve(error ? stderr.trim().split("\n").at(-1) || error.message : undefined),
    );
    token.onCancellationRequested(() => child.kill());
  });
}

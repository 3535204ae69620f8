// The page of a panel: nothing but its script and style; what they may load is nailed down.

import { randomBytes } from "node:crypto";
import * as vscode from "vscode";
import type { PanelKind } from "./panel";

export function page(webview: vscode.Webview, root: vscode.Uri, kind: PanelKind): string {
  const nonce = randomBytes(16).toString("base64");
  const script = webview.asWebviewUri(vscode.Uri.joinPath(root, `${kind.id}.js`));
  const style = webview.asWebviewUri(vscode.Uri.joinPath(root, `${kind.id}.css`));
  const policy = [
    "default-src 'none'",
    `style-src ${webview.cspSource}`,
    `script-src 'nonce-${nonce}'`,
    "img-src data: blob:",
    `font-src ${webview.cspSource}`,
  ].join("; ");
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="${style}">
<title>${kind.title}</title>
</head>
<body>
<main id="panel" tabindex="-1"></main>
<script type="module" nonce="${nonce}" src="${script}"></script>
</body>
</html>`;
}

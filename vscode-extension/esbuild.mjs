// Bundles: the extension, its language client, one for every panel; with --test the unit tests instead.

import { existsSync } from "node:fs";
import { copyFile, mkdir, readdir, readFile, rm } from "node:fs/promises";
import { build } from "esbuild";

const production = process.argv.includes("--production");
const shared = { bundle: true, minify: production, sourcemap: production ? false : "linked", logLevel: "warning" };
const inEditor = { ...shared, platform: "node", target: "node20", format: "cjs", external: ["vscode"] };
const inPanel = { ...shared, platform: "browser", target: "chrome128", format: "esm", splitting: true };

async function panels() {
  const folders = await readdir("src/webviews", { withFileTypes: true });
  return folders.filter((folder) => folder.isDirectory() && folder.name !== "shared").map((folder) => folder.name);
}

/** The pictures of the walkthrough are those of the documentation, made by the end-to-end test. */
async function pictures() {
  const manifest = await readFile("package.json", "utf-8");
  await mkdir("dist/walkthrough", { recursive: true });
  for (const [, name] of manifest.matchAll(/"dist\/walkthrough\/([^"]+)"/g)) {
    if (existsSync(`../docs/images/${name}`)) {
      await copyFile(`../docs/images/${name}`, `dist/walkthrough/${name}`);
    } else {
      process.stderr.write(`no picture docs/images/${name} yet: make e2e ARGS='--pictures docs/images'\n`);
    }
  }
}

if (process.argv.includes("--test")) {
  await rm("build", { recursive: true, force: true });
  const tests = (await readdir("test")).filter((name) => name.endsWith(".test.ts"));
  await build({
    ...inEditor,
    entryPoints: tests.map((name) => `test/${name}`),
    outdir: "build/test",
    sourcemap: "inline",
  });
} else {
  await rm("dist", { recursive: true, force: true });
  const webviews = Object.fromEntries(
    (await panels()).map((name) => [`webviews/${name}`, `src/webviews/${name}/main.ts`]),
  );
  await Promise.all([
    pictures(),
    build({ ...inEditor, entryPoints: { extension: "src/extension.ts" }, outdir: "dist" }),
    build({ ...inEditor, entryPoints: { language: "src/language/client.ts" }, outdir: "dist" }),
    build({ ...inPanel, entryPoints: webviews, outdir: "dist", chunkNames: "webviews/shared-[hash]" }),
  ]);
}

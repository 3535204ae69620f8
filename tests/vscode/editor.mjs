// VS Code as a person uses it: everything is done by keys and clicks, and read from what is on the screen.
//
// Nothing here sleeps. What takes time is waited for: `until(…)`, or a locator of playwright, which waits by itself.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";

export const WINDOW = { width: 1440, height: 900 };
const PATIENCE = 30_000;
const FILTER = ".debug-breakpoints .monaco-list-row:has(.breakpoint.exception)";
const BREAKPOINT = ".debug-breakpoints .monaco-list-row:not(:has(.breakpoint.exception))";

const MOTIONS = {
  continue: "debug-continue",
  next: "debug-step-over",
  stepIn: "debug-step-into",
  stepOut: "debug-step-out",
  stepBack: "debug-step-back",
  reverseContinue: "debug-reverse-continue",
  restart: "debug-restart",
  stop: "debug-stop",
  disconnect: "debug-disconnect",
  pause: "debug-pause",
};

/** Calls `look` until it gives something true, and returns that. `what` may be a function, of what was seen last. */
export async function until(look, what, patience = PATIENCE) {
  const end = performance.now() + patience;
  let error;
  for (;;) {
    try {
      const seen = await look();
      if (seen) {
        return seen;
      }
      error = undefined;
    } catch (raised) {
      error = raised; // what is looked at may be on its way in or out
    }
    if (performance.now() > end) {
      const awaited = typeof what === "function" ? what() : what;
      throw new Error(`waited ${patience / 1000} s for ${awaited}${error ? `: ${error.message}` : ""}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 40));
  }
}

/** Editors write blanks that do not break. */
const plain = (text) => text.replaceAll("\u00a0", " ");

/** In the page: what an element shows, and what a style puts before and behind its parts. */
function withBeside(element) {
  const put = (part, where) => /^"(.*)"$/.exec(getComputedStyle(part, where).content)?.[1].replaceAll('\\"', '"') ?? "";
  const own = (part) => (part.children.length > 0 ? [...part.children].map(all).join("") : part.innerText);
  const all = (part) => put(part, "::before") + own(part) + put(part, "::after");
  return all(element);
}

/** In the page: the middle of a part of what an element shows. */
function pointOf(element, part) {
  const texts = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  const nodes = [];
  while (texts.nextNode()) {
    nodes.push(texts.currentNode);
  }
  let middle =
    nodes
      .map((node) => node.data)
      .join("")
      .replaceAll("\u00a0", " ")
      .indexOf(part) + Math.floor(part.length / 2);
  const node = nodes.find((each) => {
    const isHere = middle < each.data.length;
    middle -= isHere ? 0 : each.data.length;
    return isHere;
  });
  const range = document.createRange();
  range.setStart(node, middle);
  range.setEnd(node, middle + 1);
  const box = range.getBoundingClientRect();
  return { x: box.x + box.width / 2, y: box.y + box.height / 2 };
}

/** In the page: a point of what a style puts before or behind a part of a line. */
function besideOf(line, text) {
  const blank = (content) => content.replaceAll("\u00a0", " ");
  const put = (each, where) => blank(getComputedStyle(each, where).content);
  const found = [...line.querySelectorAll("*")].find((each) =>
    ["::before", "::after"].some((where) => put(each, where).includes(text)),
  );
  const box = found.getBoundingClientRect();
  return { x: box.x + Math.min(40, box.width / 2), y: box.y + box.height / 2 };
}

export class Editor {
  constructor(page, server, pictures) {
    Object.assign(this, { page, server, pictures });
    this.problems = [];
    page.on("pageerror", (error) => this.problems.push(error.message));
    // The adapter's events pass here on their way from the extensions to the window.
    this.stops = 0;
    this.awaited = 0;
    page.on("websocket", (socket) =>
      socket.on("framereceived", ({ payload }) => {
        this.stops += payload.toString().split('"event":"stopped"').length - 1;
      }),
    );
  }

  // ------------------------------------------------------------------------------------------------ windows and files

  async openFolder(folder) {
    const before = await this.server.readyWindows();
    await this.page.goto(`${this.server.address}/?folder=${folder}`);
    await this.page.locator(".explorer-folders-view .monaco-list-row").first().waitFor({ timeout: 60_000 });
    await until(async () => (await this.server.readyWindows()) > before, "the extensions of the window", 60_000);
  }

  /** Opens a file of the workspace, by its path in it, and waits until its language is known. */
  async open(path) {
    const name = path.split("/").at(-1);
    await this.quickOpen(path, name);
    await this.page.locator(`.monaco-editor[data-uri$="/${name}"] .view-line`).first().waitFor();
    return this.page.locator("#status\\.editor\\.mode").innerText();
  }

  /** Types into the quick input (Ctrl+P) and accepts the first row that shows `row`. */
  async quickOpen(text, row = text) {
    await this.#choose("Control+P", text, row);
  }

  /** The first one below the filters. */
  async switchBreakpointOff() {
    await this.#scrollBreakpoints(1);
    await this.#box(this.page.locator(BREAKPOINT)).first().click();
  }

  /** Switches a filter of anomalies on or off, by its label. */
  async switchFilter(label) {
    await this.#scrollBreakpoints(-1);
    await this.#box(this.filter(label)).click();
  }

  /** It is an `input` in VS Code 1.100, and something of its own in newer ones. */
  #box(row) {
    return row.locator("input[type=checkbox], .monaco-checkbox");
  }

  async filtersThatAreOn() {
    await this.#scrollBreakpoints(-1);
    const rows = await this.page.locator(FILTER).all();
    const isOn = await Promise.all(
      rows.map((row) => this.#box(row).evaluate((box) => box.checked ?? box.getAttribute("aria-checked") === "true")),
    );
    const texts = await this.filters();
    return texts.filter((_, at) => isOn[at]);
  }

  /** Types a condition for a filter into VS Code's own input, below the pencil of its row. */
  async conditionOfFilter(label, text) {
    await this.#scrollBreakpoints(-1);
    const row = this.filter(label);
    await row.hover();
    await row.locator(".action-label.codicon-edit").click();
    const input = this.page.locator(".debug-breakpoints input.input");
    await input.waitFor();
    await text(input);
    await input.press("Enter");
    await input.waitFor({ state: "hidden" });
  }

  /** The row of a filter of anomalies, above the breakpoints. */
  filter(label) {
    return this.page.locator(FILTER).filter({ hasText: label });
  }

  /** The filters of anomalies that are on the screen: what their rows show. */
  async filters() {
    await this.#scrollBreakpoints(-1);
    return this.#texts(FILTER);
  }

  /** Runs a command by its title in the palette. */
  async command(title) {
    await this.#choose("F1", `>${title}`, title);
  }

  /** From the beginning until it is taken: a dialog that gives the focus back, or a panel that takes it, closes the input. */
  async #choose(key, text, row) {
    const widget = this.page.locator(".quick-input-widget");
    const input = widget.locator("input.input");
    const focused = widget.locator(".monaco-list-row.focused");
    await until(async () => {
      if (!(await input.isVisible())) {
        await this.page.keyboard.press(key);
        await input.waitFor({ timeout: 1000 });
      }
      await input.fill(text, { timeout: 1000 });
      await widget.locator(".monaco-list-row").filter({ hasText: row }).first().waitFor({ timeout: 3000 });
      // By keys: what is hovered over may lie above the rows.
      const isThere = async () => (await focused.count()) > 0 && (await focused.first().innerText()).includes(row);
      for (let at = 0; !(await isThere()); at++) {
        assert.ok(at < 50, `the row ${row}`);
        await input.press("ArrowDown", { timeout: 1000 });
      }
      await input.press("Enter", { timeout: 1000 });
      return true;
    }, `${row} to be chosen`);
    await until(
      async () => !(await input.isVisible()) || (await input.inputValue()) !== text,
      "the choice to be taken",
    );
  }

  /** Answers an input box or pick list that the extension has opened. */
  async answer(text, { row, title } = {}) {
    const widget = this.page.locator(".quick-input-widget");
    await (title ? widget.filter({ hasText: title }) : widget).waitFor();
    await widget.locator("input.input").fill(text);
    if (row) {
      await widget.locator(".monaco-list-row").filter({ hasText: row }).first().click();
    } else {
      await this.page.keyboard.press("Enter");
    }
  }

  /** Answers a dialog of VS Code's own that asks for a file. */
  async path(file, title) {
    const widget = this.page.locator(".quick-input-widget").filter({ hasText: title });
    const input = widget.locator("input.input");
    await until(async () => (await input.inputValue()).includes("/"), "the dialog to have read its folder");
    await until(async () => {
      await input.fill(file); // put back while it reads its folder
      await input.press("Enter"); // not taken while it looks at what was typed
      return widget.waitFor({ state: "hidden", timeout: 1000 }).then(() => true);
    }, "the dialog to take the file");
  }

  /** The text of a notification, once there is one that shows `part`. */
  async notification(part) {
    const found = this.page.locator(".notification-toast, .monaco-dialog-box").filter({ hasText: part }).first();
    await found.waitFor({ timeout: PATIENCE });
    return found.innerText();
  }

  /** Closes all notifications and dialogs. */
  async dismiss() {
    const box = this.page.locator(".monaco-dialog-box");
    if (await box.isVisible()) {
      await this.page.keyboard.press("Escape");
      await box.waitFor({ state: "hidden" });
    }
    if (await this.page.locator(".notification-toast").first().isVisible()) {
      await this.command("Notifications: Clear All Notifications");
      await this.page.locator(".notification-toast").first().waitFor({ state: "hidden" });
    }
  }

  /** Presses a button of a dialog that shows `part`. */
  async dialog(part, button) {
    const box = this.page.locator(".monaco-dialog-box").filter({ hasText: part });
    await box.waitFor({ timeout: PATIENCE });
    await box.locator(".monaco-button").filter({ hasText: button }).click();
    await box.waitFor({ state: "hidden" });
  }

  /** How long the activation of an extension took, in milliseconds; undefined when it is not active. */
  async activation(name) {
    await this.command("Developer: Show Running Extensions");
    const view = this.page.locator(".runtime-extensions-editor");
    await view.locator(".monaco-list-row").first().waitFor();
    const row = view.locator(".monaco-list-row").filter({ has: this.page.locator(".name", { hasText: name }) });
    const text = (await row.count()) > 0 ? await row.first().innerText() : "";
    if (await this.page.locator(".tab").filter({ hasText: "Running Extensions" }).isVisible()) {
      await this.close("Running Extensions");
    } else {
      await this.page.keyboard.press("Escape"); // in a box of its own, in newer editors
      await view.waitFor({ state: "hidden" });
    }
    const [, milliseconds] = /Activation: ([\d.]+)ms/.exec(text) ?? [];
    return milliseconds === undefined ? undefined : Number(milliseconds);
  }

  // ------------------------------------------------------------------------------------------------------ breakpoints

  /** Sets a breakpoint on a line of an open file, with F9. */
  async breakpoint(file, line) {
    await this.show("Run and Debug");
    const editor = this.page.locator(`.monaco-editor[data-uri$="/${file}"]`);
    await editor.locator("textarea, .native-edit-context").first().focus();
    await this.goToLine(line);
    const isSet = async () => (await this.breakpoints()).some((row) => row.includes(file) && row.includes(`${line}`));
    // Until the debug parts are live the key does nothing; it toggles, so it is pressed again only while nothing is set.
    await until(async () => {
      await this.page.keyboard.press("F9");
      return until(isSet, "a breakpoint", 1500).catch(() => false);
    }, `a breakpoint on line ${line} of ${file}`);
  }

  async goToLine(line) {
    const widget = this.page.locator(".quick-input-widget");
    const input = widget.locator("input.input");
    await until(async () => {
      if (!(await input.isVisible())) {
        await this.page.keyboard.press("Control+G");
      }
      await input.fill(`:${line}`, { timeout: 1000 });
      await input.press("Enter", { timeout: 1000 });
      await widget.waitFor({ state: "hidden", timeout: 3000 });
      return true;
    }, `to stand on line ${line}`);
  }

  /** Goes to the line of an open file until it is seen with `part`: a stop that has just come may reveal another line. */
  async showLine(file, line, part) {
    const isSeen = () => this.#line(file, part, 2000).catch(() => undefined);
    await until(async () => {
      await this.goToLine(line);
      return isSeen();
    }, `line ${line} of ${file}, with ${part}`);
  }

  /** What is written on the first line of a file on the screen that has `part`, with what is shown behind it. */
  async lineText(file, part) {
    return plain(await (await this.#line(file, part)).evaluate(withBeside));
  }

  /** Where on the screen a line of a file begins to be written. */
  async textBox(file, part) {
    const point = await (await this.#line(file, part)).evaluate(pointOf, part.trim().slice(0, 1));
    const { x } = await this.page.locator(`.monaco-editor[data-uri$="/${file}"]`).first().boundingBox();
    return { x: point.x > x ? point.x : -1, y: point.y };
  }

  /** A part of the window for a picture, by its place on the screen. */
  part(clip) {
    return { screenshot: (options) => this.page.screenshot({ ...options, clip }) };
  }

  async #line(file, part, milliseconds) {
    const lines = this.page.locator(`.monaco-editor[data-uri$="/${file}"] .view-line`);
    return until(
      async () => {
        for (const line of await lines.all()) {
          if (plain(await line.innerText()).includes(part)) {
            return line;
          }
        }
        return undefined;
      },
      `a line with ${part}`,
      milliseconds,
    );
  }

  /** What the debugger shows of `part` of a line when the pointer rests on it. */
  async hover(file, line, part) {
    const widget = this.page.locator(".debug-hover-widget");
    return until(async () => {
      const point = await (await this.#line(file, line)).evaluate(pointOf, part);
      await this.page.mouse.move(WINDOW.width - 40, WINDOW.height - 5); // the status bar: on the way nothing is hovered over
      await widget.waitFor({ state: "hidden" });
      await this.page.mouse.move(point.x + 12, point.y); // where it was before is not looked at again
      await this.page.mouse.move(point.x, point.y);
      await widget.waitFor({ timeout: 3000 });
      return plain(await widget.innerText());
    }, `a hover over ${part}`);
  }

  /** What is shown of what stands beside a line, put there by the extension, when the pointer rests on it. */
  async hoverBeside(file, line, part) {
    const widget = this.page
      .locator(".monaco-editor .monaco-hover:visible")
      .filter({ hasNot: this.page.locator(".debug-hover-widget") });
    return until(async () => {
      const found = await (await this.#line(file, line)).evaluate(besideOf, part);
      await this.page.mouse.move(WINDOW.width - 40, WINDOW.height - 5);
      await widget.first().waitFor({ state: "hidden" });
      await this.page.mouse.move(found.x, found.y);
      await widget.first().waitFor({ timeout: 3000 });
      return plain(await widget.first().innerText());
    }, `a hover over ${part}`);
  }

  /** Types into an input that the extension has opened, and leaves it open. */
  async type(text, title) {
    const widget = this.page.locator(".quick-input-widget").filter({ hasText: title });
    await widget.locator("input.input").fill(text);
  }

  /** Adds a breakpoint at a name in the row that VS Code opens for it, which goes when another part of the window takes the focus. */
  async functionBreakpoint(name) {
    const input = this.page.locator(".debug-breakpoints input.input");
    const isThere = async () => (await this.breakpoints()).some((row) => row.includes(name));
    const patience = 3000;
    await until(async () => {
      if (await isThere().catch(() => false)) {
        return true; // it was only slow to be listed
      }
      await this.command("Add Function Breakpoint");
      await until(
        async () => {
          await this.#scrollBreakpoints(1); // the editor does not, and it is the last row
          return input.isVisible();
        },
        "its row",
        patience,
      );
      await input.fill(name, { timeout: patience });
      await input.press("Enter", { timeout: patience });
      return until(isThere, "it to be listed", patience);
    }, `a function breakpoint at ${name}`).catch(async (error) => {
      throw new Error(`${error.message}; the side bar has ${await this.#panes()}`);
    });
  }

  /** The sections of the side bar and their heights, for a failure on a machine whose window nobody sees. */
  async #panes() {
    const panes = await this.page
      .locator(".pane:visible")
      .evaluateAll((all) => all.map((p) => `${p.querySelector(".pane-header")?.ariaLabel} (${p.clientHeight} px)`));
    return panes.join(", ") || "no section";
  }

  /** The rows of the Breakpoints pane below the filters, as a screen reader hears them. */
  async breakpoints() {
    await this.#scrollBreakpoints(1);
    return this.#rows(BREAKPOINT);
  }

  /** The pane shows nine rows, which the filters fill: to the end of the list (1) or to its beginning (-1). */
  async #scrollBreakpoints(direction) {
    await this.#scroll(".debug-breakpoints", direction * 1e5);
  }

  /** Scrolls a pane without the mouse: nothing is to be hovered over. */
  async #scroll(pane, deltaY) {
    const wheel = { deltaY, wheelDeltaY: -deltaY };
    await this.page
      .locator(`${pane} .monaco-scrollable-element`)
      .first()
      .dispatchEvent("wheel", wheel, { timeout: 1000 });
  }

  // ------------------------------------------------------------------------------------------------------- the session

  /** Shows a view of the side bar by its name. */
  async show(view) {
    const tab = this.page.locator(`.activitybar .action-label[aria-label^="${view}"]`);
    if ((await tab.locator("xpath=..").getAttribute("aria-expanded")) !== "true") {
      await tab.click();
    }
  }

  /** Opens a section of the side bar, such as `Modules`, or closes it, and returns it. */
  async section(name, isOpen = true) {
    const pane = this.page.locator(".pane").filter({ has: this.page.locator(`.pane-header[aria-label^="${name}"]`) });
    const header = pane.locator(".pane-header");
    if ((await header.getAttribute("aria-expanded")) !== `${isOpen}`) {
      await header.click({ position: { x: 40, y: 8 } });
    }
    return pane;
  }

  /** What the status bar says of a run, once it matches. */
  async status(matches) {
    const item = this.page.locator("#llm-dap\\.llm-dap\\.llm\\.status, [id$='llm.status']").first();
    return until(async () => {
      const text = await item.innerText();
      return matches.test(text) ? text : "";
    }, `${matches} in the status bar`);
  }

  /** Starts a configuration of launch.json by its name; without one, what F5 starts. */
  async start(name) {
    this.awaited = this.stops + 1;
    if (name) {
      await this.quickOpen(`debug ${name}`, name);
    } else {
      await this.page.keyboard.press("F5");
    }
  }

  /** Presses a button above an editor, by its title. */
  async pressAbove(title) {
    await this.moving(() => this.page.locator(`.editor-actions .action-label[aria-label^="${title}"]`).first().click());
  }

  /** Waits for a stop whose first frame shows `label` (text or a regular expression), a new one after `press`. Returns the frame. */
  async stoppedAt(label, patience = PATIENCE) {
    await this.show("Run and Debug");
    const matches = (text) => (label instanceof RegExp ? label.test(text) : text.includes(label));
    return until(
      async () => {
        await this.#scroll(".debug-call-stack", -1e5).catch(() => undefined); // there may be no stack yet
        const [top] = this.stops >= this.awaited ? await this.stack() : [];
        return top && matches(top) ? top : "";
      },
      `a stop at ${label}`,
      patience,
    ).catch(async (error) => {
      throw new Error(`${error.message}; the stack is ${JSON.stringify(await this.stack())}`);
    });
  }

  /** Presses a button of the debug toolbar: `next`, `stepBack`, `continue` … Wait for where it leads with `stoppedAt`. */
  async press(motion) {
    this.awaited = this.stops + 1;
    await this.page.locator(`.debug-toolbar .codicon-${MOTIONS[motion]}`).click();
  }

  /** Presses a button of the toolbar that an extension has put there, by its title. */
  async toolbar(title) {
    await this.moving(() => this.page.locator(`.debug-toolbar .action-label[aria-label*="${title}"]`).click());
  }

  /** Does what moves the run; `stoppedAt` then waits for a stop that came after it. */
  async moving(action) {
    this.awaited = this.stops + 1;
    await action();
  }

  async ended() {
    await this.page.locator(".debug-toolbar").waitFor({ state: "hidden", timeout: PATIENCE });
  }

  /** The frames that are on the screen, the innermost first: `NAME FILE LINE`. */
  stack() {
    return this.#texts(".debug-call-stack .monaco-list-row:has(.stack-frame)");
  }

  /** Waits for a frame anywhere in the stack; the editor asks for all but the first one a moment later. */
  async frame(label) {
    let direction = -1;
    return until(async () => {
      const found = (await this.stack()).find((frame) => frame.includes(label));
      if (!found) {
        direction = -direction; // rows that are out of sight are not there
        await this.#scroll(".debug-call-stack", direction * 1e5);
      }
      return found;
    }, `a frame ${label}`).catch(async (error) => {
      throw new Error(`${error.message}; the stack is ${JSON.stringify(await this.stack())}`);
    });
  }

  /** Looks at a frame of the stack. */
  async focusFrame(label) {
    await this.frame(label);
    await this.page.locator(".debug-call-stack .monaco-list-row").filter({ hasText: label }).first().click();
  }

  /** The number of the line at which a file is stopped. */
  async currentLine(file) {
    const editor = this.page.locator(`.monaco-editor[data-uri$="/${file}"]`);
    const mark = await until(
      () => editor.locator(".debug-top-stack-frame-line").first().boundingBox(),
      `a stop in ${file}`,
    );
    const numbers = await editor.locator(".line-numbers").all();
    for (const number of numbers) {
      const box = await number.boundingBox();
      if (box && Math.abs(box.y - mark.y) < mark.height / 2) {
        return Number(await number.innerText());
      }
    }
    return undefined;
  }

  /** Chooses from the menu of a row, such as of a frame or a module; found by what the row shows. */
  async chooseFromMenu(row, item) {
    await row.waitFor();
    const { x, y, width, height } = await row.boundingBox();
    // Not by the mouse: the headings of a tree stick to its top, over rows.
    await row.dispatchEvent("contextmenu", { button: 2, clientX: x + width / 2, clientY: y + height / 2 });
    const found = this.page.locator(".monaco-menu .action-label").filter({ hasText: item }).first();
    await found.waitFor();
    // A menu does not listen to the mouse at once.
    await until(async () => {
      await found.click({ timeout: 1000 }).catch(() => undefined);
      return found.waitFor({ state: "hidden", timeout: 300 }).then(() => true);
    }, `the menu to take ${item}`);
  }

  /** The row of a frame of the call stack, by its name. */
  frameRow(name) {
    const rows = this.page.locator(".debug-call-stack .monaco-list-row");
    return rows.filter({ has: this.page.getByText(name, { exact: true }) });
  }

  /** The row of a frame of the history, which the editor folds up behind "Show 3 More". */
  async pastFrame(name) {
    const row = this.frameRow(name);
    const more = this.page.locator(".debug-call-stack .monaco-list-row").filter({ hasText: /Show \d+ More/ });
    await row.or(more).first().waitFor();
    if (await more.isVisible()) {
      await more.click();
    }
    await row.waitFor();
    return row;
  }

  threads() {
    return this.#texts(".debug-call-stack .monaco-list-row:has(.thread)");
  }

  /** The rows of the Variables pane that are on the screen: `{name, value, level}`. */
  async variables() {
    const rows = this.page.locator(".debug-variables .monaco-list-row");
    const found = await rows.evaluateAll((all) =>
      all.map((row) => ({
        text: row.querySelector(".monaco-tl-contents")?.innerText ?? "",
        name: row.querySelector(".name")?.textContent ?? row.innerText,
        value: row.querySelector(".value")?.textContent ?? "",
        level: Number(row.getAttribute("aria-level")),
        index: Number(row.getAttribute("data-index")),
        expanded: row.getAttribute("aria-expanded"),
      })),
    );
    return found
      .sort((a, b) => a.index - b.index)
      .map(({ name, value, level, expanded }) => ({
        name: name.replace(/[:=]\s*$/, "").trim(),
        value,
        level,
        expanded,
      }));
  }

  /** Opens a row of the Variables pane by its name, unless it is open, and waits for what is below it. */
  async expand(name) {
    const isOpen = async () => (await (await this.#variable(name)).getAttribute("aria-expanded")) === "true";
    await until(async () => {
      if (await isOpen()) {
        return true;
      }
      const twistie = await (await this.#variable(name)).$(".monaco-tl-twistie");
      await twistie.click({ timeout: 1000 }); // lost where the tree is being read anew
      return until(isOpen, "it to open", 1500).catch(() => false);
    }, `${name} to open`);
  }

  /** The value of a row that is on the screen, once it has one that `matches` (any, if not given). */
  async value(name, matches = /./) {
    return until(async () => {
      const found = (await this.variables()).find((row) => row.name === name);
      return found && matches.test(found.value) ? found.value : "";
    }, `a value ${matches} of ${name}`);
  }

  /** Types another value for a row of the Variables pane into VS Code's own input. */
  async setValue(name, text) {
    this.awaited = this.stops + 1;
    await this.menuOfVariable(name, "Set Value");
    const input = this.page.locator(".debug-variables input.input:focus"); // rows that are used again keep theirs
    await input.fill(text);
    await until(async () => {
      if (await input.isVisible()) {
        await input.press("Enter", { timeout: 1000 }); // lost while the tree is read anew
      }
      await input.waitFor({ state: "hidden", timeout: 1500 });
      return true;
    }, "the value to be taken");
  }

  /** Chooses an entry of the context menu of a row of the Variables pane. */
  async menuOfVariable(name, entry) {
    const item = this.page.locator(".monaco-menu .action-item").filter({ hasText: entry }).first();
    await until(async () => {
      await (await this.#variable(name)).click({ button: "right", timeout: 2000 });
      const isThere = await item.waitFor({ timeout: 1500 }).then(
        () => true,
        () => false,
      );
      if (!isThere) {
        await this.page.keyboard.press("Escape"); // the rows have moved as the tree was read anew
      }
      return isThere;
    }, `the menu of ${name} with ${entry}`);
    await this.#menu(entry);
  }

  /** Chooses an entry of the context menu of a line in an editor, by a part of its text that is on the screen. */
  async menuOfLine(file, part, entry) {
    const lines = this.page.locator(`.monaco-editor[data-uri$="${file}"] .view-line`);
    await lines.filter({ hasText: part }).first().locator("span span").first().click({ button: "right" });
    await this.#menu(entry);
  }

  async #menu(entry) {
    const menu = this.page.locator(".monaco-menu");
    await until(async () => {
      await menu.locator(".action-item").filter({ hasText: entry }).first().click({ timeout: 2000 });
      await menu.waitFor({ state: "hidden", timeout: 1000 }); // a menu that has just opened takes no click
      return true;
    }, `the menu entry ${entry}`);
  }

  /** The first row of that name: the element itself, since rows move while the tree is read anew. */
  async #variable(name) {
    return until(async () => {
      const rows = await this.page.locator(".debug-variables .monaco-list-row").elementHandles();
      const found = await Promise.all(
        rows.map(async (row) => {
          const [index, text] = await row.evaluate((each) => [
            Number(each.getAttribute("data-index")),
            each.querySelector(".name")?.textContent ?? each.innerText,
          ]);
          return { row, index, name: text.replace(/[:=]\s*$/, "").trim() };
        }),
      );
      return found.sort((a, b) => a.index - b.index).find((each) => each.name === name)?.row;
    }, `a row ${name} among the variables`);
  }

  /** The lines of the Debug Console, once one matches. */
  async console(matches = /./) {
    const isShown = () => this.page.locator(".repl").isVisible();
    await until(async () => {
      if (!(await isShown())) {
        await this.page.keyboard.press("Control+Shift+Y"); // hides it too
      }
      return until(isShown, "it", 2000);
    }, "the Debug Console");
    return until(async () => {
      const lines = await this.#texts(".repl .monaco-list-row");
      return lines.some((line) => matches.test(line)) && lines;
    }, `${matches} in the Debug Console`);
  }

  // ---------------------------------------------------------------------------------------------------------- panels

  /** The page of a panel, by the title of its tab: a frame in which locators work. */
  async panel(title) {
    await this.page.locator(".tab").filter({ hasText: title }).first().waitFor();
    return this.page.frameLocator("iframe.webview.ready").frameLocator("#active-frame");
  }

  /** Opens a panel by its command, waits until it has painted, and returns its page and how long its first paint took. */
  async openPanel(command, title) {
    const begun = performance.now();
    await this.command(command);
    const page = await this.panel(title);
    await page.locator("body[data-painted]").waitFor({ state: "attached", timeout: PATIENCE });
    return { page, milliseconds: performance.now() - begun };
  }

  /** The part of the window that shows a panel, for its picture. */
  get panelArea() {
    return this.page.locator("iframe.webview.ready").last();
  }

  /** Its upper part, where the rest is empty. */
  panelTop(height) {
    const screenshot = async (options) => {
      const box = await this.panelArea.boundingBox();
      return this.page.screenshot({ ...options, clip: { ...box, height: Math.min(height, box.height) } });
    };
    return { screenshot };
  }

  /** The line of the cursor, as the status bar has it. */
  async cursorLine() {
    const text = await this.page.locator("#status\\.editor\\.selection").innerText();
    return Number(/Ln (\d+)/.exec(text)?.[1]);
  }

  /** Closes a tab, by its title. */
  async close(title) {
    await this.quickOpen(`edt ${title}`, title);
    await this.command("View: Close Editor");
    await this.page.locator(".tab").filter({ hasText: title }).first().waitFor({ state: "detached" });
  }

  // -------------------------------------------------------------------------------------------------------- pictures

  /** `light` or `dark`. */
  async theme(name) {
    const wanted = this.page.locator(`.monaco-workbench.${name === "dark" ? "vs-dark" : "vs"}`);
    if (!(await wanted.isVisible())) {
      await this.command("Preferences: Toggle between Light/Dark Themes");
      await wanted.waitFor();
    }
  }

  /** A picture in both themes, `NAME-light.png` and `NAME-dark.png`: of the window, or of a part; `prepare` precedes each. */
  async picture(name, part, prepare) {
    for (const theme of ["light", "dark"]) {
      await this.theme(theme);
      await this.snapshot(`${name}-${theme}`, part, prepare);
    }
  }

  /** A picture in the theme that there is, for what closes when another one is chosen. */
  async snapshot(name, part, prepare) {
    await mkdir(this.pictures, { recursive: true });
    await this.page.mouse.move(WINDOW.width - 40, WINDOW.height - 40); // nothing is hovered over
    await this.page.locator(".monaco-hover, .workbench-hover").first().waitFor({ state: "hidden" });
    await prepare?.();
    await (part ?? this.page).screenshot({ path: join(this.pictures, `${name}.png`), animations: "disabled" });
  }

  async #rows(selector) {
    return this.page.locator(selector).evaluateAll((rows) => rows.map((row) => row.getAttribute("aria-label") ?? ""));
  }

  #texts(selector) {
    return this.texts(this.page, selector);
  }

  /** The rows of a list in a part of the window, in their order. */
  async texts(part, selector = ".monaco-list-row") {
    const rows = await part
      .locator(selector)
      .evaluateAll((all) => all.map((row) => [Number(row.getAttribute("data-index")), row.innerText]));
    return rows.sort((a, b) => a[0] - b[0]).map(([, text]) => text.replace(/\s+/g, " ").trim());
  }
}

// Colours of the editor's theme for what is painted by hand. Pages that use CSS need none of this.

/** A colour of the theme, such as `charts-blue` or `editor-foreground`. */
export function color(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--vscode-${name}`).trim();
}

export function isDark(): boolean {
  return (
    !document.body.classList.contains("vscode-light") && !document.body.classList.contains("vscode-high-contrast-light")
  );
}

/** Calls back when the person changes the theme. */
export function onThemeChange(repaint: () => void): void {
  new MutationObserver(repaint).observe(document.body, { attributes: true, attributeFilter: ["class"] });
}

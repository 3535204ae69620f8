// The first lines of a model map. Knows no editor.

export interface MapHeader {
  model: string | undefined;
  className: string | undefined;
}

/** What the comments at the top of a map say: `# model: …`, `# class: …`. */
export function mapHeader(text: string): MapHeader {
  const fields = new Map<string, string>();
  for (const line of text.split("\n", 50)) {
    if (!line.startsWith("#") && line.trim() !== "") {
      break;
    }
    const [, name, value] = /^# (\w+): (.+?)\s*$/.exec(line) ?? [];
    if (name !== undefined && value !== undefined && !fields.has(name)) {
      fields.set(name, value);
    }
  }
  return { model: fields.get("model"), className: fields.get("class") };
}

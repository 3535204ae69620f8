// Writes the tokens of each line on standard input as VS Code's own tokenizer makes them: [[text, innermost scope], …].
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import oniguruma from "vscode-oniguruma";
import textmate from "vscode-textmate";

const wasm = createRequire(import.meta.url).resolve("vscode-oniguruma/release/onig.wasm");
await oniguruma.loadWASM(readFileSync(wasm).buffer);

const registry = new textmate.Registry({
  onigLib: Promise.resolve({
    createOnigScanner: (patterns) => new oniguruma.OnigScanner(patterns),
    createOnigString: (text) => new oniguruma.OnigString(text),
  }),
  loadGrammar: async () => textmate.parseRawGrammar(readFileSync(process.argv[2], "utf8"), process.argv[2]),
});
const grammar = await registry.loadGrammar("source.llmmap");

let state = textmate.INITIAL;
const lines = [];
for (const line of readFileSync(0, "utf8").split("\n")) {
  const result = grammar.tokenizeLine(line, state);
  state = result.ruleStack;
  lines.push(result.tokens.map((token) => [line.slice(token.startIndex, token.endIndex), token.scopes.at(-1)]));
}
process.stdout.write(JSON.stringify(lines));

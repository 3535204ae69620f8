// The launch.json of an example workspace. Knows no editor.

/** Small enough for any machine, and public. */
export const SMALL_MODEL = {
  id: "HuggingFaceTB/SmolLM2-135M",
  said: "from the Hugging Face hub, 135 million parameters, downloaded at the first start",
};

export function exampleLaunch(model: string): string {
  const common = { type: "llm", request: "launch" };
  const configurations = [
    {
      ...common,
      name: "Continue a text",
      model,
      prompt: "The capital of France is",
      generation: { max_new_tokens: 10 },
    },
    {
      ...common,
      name: "Stop at the beginning",
      model,
      prompt: "The capital of France is",
      stopOnEntry: true,
      generation: { max_new_tokens: 10 },
    },
    {
      ...common,
      name: "Draw tokens with a seed",
      model,
      prompt: "Once upon a time",
      seed: 0,
      generation: { max_new_tokens: 20, do_sample: true, temperature: 0.8, top_p: 0.95 },
    },
  ];
  return `${JSON.stringify({ version: "0.2.0", configurations }, null, 2)}\n`;
}

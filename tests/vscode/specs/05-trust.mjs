export const title = "nothing runs in a workspace that is not trusted";
export const server = { trust: true, settings: { "security.workspace.trust.startupPrompt": "never" } };

export default async function ({ editor, step }) {
  await step("a new folder is restricted until a person says that it is trusted", async () => {
    await editor.page.locator(".statusbar-item").filter({ hasText: "Restricted Mode" }).waitFor();
  });

  await step("F5 asks for trust again, and starts nothing without it", async () => {
    await editor.show("Run and Debug");
    await editor.start();
    await editor.dialog("Do you trust", "Cancel");
    await editor.ended();
  });

  await step("a map opens without its language server", async () => {
    await editor.open("atlas.llmmap");
  });
}

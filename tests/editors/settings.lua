-- What Neovim makes of the settings, told as JSON: nvim --headless --clean -l settings.lua INIT MAP
-- nvim-dap is stood in for by the two tables that settings fill, and by a session that tells what it is asked to send.

local init, map = arg[1], arg[2]
local sent = {}
package.preload["dap"] = function()
  local session = {
    request = function(_, command, arguments)
      table.insert(sent, { command = command, arguments = arguments })
    end,
  }
  return { adapters = {}, configurations = {}, session = function() return session end }
end
vim.fn.input = function(_, default) return default end -- the user presses Return

dofile(init)
vim.cmd.edit(map)
local dap = require("dap")
local configuration = {}
for name, value in pairs(dap.configurations[vim.bo.filetype][1]) do -- as nvim-dap evaluates it
  configuration[name] = type(value) == "function" and value() or value
end

vim.wait(60000, function()
  local server = vim.lsp.get_clients({ bufnr = 0 })[1]
  return server ~= nil and server.initialized
end)
vim.fn.search([[\<model\.layers\.2\.mlp\>]])
local answers = vim.lsp.buf_request_sync(0, "textDocument/hover", vim.lsp.util.make_position_params(), 60000)

vim.cmd("LlmBreak *.layers.3 sample")
vim.cmd("LlmBreak")
io.stdout:write(vim.json.encode({
  adapter = dap.adapters[configuration.type],
  configuration = configuration,
  sent = sent,
  hover = answers[1].result.contents.value,
  comments = vim.bo.commentstring,
}))

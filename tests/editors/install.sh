#!/usr/bin/env bash
# Puts real editors into the folder that is given: Emacs with dape, Helix and Neovim of Debian 13, with the libraries that
# they need. Nothing else is touched, and no rights are needed: packages are downloaded by apt with a state of its own and
# unpacked, not installed. 78 MB to download, 290 MB on disk, ten to twenty seconds.
set -euo pipefail

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
for needed in apt-get dpkg-deb "$keyring"; do
    command -v "$needed" >/dev/null || [ -e "$needed" ] || { echo "The editors come by apt from Debian: needs $needed" >&2; exit 1; }
done

mkdir -p "$1"
target=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{etc,lists/partial,cache/archives/partial,state,packages}
touch "$work/status"
echo "deb [signed-by=$keyring] http://deb.debian.org/debian trixie main" >"$work/sources.list"
apt() {
    apt-get --quiet=2 -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferencesparts=/dev/null \
        -o Dir::State="$work/state" -o Dir::State::lists="$work/lists" -o Dir::State::status="$work/status" \
        -o Dir::Cache="$work/cache" -o APT::Install-Recommends=false -o APT::Sandbox::User=root "$@"
}

apt update
# What Emacs wants for compiling natively is left out: it does not start a compiler here.
packages=$(apt install --simulate emacs-nox elpa-dape hx neovim | sed -n 's/^Inst \([^ ]*\) .*/\1/p' |
    grep -vE -- '-dev$|^binutils|^linux-|^libc-dev-bin|^lib(a|hwa|l|t|ub)san[0-9]|^libasound|^libgprofng|^gcc-|^emacsen-|^dh-elpa')
(cd "$work/packages" && apt download $packages)
for package in "$work"/packages/*.deb; do
    dpkg-deb --extract "$package" "$target"
done

# Started by the loader of the same Debian, so that the libraries of this machine do not matter.
loader=$(echo "$target"/usr/lib/*/ld-linux-*.so.*)
libraries=$(dirname "$loader")
mkdir -p "$target/bin"
wrap() { # NAME PROGRAM ENVIRONMENT ARGUMENTS
    printf '#!/bin/sh\nexec env %s "%s" --library-path "%s" "%s" %s "$@"\n' "$3" "$loader" "$libraries" "$2" "$4" >"$target/bin/$1"
    chmod +x "$target/bin/$1"
}
emacs=$(echo "$target"/usr/share/emacs/[0-9]*)
dape=$(echo "$target"/usr/share/emacs/site-lisp/elpa-src/dape-*)
wrap emacs "$target/usr/bin/emacs-nox" \
    "EMACSDATA='$emacs/etc' EMACSDOC='$emacs/etc' EMACSPATH='$libraries' EMACSLOADPATH='$dape:$emacs/lisp'" \
    "--dump-file='$(echo "$target"/usr/libexec/emacs/*/*/*.pdmp)'"
wrap hx "$target/usr/lib/hx/hx" "HELIX_RUNTIME='$target/usr/lib/hx/runtime'" ""
wrap nvim "$target/usr/bin/nvim" "VIMRUNTIME='$target/usr/share/nvim/runtime'" ""
"$target/bin/emacs" --version | head -1
"$target/bin/hx" --version
"$target/bin/nvim" --version | head -1

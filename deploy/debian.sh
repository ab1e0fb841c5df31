#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Debian packages that the tests use: a Slurm that they start themselves, and a browser for screenshots.
set -eu
packages="slurm-wlm munge chromium"
command -v apt-get >/dev/null || { echo "no apt-get here: tests that need $packages will be skipped"; exit 0; }
dpkg -s $packages >/dev/null 2>&1 && exit 0
[ "$(id -u)" = 0 ] || { echo "not root: tests that need $packages will be skipped; install them yourself"; exit 0; }
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null

# SPDX-License-Identifier: GPL-2.0-or-later
# Everything is set up on first use, on a Debian machine with Python 3.10 or newer, make and apt:
#   make demo    show what the tool prints for recorded traffic, then start a node and talk to it
#   make test    lint, then all tests
#   make lint    ruff, mypy, codespell
#   make bench   the table of benchmarks, both sides measured here
#   make docs    write the generated parts of docs/ anew
#   make clean   remove all that was set up or made

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLI := $(BIN)/scapy-btc
BCOIN := tests/peers/bcoin
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
APT := $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get -q
INSTALL = $(APT) update && $(APT) install -y --no-install-recommends

.PHONY: demo test lint bench docs clean install tshark node
.DELETE_ON_ERROR:
.NOTPARALLEL:

# A session of Bitcoin Core nodes, one message in full, statistics, and what is found in spoiled captures.
SHOWN := version,wtxidrelay,verack,sendcmpct,getheaders,headers,tx,cmpctblock,getblocktxn,blocktxn,cfilter,merkleblock,alert
DEMO_PORT := 28444
DEMO_NODE := 127.0.0.1:$(DEMO_PORT)
demo: install
	$(CLI) read --msgtype $(SHOWN) pcaps/core-v1-regtest.pcapng
	$(CLI) read -V --msgtype cmpctblock -c 1 pcaps/core-v1-regtest.pcapng
	$(CLI) stats pcaps/core-v1-regtest.pcapng
	$(CLI) read --connection 1 pcaps/broken-loss-order-repeats.pcap.gz
	$(CLI) stats pcaps/broken-loss-order-repeats.pcap.gz
	$(CLI) read -q --strict pcaps/broken-checksums.pcap.gz || test $$? = 3
	$(CLI) read --keylog pcaps/core-v2-regtest.keylog -c 8 pcaps/core-v2-regtest.pcapng
	@log=$$(mktemp); $(CLI) serve --port $(DEMO_PORT) --address 192.0.2.7:8333 -q 2>$$log & node=$$!; \
	trap 'kill $$node; wait $$node || test $$? = 143; cat $$log; rm -f $$log' EXIT; \
	until grep -q listening $$log; do kill -0 $$node || exit 1; sleep 0.1; done; \
	tip=$$($(CLI) headers -T jsonl $(DEMO_NODE) 2>/dev/null | sed -n '$$s/.*"block_hash":"\([0-9a-f]*\)".*/\1/p'); \
	set -ex; \
	$(CLI) handshake $(DEMO_NODE); \
	$(CLI) ping -c 3 --interval 0.2 $(DEMO_NODE); \
	$(CLI) getaddr --wait 3 $(DEMO_NODE); \
	$(CLI) headers -c 5 $(DEMO_NODE); \
	$(CLI) getdata block $$tip $(DEMO_NODE)

test: lint tshark $(BCOIN)/node_modules/.package-lock.json
	$(BIN)/python -m pytest

lint: install
	$(BIN)/python -m ruff check .
	$(BIN)/python -m mypy
	$(BIN)/python -m codespell_lib

bench: install tshark
	$(BIN)/python -m benchmarks

docs: install
	$(BIN)/python docs/generate.py

clean:
	rm -rf $(VENV) $(BCOIN)/node_modules build dist *.egg-info .*_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

install: $(VENV)/.installed

# A virtual environment whose Python is gone is made again.
$(shell test -x $(BIN)/python || rm -f $(VENV)/.made)

# Debian ships venv without ensurepip unless python3-venv is installed; what a failed try leaves is cleared.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "Python 3.10 or newer is needed; name it with: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { $(INSTALL) python3-venv; }
	$(PYTHON) -m venv --clear $(VENV)
	touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	touch $@

tshark:
	@command -v tshark >/dev/null || { $(INSTALL) tshark; }

node:
	@command -v node >/dev/null && command -v npm >/dev/null || { $(INSTALL) nodejs npm; }

# npm writes this file last.
$(BCOIN)/node_modules/.package-lock.json: $(BCOIN)/package-lock.json | node
	npm ci --ignore-scripts --no-audit --no-fund --prefix $(BCOIN)
	touch $@

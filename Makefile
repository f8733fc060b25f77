# Two commands are enough: `make up` starts the grid, `make test` tests it.

VENV   := .venv
BIN    := $(VENV)/bin
PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,\
            $(shell $(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))
APT     = $(if $(filter 0,$(shell id -u)),,sudo -n) env DEBIAN_FRONTEND=noninteractive apt-get -qy
# It measures how soon all is whole again, so nothing else runs meanwhile; the others mostly wait.
ALONE   = tests/system/test_chaos.py
# Each process gets the next whole module; tests/conftest.py puts the longest first.
SHARED  = --dist loadscope --no-loadscope-reorder
NEEDED  = Python 3.11 or later with its venv module is needed: install python3-venv, or name another with PYTHON=…

.PHONY: help up down test test-fast bench bench-claims bench-recycling bench-packing bench-sizing bench-relay bench-isolation bench-cdp bench-door bench-scale bench-dashboard bench-api bench-versions simulate chaos attacks compatibility upgrade-test full-chromium fuzz \
        image image-test image-check oci oci-test lint docs clean

help: ## explain these commands
	@echo "The Playwright Appliance: a Playwright grid on this machine."; echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 26
	@echo; echo "Once installed, $(BIN)/applctl does the single steps."

up: $(VENV)/installed ## start the grid, and open a page through it
	@$(BIN)/applctl up

down: ## stop the grid
	@test ! -x $(BIN)/applctl || $(BIN)/applctl down

# Python keeps what it compiles, whatever the shell says: each of these processes, and those that they start by the
# hundred, would compile the tests and the appliance again.
test test-fast: export PYTHONDONTWRITEBYTECODE =

test: lint image-check ## test everything, with real browsers
	$(BIN)/applctl setup
	@test "$$(id -u)" != 0 || packer/need.sh nft ip ss haproxy nginx cc tmux
	$(BIN)/pytest $(ALONE)
	$(BIN)/pytest --numprocesses 3 $(SHARED) $(ALONE:%=--ignore=%)

test-fast: lint ## lint, types, unit and integration tests, in under two minutes
	$(BIN)/pytest --numprocesses 4 $(SHARED) tests/unit tests/integration

bench: $(VENV)/installed-test ## measure the grid against a direct connection
	$(BIN)/python -m tests.bench

bench-claims: $(VENV)/installed-test ## measure claims in Redis by the number of workers
	$(BIN)/python -m tests.bench.claims

bench-recycling: $(VENV)/installed-test ## measure what recycling costs in throughput
	$(BIN)/python -m tests.bench.recycling

bench-packing: $(VENV)/installed-test ## measure what it costs to share a browser with others
	$(BIN)/python -m tests.bench.packing

bench-sizing: $(VENV)/installed-test ## measure the memory and CPU of workers and sessions; SIZING="--url …"
	$(BIN)/python -m tests.bench.sizing $(SIZING)

bench-relay: $(VENV)/installed-test ## measure the proxy's relay beside HAProxy and nginx
	$(BIN)/python -m tests.bench.relay

bench-isolation: $(VENV)/installed-test ## measure sessions with a browser of their own beside sessions that share one
	$(BIN)/python -m tests.bench.isolation

bench-cdp: $(VENV)/installed-test ## measure the connect of CDP clients beside one to a browser on this machine
	$(BIN)/python -m tests.bench.cdp

bench-door: $(VENV)/installed-test ## measure sessions on another appliance's worker beside an appliance's own
	$(BIN)/python -m tests.bench.across $(DOOR)

bench-scale: $(VENV)/installed-test ## simulate 10,000 workers on 200 appliances against one real Redis
	$(BIN)/python -m tests.bench.scale

bench-dashboard: $(VENV)/installed-test ## measure what open dashboards cost the proxy
	$(BIN)/python -m tests.bench.dashboard

bench-versions: $(VENV)/installed-test ## measure first sessions of versions that nobody serves; VERSIONS="--minor 1.58"
	$(BIN)/python -m tests.bench.versions $(VERSIONS)

bench-api: $(VENV)/installed-test ## measure the REST API's answers for a large grid, and how late they make the relay
	$(BIN)/python -m tests.bench.api

simulate: $(VENV)/installed-test ## simulate pools, and the capacity that recycling leaves them
	$(BIN)/python -m tests.simulation

chaos: $(VENV)/installed-test ## let everything fail at random, for 10 minutes; CHAOS="--seed 7 --minutes 30"
	$(BIN)/python -m tests.chaos $(CHAOS)

# The others are attacks on proxies, accounts, the firewall, and agents, whose driver is the appliance's own.
OF_DRIVERS = $(filter-out $(patsubst %,tests/attacks/test_%.py,agents firewall inner_door local_accounts sandbox),\
               $(wildcard tests/attacks/test_*.py))
# The clients of these tests have the driver's version, so each has a virtual environment of its own.
attacks: $(VENV)/installed-test ## attack the drivers of all other versions that are served; VERSION=1.62
	@set -e; for version in $(or $(VERSION),$$($(BIN)/python -m tests.support.versions)); do \
	    test -d build/attacks-$$version || $(BIN)/python -m venv build/attacks-$$version; \
	    build/attacks-$$version/bin/pip install --quiet --editable '.[test]'; \
	    build/attacks-$$version/bin/pip install --quiet "playwright==$$version.*"; \
	    build/attacks-$$version/bin/pytest tests/unit/test_preload*.py $(OF_DRIVERS); \
	done

compatibility: $(VENV)/installed-test ## try every feature with clients of each version that is served; write the table of them
	$(BIN)/python -m tests.versions

full-chromium: $(VENV)/installed-test ## test pools of a full Chromium, without a window and with one; installs it
	@packer/need.sh Xvfb
	$(BIN)/pytest tests/full

upgrade-test: $(VENV)/installed-test ## upgrade three appliances under clients of three versions; as root
	$(BIN)/python -m tests.versions.upgrade

fuzz: $(VENV)/installed-test ## attack a proxy with 110,000 malformed and hostile cases; FUZZ="--seed 7"
	$(BIN)/python -m tests.fuzz $(FUZZ)

image: $(VENV)/installed ## build an image of a machine, for QEMU; BASE=cloud from Debian's cloud image
	packer/build.sh build/image

image-test: image $(VENV)/installed-test ## build the image, boot it, and use it; IMAGE=file tests another
	@packer/need.sh /usr/share/ovmf/OVMF.fd
	$(BIN)/pytest tests/image -x

oci: $(VENV)/installed ## build an image for containers; BROWSERS=chromium,firefox DRIVERS=1.62,1.60 ARCH=arm64
	packer/oci/build.sh build/image

oci-test: oci $(VENV)/installed-test ## build the image for containers, run and use it; as root; IMAGE=file tests another
	@packer/need.sh umoci skopeo runc ip
	$(BIN)/pytest tests/oci

image-check:
	@packer/check.sh

lint: $(VENV)/installed-test ## check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: $(VENV)/installed ## write what is generated in docs/: commands, settings, the layout
	$(BIN)/python -m appliance.cli.reference
	$(BIN)/python -m tests.unit.test_imports

clean: down ## stop the grid, and remove what was made here
	rm -rf $(VENV) run drivers build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis node_modules

# Installed anew when setup.py has changed; the code itself is used where it lies.
$(VENV)/installed: setup.py | $(BIN)/pip
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/installed-test: setup.py | $(BIN)/pip
	$(BIN)/pip install --quiet --editable '.[test]'
	@touch $@ $(VENV)/installed

# Debian and Ubuntu package venv apart from Python. The folder is made in one step or not at all.
$(BIN)/pip:
	@rm -rf $(VENV)
	@$(or $(PYTHON),false) -m venv $(VENV) >/dev/null 2>&1 \
	|| { $(APT) update && $(APT) install python3-venv && rm -rf $(VENV) && $(or $(PYTHON),python3) -m venv $(VENV); } >/dev/null 2>&1 \
	&& $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	|| { rm -rf $(VENV); echo "$(NEEDED)" >&2; exit 1; }

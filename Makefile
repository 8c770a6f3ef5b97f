.PHONY: help setup setup-demo setup-tests demo kernel test system-python lint types imports bench fuzz docs proto schedules
.DEFAULT_GOAL := help

help:  ## What can be made, and which system packages each installs where they are missing; no daemon is started
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 15
	@for each in user demo tests; do \
		printf '\nSystem packages of %s (and python3-venv): %s\n' $$each "$$(tools/setup --packages $$each | xargs)"; done

setup:  ## Make .venv for a server or an agent; installs the packages of `user`
	@tools/setup user

setup-demo:  ## The same, with the packages of `demo`
	@tools/setup demo

setup-tests:  ## The same, with the packages of `tests` and the tools of the tests
	@tools/setup tests

demo: setup-demo  ## A server and two agents behind two NATs, in network namespaces (needs root)
	@tools/demo

kernel: setup-tests  ## The kernel's WireGuard on Debian's stock kernel in an emulated machine (some minutes)
	@tools/kernel-vm fetch
	MESHLOOM_KERNEL_VM=1 .venv/bin/python -m pytest -q -rs -s tests/plugins/tunnel/kernel/test_stock_kernel.py

# Two processes of tests for each processor, since many tests wait; programs that they start are compiled once.
test: setup-tests lint types imports system-python  ## All that CI runs; privileged parts only as root
	PYTHONDONTWRITEBYTECODE= PYTHONPYCACHEPREFIX=$(CURDIR)/.venv/pycache \
		.venv/bin/python -m pytest -q -rs -n $$((2 * $$(nproc)))

# Debian's own Python, where .venv was made with another: the pure tests, and the wheels.
system-python:
	@tools/system-python

lint:
	.venv/bin/ruff check --quiet
	.venv/bin/ruff format --check --quiet

types:
	.venv/bin/mypy

imports:
	.venv/bin/lint-imports

bench:  ## Print the benchmark table
	@tools/setup bench
	@tools/bench

fuzz: setup-tests  ## Run the fuzzers of all decoders for an hour
	@tools/fuzz

schedules: setup-tests  ## Run 10 000 random schedules of the simulated network, and 10 000 with relays (an hour of one processor)
	.venv/bin/python -m meshloom_agent.testing.schedules --count 10000
	.venv/bin/python -m meshloom_agent.testing.schedules --count 10000 --relays

docs: setup-tests  ## Generate docs/reference from the code
	.venv/bin/python tools/reference

proto: setup-tests  ## Generate core/src/meshloom/rpc from core/proto
	.venv/bin/tox -q -e proto

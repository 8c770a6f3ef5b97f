.PHONY: help setup demo kernel test lint types imports bench fuzz docs proto schedules
.DEFAULT_GOAL := help

help:  ## What can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

setup:  ## Make .venv and install what is missing
	@tools/setup

demo: setup  ## A server and two agents behind two NATs, in network namespaces (needs root)
	@tools/demo

kernel: setup  ## The kernel's WireGuard on Debian's stock kernel in an emulated machine (some minutes)
	@tools/kernel-vm fetch
	MESHLOOM_KERNEL_VM=1 .venv/bin/python -m pytest -q -rs -s tests/plugins/tunnel/kernel/test_stock_kernel.py

# Two processes of tests for each processor, since many tests wait; programs that they start are compiled once.
test: setup lint types imports  ## All that CI runs; privileged parts only as root
	PYTHONDONTWRITEBYTECODE= PYTHONPYCACHEPREFIX=$(CURDIR)/.venv/pycache \
		.venv/bin/python -m pytest -q -rs -n $$((2 * $$(nproc)))

lint:
	.venv/bin/ruff check --quiet
	.venv/bin/ruff format --check --quiet

types:
	.venv/bin/mypy

imports:
	.venv/bin/lint-imports

bench:  ## Print the benchmark table
	@tools/setup tests bench
	@tools/bench

fuzz: setup  ## Run the fuzzers of all decoders for an hour
	@tools/fuzz

schedules: setup  ## Run 10 000 random schedules of the simulated network, and 10 000 with relays (an hour of one processor)
	.venv/bin/python -m meshloom_agent.testing.schedules --count 10000
	.venv/bin/python -m meshloom_agent.testing.schedules --count 10000 --relays

docs: setup  ## Generate docs/reference from the code
	.venv/bin/python tools/reference

proto:  ## Generate core/src/meshloom/rpc from core/proto
	@tools/setup
	.venv/bin/tox -q -e proto

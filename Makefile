# SPDX-License-Identifier: Apache-2.0
.DEFAULT_GOAL := help
.PHONY: help try test lint format clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

try: ## install, then plan, apply and roll back on a copy of a sample host
	scripts/try

test: ## install what the tests need, then run ruff, mypy and pytest
	scripts/test

lint: ## run ruff and mypy only, in the environment that `make test` made
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy --strict

format: ## lay out the code
	.venv/bin/ruff format .

clean: ## remove the environment and every cache
	rm -rf .venv build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find iommuctl tests -name __pycache__ -type d -prune -exec rm -rf {} +

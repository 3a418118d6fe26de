# SPDX-License-Identifier: Apache-2.0
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help try test boot-test lint format profiles check-profiles man completion collection wheel deb-source deb rpm clean

# Docutils of enterprise releases names its program with a suffix.
RST2MAN ?= $(shell command -v rst2man || command -v rst2man.py || echo rst2man)
PYTHON ?= $(firstword $(wildcard .venv/bin/python) python3)
man_pages := $(patsubst man/%.rst,build/man/%,$(wildcard man/*.rst))

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

try: ## install, then plan, apply and roll back on a copy of a sample host
	scripts/try

test: ## install what the tests need, then run ruff, mypy and pytest
	scripts/test

boot-test: ## boot Debian under emulation: bootloaders, IOMMUs, profiles and kernels, each pair of them
	scripts/boot-test

lint: ## run ruff, import-linter and mypy only, in the environment that `make test` made
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports
	.venv/bin/mypy --strict

format: ## lay out the code
	.venv/bin/ruff format .

profiles: ## make the modules of iommuctl/profile/profiles, the values that a run loads, of the TOML next to them
	PYTHONDONTWRITEBYTECODE=1 $(PYTHON) scripts/profiles.py

# Every package is made with one of the two targets that need this.
check-profiles: ## read the TOML of the shipped profiles as that of a user, and compare the values with it
	PYTHONDONTWRITEBYTECODE=1 $(PYTHON) scripts/profiles.py --check

man: $(man_pages) ## make build/man/ from man/*.rst; needs rst2man (python3-docutils)

build/man/%: man/%.rst man/tidy.sed
	@mkdir -p $(@D)
	$(RST2MAN) --halt=warning $< $@
	sed -i -f man/tidy.sed $@

completion: check-profiles ## make build/completion/ for bash, zsh and fish, by the application itself
	packaging/completion build/completion $(PYTHON)

# The collection lies in a directory of its own, and is built by Ansible's own program.
collection: ## build the Ansible collection, build/collection/iommuctl-iommu-VERSION.tar.gz, installable without a network
	$(if $(ANSIBLE_GALAXY),,scripts/ansible-env 2.19)
	$(or $(ANSIBLE_GALAXY),build/ansible/2.19/bin/ansible-galaxy) collection build --force --output-path build/collection ansible

VARIANT ?= $(shell packaging/variant)

deb-source: ## make what the Debian package is built from, build/deb/iommuctl; apt-get build-dep takes that folder
	rm -rf build/deb
	mkdir -p build/deb
	packaging/deb-tree build/deb/iommuctl $(VARIANT)

deb: deb-source ## build the Debian package in build/deb/ and test it (TESTS=no: build alone); VARIANT=native or bundled, by default what this release needs
	cd build/deb/iommuctl && $(if $(filter no,$(TESTS)),DEB_BUILD_OPTIONS=nocheck DEB_BUILD_PROFILES=nocheck )dpkg-buildpackage -us -uc

rpm: ## build the RPM package in build/rpm/RPMS/; VARIANT as above
	rm -rf build/rpm
	packaging/rpm-tree build/rpm $(VARIANT)
	rpmbuild --define '_topdir $(CURDIR)/build/rpm' $(if $(filter bundled,$(VARIANT)),--with,--without) bundled \
		-ba build/rpm/SPECS/iommuctl.spec

wheel: check-profiles ## build the wheel and the sdist in dist/, and check them
	rm -rf dist
	$(PYTHON) -m build
	$(PYTHON) -m twine check --strict dist/*

clean: ## remove the environment and every cache
	rm -rf .venv build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find iommuctl tests -name __pycache__ -type d -prune -exec rm -rf {} +

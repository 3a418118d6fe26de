# SPDX-License-Identifier: Apache-2.0
# The variant for releases whose Python libraries are new enough: it depends on them.

export PYBUILD_NAME = iommuctl
dh_options = --buildsystem=pybuild --with=python3

# The core and what the libraries of the release take part in; these tests need no program beside Python.
tests = $(patsubst %,tests/%, kernel profile formats documents backends/bls backends/detection backends/grub \
	backends/systemd_boot host/test_root.py running/test_verify.py transaction/test_durable.py \
	transaction/test_recovery.py transaction/test_snapshot.py transaction/test_transaction.py)

execute_after_dh_auto_build:
	$(MAKE) man completion PYTHON=python3

override_dh_auto_test:
ifeq (,$(filter nocheck,$(DEB_BUILD_OPTIONS)))
	HOME=/nonexistent python3 -m pytest --quiet -p no:cacheprovider \
		-m 'not programs and not corpus and not slow' $(tests)
endif

# A process of root takes neither code nor settings from the environment of whoever started it.
override_dh_python3:
	dh_python3 --shebang='/usr/bin/python3 -I'

# SPDX-License-Identifier: Apache-2.0
# The variant for releases whose Python libraries are too old: it carries those that packaging/bundled/fetch put into
# vendor/ when the source package was made. The build itself uses no network.

dh_options = --with=python3

# For the one library that is compiled here.
export DEB_BUILD_MAINT_OPTIONS = hardening=+all
DPKG_EXPORT_BUILDFLAGS = 1
include /usr/share/dpkg/buildflags.mk

# The Makefile of the project is for people.
override_dh_auto_configure override_dh_auto_build override_dh_auto_test override_dh_auto_clean:

override_dh_auto_install:
	packaging/bundled/install debian/iommuctl vendor python3
	$(MAKE) man completion PYTHON=debian/iommuctl/usr/lib/iommuctl/bin/python3

# Libraries that patchelf has edited, as those of wheels, do not bear to be stripped.
override_dh_dwz:

override_dh_strip:
	dh_strip --no-automatic-dbgsym --exclude=.libs/ --exclude=_cffi_backend --exclude=pydantic_core

# What the libraries need is beside them, whatever their metadata calls it.
override_dh_python3:
	dh_python3 --no-guessing-deps --package=iommuctl /usr/lib/iommuctl

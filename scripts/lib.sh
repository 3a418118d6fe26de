# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# What scripts/try and scripts/test share: system packages, a Python, and .venv. Sourced, POSIX sh.
#
# The sourcing script sets $project to the absolute path of the project.

venv=${project:?}/.venv

say() {
    printf '==> %s\n' "$*"
}

die() {
    printf 'error: %s\n' "$1" >&2
    shift
    for hint in "$@"; do
        printf 'hint: %s\n' "$hint" >&2
    done
    exit 1
}

have() {
    command -v "$1" >/dev/null 2>&1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo -- "$@"
    fi
}

# Keep the output of a long command back; show it only if the command fails.
quietly() {
    log=$(mktemp) || return
    result=0
    "$@" >"$log" 2>&1 || result=$?
    [ "$result" -eq 0 ] || cat "$log" >&2
    rm -f "$log"
    return "$result"
}

# The family decides names of packages only: debian (apt-get), fedora (dnf), enterprise (dnf, older pythons).
system_family() {
    if have apt-get && have dpkg-query; then
        echo debian
    elif have dnf && have rpm; then
        # Enterprise releases name their platform platform:elN.
        case $(. /etc/os-release && echo "${PLATFORM_ID:-}") in
        platform:el*) echo enterprise ;;
        *) echo fedora ;;
        esac
    else
        echo unknown
    fi
}

is_installed() {
    case $family in
    debian) [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ] ;;
    unknown) return 1 ;;
    *) rpm -q --quiet --whatprovides "$1" ;;
    esac
}

is_available() {
    [ -n "$(apt-cache --quiet=2 --no-generate show "$1" 2>/dev/null)" ]
}

# Install those of the named packages that are missing; nothing is called when all are there.
install_packages() {
    missing=
    for package in "$@"; do
        is_installed "$package" || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    [ "$(id -u)" -eq 0 ] || have sudo || die "packages are missing, and only root can install them" "as root, install:$missing"
    say "installing system packages:$missing"
    # shellcheck disable=SC2086 # a list of package names
    case $family in
    debian) install_debian $missing ;;
    fedora) quietly as_root dnf install --assumeyes --setopt=install_weak_deps=False $missing ;;
    enterprise) install_enterprise $missing ;;
    *) die "no apt-get and no dnf here" "install by hand:$missing" ;;
    esac || die "the system packages could not be installed" "install by hand:$missing"
}

install_debian() {
    for package in "$@"; do
        is_available "$package" && continue
        quietly as_root apt-get update || return
        break
    done
    apt_install "$@" && return
    # The lists may be older than the archive: read them again, once.
    quietly as_root apt-get update && apt_install "$@"
}

apt_install() {
    quietly as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a \
        apt-get install --yes --no-install-recommends -o Dpkg::Options::=--force-confold "$@"
}

# Headers live in a repository that is off by default; it is switched on for this one command only.
install_enterprise() {
    for repository in '' crb powertools 'codeready-builder-for-rhel-*-rpms'; do
        quietly as_root dnf install --assumeyes --setopt=install_weak_deps=False \
            ${repository:+"--enablerepo=$repository"} "$@" && return
    done
    return 1
}

# Print the first interpreter that is new enough and can build what has no wheel: venv, ensurepip, and headers.
find_python() {
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11; do
        have "$candidate" && "$candidate" - <<'END' && command -v "$candidate" && return
import sys

if sys.version_info < (3, 11):
    sys.exit(1)
import os, sysconfig

try:
    import ensurepip, venv
except ImportError:
    sys.exit(1)
header = os.path.join(sysconfig.get_path("include"), "Python.h")
sys.exit(0 if os.path.exists(header) else 1)
END
    done 2>/dev/null
    return 1
}

python_packages() {
    case $family in
    debian)
        # Releases whose own python3 is older carry a newer one beside it.
        for version in 3 3.13 3.12 3.11; do
            case $version in
            3) newest=$(apt-cache --quiet=2 --no-generate depends python3 2>/dev/null |
                sed -n 's/^ *Depends: python3\.\([0-9]*\)$/\1/p') ;;
            *) newest=${version#3.} ;;
            esac
            if [ "${newest:-0}" -ge 11 ] && is_available "python$version-venv"; then
                echo "python$version python$version-venv python$version-dev"
                return
            fi
        done
        echo python3 python3-venv python3-dev
        ;;
    enterprise)
        # python3.11 came with 8.8 and 9.2, python3.12 with 8.10 and 9.4; 10 has it as python3.
        case $(. /etc/os-release && echo "$VERSION_ID") in
        8* | 9*) echo python3.11 python3.11-devel python3.11-pip ;;
        *) echo python3 python3-devel python3-pip ;;
        esac
        ;;
    *) echo python3 python3-devel python3-pip ;;
    esac
}

# python-augeas is source only: it compiles against augeas.h, which includes libxml's.
can_compile() {
    have cc || have gcc || return 1
    compiler=$(command -v cc || command -v gcc)
    flags=$(xml2-config --cflags 2>/dev/null || pkg-config --cflags libxml-2.0 2>/dev/null) || return 1
    trial=$(mktemp -d) || return 1
    printf '#include <augeas.h>\nint main(void) { aug_close(0); return 0; }\n' >"$trial/trial.c"
    result=0
    # shellcheck disable=SC2086 # a list of flags
    "$compiler" $flags -o "$trial/trial" "$trial/trial.c" -laugeas >"$trial/log" 2>&1 || result=$?
    rm -rf "$trial"
    return "$result"
}

compile_packages() {
    case $family in
    debian) echo gcc libc6-dev libaugeas-dev libxml2-dev pkg-config ;;
    *) echo gcc glibc-devel redhat-rpm-config augeas-devel libxml2-devel pkgconf-pkg-config ;;
    esac
}

# Whether the release has libraries that are new enough, so that nothing is compiled and nothing comes by pip.
# $PYTHON asks for another interpreter than the one that they are for.
has_release_libraries() {
    [ "$family" = debian ] && [ -z "${PYTHON:-}" ] || return 1
    case $venv in *[[:space:]]*) return 1 ;; esac # a first line with #! ends at a blank
    is_available python3-augeas || quietly as_root apt-get update || return 1
    [ "$("$project/packaging/variant")" = native ]
}

# Make .venv of the release's python3 and libraries, with the project in it by its path.
make_release_venv() {
    install_packages python3 python3-augeas python3-pydantic python3-typer
    say "making $venv on the libraries of the release"
    /usr/bin/python3 -m venv --clear --without-pip --system-site-packages "$venv" || die "no virtual environment"
    site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    echo "$project" >"$site/iommuctl.pth"
    printf '#!%s\nfrom iommuctl.cli import main\n\nmain()\n' "$venv/bin/python" >"$venv/bin/iommuctl"
    chmod 755 "$venv/bin/iommuctl"
    echo "$recipe" >"$venv/recipe"
}

# Make .venv with the project in it; where pip gets packages from is its own configuration's to say.
# $1: the extras to install with the project, such as `[test,lint]`, or empty.
make_venv() {
    extras=$1
    recipe="$(cksum "$project/pyproject.toml") $project $extras"
    if [ -f "$venv/recipe" ] && is_covered && "$venv/bin/python" -c 'import augeas, pydantic, typer' 2>/dev/null; then
        say "$venv is up to date"
        return
    fi
    # An environment that pip made stays one: it may have more in it.
    if [ -z "$extras" ] && ! is_usable && has_release_libraries; then
        make_release_venv
        return
    fi
    if ! can_compile; then
        # shellcheck disable=SC2046 # a list of package names
        install_packages $(compile_packages)
        can_compile || die "a program that uses augeas.h does not compile" "see what cc says about -laugeas"
    fi
    python=$(find_python) || {
        [ "$family" != debian ] || is_available python3-venv || quietly as_root apt-get update
        # shellcheck disable=SC2046 # a list of package names
        install_packages $(python_packages)
        python=$(find_python) || die "no Python 3.11 or newer with venv and headers" "PYTHON=/path/to/python3 $0"
    }
    if ! is_usable; then
        say "making $venv with $python"
        "$python" -m venv --clear "$venv" || die "no virtual environment with $python"
    fi
    rm -f "$venv/recipe"
    say "installing iommuctl$extras and its libraries"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --use-pep517 --editable "$project$extras" ||
        die "pip could not install the project" "see the message of pip above"
    echo "$recipe" >"$venv/recipe"
}

# Whether an environment is there that runs, and that was made for this very place: its programs name their path.
is_usable() {
    [ -f "$venv/bin/pip" ] && read -r first <"$venv/bin/pip" || return 1
    case $first in
    "#!$venv/"*) "$venv/bin/python" -c 'import pip' 2>/dev/null ;;
    *) return 1 ;;
    esac
}

# Whether the environment was made by this recipe, or by one with more extras.
is_covered() {
    made=$(cat "$venv/recipe")
    [ "$made" = "$recipe" ] || { [ -z "$extras" ] && [ "${made%\[*}" = "$recipe" ]; }
}

family=$(system_family)

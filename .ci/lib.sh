# SPDX-License-Identifier: Apache-2.0
# Sourced by the scripts beside it.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# As in the Makefile: without bytecode every process compiles Airflow again.
unset PYTHONDONTWRITEBYTECODE
export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}"
PYTHON="${PYTHON:-python3}"

# step TITLE COMMAND...: run a command and print how long it took.
step() {
  local title="$1" start="$SECONDS"
  shift
  printf '\n=== %s\n' "$title"
  "$@"
  printf -- '--- %s: %d s\n' "$title" "$((SECONDS - start))"
}

# Print the Python for an environment with the Airflow $1: for two of them a newer one, if the search path or pyenv has it,
# else that of .venv.
python_for() {
  local minor="" candidate
  case "$1" in
    3.1.8) minor=3.12 ;;
    3.2.2) minor=3.13 ;;
  esac
  for candidate in ${minor:+"python$minor" "$(dirname "$(command -v pyenv)")/../versions/$minor".*/bin/python}; do
    "$candidate" -c 'import sqlite3, ssl' 2>/dev/null && { echo "$candidate"; return; }
  done
  echo .venv/bin/python
}

# environment FOLDER PYTHON ARGUMENT...: create a virtual environment and install the other arguments into it.
environment() {
  local folder="$1" python="$2"
  shift 2
  rm -rf "$folder"
  .venv/bin/uv venv --quiet --python "$python" "$folder"
  .venv/bin/uv pip install --quiet --python "$folder/bin/python" "$@"
}

# Print the day whose packages stand in for the constraint file of an Airflow; nothing for the newest one.
day() {
  case "$1" in
    2.11.2 | 3.1.8) echo 2026-03-25 ;;
    3.0.6) echo 2025-09-05 ;;
    3.2.2) echo 2026-06-05 ;;
  esac
}

# The packages that may be newer than Airflow 3.0 itself: their versions of its day are below our floors.
NEWER_THAN_3_0=(apache-airflow-providers-common-compat httpx-sse)

# airflow_of_its_day FOLDER VERSION: create an environment with Airflow alone, and write what it installed to
# FOLDER/constraints.txt, as Airflow's constraint file would pin it. Sets AS_OF: the options for what is installed beside.
airflow_of_its_day() {
  local folder="$1" version="$2" date package
  date="$(day "$version")"
  AS_OF=(${date:+--exclude-newer "$date"})
  environment "$folder" "$(python_for "$version")" "${AS_OF[@]}" "apache-airflow==$version"
  .venv/bin/uv pip freeze --quiet --python "$folder/bin/python" >"$folder/installed.txt"
  cp "$folder/installed.txt" "$folder/constraints.txt"
  case "$version" in
    3.0.*)
      for package in "${NEWER_THAN_3_0[@]}"; do
        AS_OF+=(--exclude-newer-package "$package=$(day 3.1.8)")
        sed -i "/^$package==/d" "$folder/constraints.txt"
      done
      ;;
  esac
  AS_OF+=(--constraint "$folder/constraints.txt")
}

# check_pins FOLDER VERSION: fail if a package that came with Airflow has another version now.
check_pins() {
  local folder="$1" moved package
  moved="$(.venv/bin/uv pip freeze --quiet --python "$folder/bin/python" | sort | comm -23 <(sort "$folder/installed.txt") -)"
  case "$2" in
    3.0.*) for package in "${NEWER_THAN_3_0[@]}"; do moved="$(sed "/^$package==/d" <<<"$moved")"; done ;;
  esac
  [ -z "$moved" ] || { printf 'installing the package moved:\n%s\n' "$moved" >&2; return 1; }
}

# install_beside FOLDER VERSION WHEEL: create an environment with Airflow as of its own day, install the wheel beside it as a
# user does, and check that this moves no pin, that Airflow finds the provider, and that a batch runs. Sets AS_OF.
install_beside() {
  local folder="$1" version="$2" wheel="$3"
  airflow_of_its_day "$folder" "$version"
  .venv/bin/uv pip install --quiet --python "$folder/bin/python" "${AS_OF[@]}" "$wheel"
  check_provider "$folder"
  .venv/bin/uv pip install --quiet --python "$folder/bin/python" "${AS_OF[@]}" "$wheel[emulator]"
  check_pins "$folder" "$version"
  check_demo "$folder"
}

# Read airflow commands from the standard input, one a line, and run them in one process with the environment at $1, with
# a new home and without the developer's connection.
airflow_in() {
  local folder="$1" home
  home="$(mktemp -d)"
  env -u AIRFLOW_CONN_PIKTID_DEFAULT AIRFLOW_HOME="$home" AIRFLOW__CORE__LOAD_EXAMPLES=False COLUMNS=250 \
    "$folder/bin/python" -c "
import sys
from airflow.__main__ import main
for line in sys.stdin.read().splitlines():
    sys.argv = ['airflow', *line.split()]
    main()" 2>"$home/stderr" || { cat "$home/stderr" >&2; rm -rf "$home"; return 1; }
  rm -rf "$home"
}

# expect TEXT...: fail and print the standard input if it lacks one of the texts.
expect() {
  local output text
  output="$(cat)"
  for text in "$@"; do
    grep -qF -- "$text" <<<"$output" || { printf '%s\nmissing: %s\n' "$output" "$text" >&2; return 1; }
  done
}

# Check what Airflow shows of the installed provider in the environment at $1.
check_provider() {
  local folder="$1" behaviours
  # 3.0 and 3.1 need flask_appbuilder for connection forms, but do not install it.
  case "$("$folder/bin/python" -c 'from importlib.metadata import version; print(version("apache-airflow"))')" in
    3.[01].*) behaviours="" ;;
    *) behaviours=$'\n'"providers behaviours --output json" ;;
  esac
  echo "airflow providers list, get, hooks, links${behaviours:+, behaviours}, and plugins in $folder"
  airflow_in "$folder" <<<"providers list --output plain
providers get airflow-provider-piktid --full --output json
providers hooks --output json
providers links --output json
plugins --output json$behaviours" |
    tee "$folder/commands.txt" |
    expect airflow-provider-piktid PiktidHook operators.model_swap triggers.job sensors.job PiktidJobLink state_path \
      '"piktid"' PiktidPlugin ${behaviours:+field_behaviours}
}

# check_demo FOLDER: run the demo of the environment in an empty folder with an empty home, and look for the manifest and
# the results.
check_demo() {
  local folder="$PWD/$1" elsewhere
  elsewhere="$(mktemp -d)"
  mkdir "$elsewhere/home" "$elsewhere/work"
  (cd "$elsewhere/work" &&
    env -u AIRFLOW_CONN_PIKTID_DEFAULT -u AIRFLOW_HOME HOME="$elsewhere/home" \
      "$folder/bin/python" -m airflow_provider_piktid.demo)
  ls "$elsewhere"/work/piktid-demo-output/_piktid/manifest-*.json >/dev/null
  expect look-1/ look-2/ < <(cd "$elsewhere/work/piktid-demo-output" && find . -name '*.jpg' -size +0)
  rm -rf "$elsewhere"
}

# Build the wheel into the folder $1, build/wheel-check if not given, and print its path.
build_wheel() {
  local folder="${1:-build/wheel-check}"
  rm -rf "$folder"
  .venv/bin/python -m build --wheel --no-isolation --outdir "$folder" . >/dev/null
  echo "$folder"/*.whl
}

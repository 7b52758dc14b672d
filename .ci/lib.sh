# SPDX-License-Identifier: Apache-2.0
# Sourced by the scripts beside it.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

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

# Create a virtual environment at $1 and install the other arguments into it.
environment() {
  local folder="$1"
  shift
  rm -rf "$folder"
  .venv/bin/uv venv --quiet --python .venv/bin/python "$folder"
  .venv/bin/uv pip install --quiet --python "$folder/bin/python" "$@"
}

# Run the airflow command of the environment at $1 with a new home and without the developer's connection.
airflow_in() {
  local folder="$1" home
  shift
  home="$(mktemp -d)"
  env -u AIRFLOW_CONN_PIKTID_DEFAULT AIRFLOW_HOME="$home" AIRFLOW__CORE__LOAD_EXAMPLES=False COLUMNS=250 \
    "$folder/bin/airflow" "$@" 2>"$home/stderr" || { cat "$home/stderr" >&2; rm -rf "$home"; return 1; }
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
  local folder="$1"
  echo "airflow providers get, hooks, behaviours, links in $folder"
  airflow_in "$folder" providers get airflow-provider-piktid --full --output json |
    expect airflow-provider-piktid PiktidHook operators.model_swap triggers.job sensors.job PiktidJobLink state_path
  airflow_in "$folder" providers hooks --output json | expect '"piktid"' PiktidHook
  # 3.0 and 3.1 need flask_appbuilder for connection forms, but do not install it.
  case "$("$folder/bin/python" -c 'from importlib.metadata import version; print(version("apache-airflow"))')" in
    3.[01].*) ;;
    *) airflow_in "$folder" providers behaviours --output json | expect '"piktid"' ;;
  esac
  airflow_in "$folder" providers links --output json | expect PiktidJobLink
  airflow_in "$folder" plugins --output json | expect piktid
}

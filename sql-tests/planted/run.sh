#!/usr/bin/env bash
# Ten planted bugs, each applied, built and run by itself: prints which test found it, or MISSED.
#
#   sql-tests/planted/run.sh              all of them
#   sql-tests/planted/run.sh 05           those whose name begins so
#   sql-tests/planted/run.sh --check      only whether they still apply
#
# Works on a copy of the tree, so that the tree stays as it is; set PLANTED_TARGET to build elsewhere than in target/planted.
set -euo pipefail
tree=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
wanted=${1:-}
if [ "$wanted" = --check ]; then
  for patch in "$tree"/sql-tests/planted/*.patch; do
    git -C "$tree" apply --check "$patch" || { echo "does not apply: $(basename "$patch")"; exit 1; }
  done
  echo "all planted bugs apply"
  exit 0
fi
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git -C "$tree" ls-files -z | (cd "$tree" && xargs -0 cp --parents -t "$copy")
export CARGO_TARGET_DIR=${PLANTED_TARGET:-$tree/target/planted}
missed=0
for patch in "$tree"/sql-tests/planted/"$wanted"*.patch; do
  name=$(basename "$patch" .patch)
  (cd "$copy" && git apply --unsafe-paths "$patch")
  if output=$(cd "$copy" && cargo test --lib -- dataflow:: 2>&1); then
    echo "$name: MISSED"
    missed=1
  elif grep -q 'could not compile' <<<"$output"; then
    echo "$name: does not build"
    grep -m 3 -A 5 '^error' <<<"$output"
    missed=1
  else
    echo "$name: found by $(grep -E '^test .*FAILED' <<<"$output" | sed 's/^test //; s/ \.\.\. FAILED//' | paste -sd, | sed 's/,/, /g')"
  fi
  (cd "$copy" && git apply -R --unsafe-paths "$patch")
done
exit $missed

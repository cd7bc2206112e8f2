#!/usr/bin/env bash
# The runs behind results/detection.json, then the page:
#
#   bash benchmarks/detection.sh pill grid                     two sets of runs
#   bash benchmarks/detection.sh all                           all of them: many hours
#   PRINT=1 bash benchmarks/detection.sh all                   only prints the commands
#
# Sets: pill, pill-paper, grid, magnetic_tile, few, best, tried. From the environment:
#   DATA   folder with mvtec/ (pill and grid of MVTec AD), magnetic_tile/, hazelnut_toy/ and mvtec_few/ (five
#          categories with a few normal images and generated defects), from the repository's root; default data
#   RUNS   where runs go; an interrupted one goes on when it is started again; default runs/detection
#   CROPS  patches per image and epoch for few, default 8. The results do not record theirs; by their
#          times it was more.
# The threads of each run are in the results: 2 for pill's seed 0, 1 for the others (OMP_NUM_THREADS).
set -euo pipefail
cd "$(dirname "$0")/.."
data=${DATA:-data} runs=${RUNS:-runs/detection}
table_2=(--arms two-stage ssim+l1 lpips+ssim aw-ssim)

pipeline() {
  if [ -n "${PRINT:-}" ]; then printf '%q ' "$@"; echo; else python examples/mvtec_two_stage.py "$@"; fi
}

# ablate NAME ROOT CATEGORY OPTIONS...: all arms and seeds named in OPTIONS, below RUNS/NAME.
ablate() {
  pipeline ablate --run-folder "$runs/$1" --data-root "$2" --category "$3" --preset quick "${@:4}"
}

pill() { ablate pill "$data/mvtec" pill "${table_2[@]}" --seeds 0 1 2; }

pill-paper() {
  pipeline train --run-folder "$runs/pill-paper" --data-root "$data/mvtec" --category pill --preset paper
}

grid() { ablate grid "$data/mvtec" grid "${table_2[@]}" --seeds 1 2; }

magnetic_tile() {
  tile() {
    ablate "$1" "$data" magnetic_tile --image-size 128 --stage-1-epochs 8 --stage-2-epochs 40 "${@:2}"
  }
  tile tile "${table_2[@]}" --seeds 1 2 --crops-per-image 1
  tile tile-1 --arms two-stage --seeds 1 --crops-per-image 1 --defect-side 0.05 0.9 --defect-count 1 2
  tile tile-2 --arms two-stage --seeds 0 1 2 --crops-per-image 2 --skips none --flips both \
    --defect-side 0.2 1.5 --defect-count 1 1 --defect-opacity 0.7 1 --defect-feather 0.5 3 \
    --defect-sources same noise
  tile tile-3 --arms ssim+l1 aw-ssim --seeds 1 --crops-per-image 2 --skips none --flips both
}

few() {
  for category in carpet leather wood tile hazelnut; do
    # The preset's weights with structure and luminance exchanged.
    case $category in tile | hazelnut) opposite=(0.25 0.25 0.5) ;; *) opposite=(0.5 0.25 0.25) ;; esac
    weigh() {
      ablate "few-$category-$1" "$data/mvtec_few" "$category" --crops-per-image "${CROPS:-8}" "${@:2}"
    }
    weigh arms --seeds 0
    weigh preset --arms two-stage --seeds 1 2
    weigh equal --arms two-stage --seeds 1 2 --weights 0.3333333 0.3333333 0.3333334
    weigh opposite --arms two-stage --seeds 0 1 2 --weights "${opposite[@]}"
  done
}

best() {
  preset() {
    pipeline ablate --run-folder "$runs/best-$1" --data-root "$2" --category "$1" --preset best \
      "${@:3}"
  }
  for category in carpet leather wood tile hazelnut; do
    preset "$category" "$data/mvtec_few" --arms two-stage --seeds 0
  done
  preset hazelnut_toy "$data" --arms two-stage --seeds 0 1 2
  preset hazelnut_toy "$data" --arms ssim+l1 lpips+ssim --seeds 0
  for category in pill grid; do
    preset "$category" "$data/mvtec" "${table_2[@]}" --seeds 0 1 2
  done
}

tried() {
  # once NAME ROOT CATEGORY OPTIONS...: what the preset was, but for the options.
  once() {
    pipeline ablate --run-folder "$runs/tried-$1" --data-root "$2" --category "$3" --preset best \
      --arms two-stage --seeds 0 --stage-1-epochs 1 --stage-2-epochs 3 --pixel-weight 10 \
      --scored-area picture --test-stride 64 "${@:4}"
  }
  for category in carpet leather wood tile hazelnut; do
    once "$category" "$data/mvtec_few" "$category"
  done
  once hazelnut-by-place "$data/mvtec_few" hazelnut --normality place
  once leather-without-l1 "$data/mvtec_few" leather --pixel-weight 0
  once leather-l1-1 "$data/mvtec_few" leather --pixel-weight 1
  once leather-l1-3 "$data/mvtec_few" leather --pixel-weight 3
  once leather-dilated "$data/mvtec_few" leather --architecture dilated
  once leather-nearest "$data/mvtec_few" leather --upsampling nearest
  once leather-repair "$data/mvtec_few" leather --repair-weight 5
  once hazelnut_toy "$data" hazelnut_toy
  once hazelnut_toy-long "$data" hazelnut_toy --stage-1-epochs 3 --stage-2-epochs 7
  once magnetic_tile "$data" magnetic_tile --image-size 128 --crops-per-image 1 \
    --stage-1-epochs 2 --stage-2-epochs 8
  large=(--defect-sources same noise --defect-side 0.03 0.8)
  for category in pill grid; do
    twice() { once "$category-$1" "$data/mvtec" "$category" "${@:2}"; }
    twice as-it-was
    twice long --stage-1-epochs 3 --stage-2-epochs 7
    twice l1-1 --pixel-weight 1
    twice large "${large[@]}"
    twice faint --defect-opacity 0.1 1
  done
  pipeline ablate --run-folder "$runs/tried-pill-whole" --data-root "$data/mvtec" --category pill \
    --preset best --arms two-stage --seeds 0 --scored-area picture
  once pill-often "$data/mvtec" pill --defect-probability 0.9
  once grid-no-skips "$data/mvtec" grid --skips none
}

[ $# -gt 0 ] || { sed -n '2,/^set/{/^set/!p}' "$0"; exit 2; }
[ "$*" = all ] && set -- pill pill-paper grid magnetic_tile few best tried
for name in "$@"; do
  case $name in
    pill | pill-paper | grid | magnetic_tile | few | best | tried) "$name" ;;
    *) echo "expected a set of pill, pill-paper, grid, magnetic_tile, few, best, tried; got $name" >&2; exit 2 ;;
  esac
done
[ -n "${PRINT:-}" ] || python -m benchmarks detection "$runs"

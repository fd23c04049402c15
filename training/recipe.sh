#!/bin/sh
# All steps in order: prepare, train, export, calibrate, measure. Every step can be resumed after an interruption.
# PACKS is a folder with the layout of shared/data; COMPETITION, if you have it, the competition's own folder.
# About 3.5 hours on two cores with the packs and the phantoms; see docs/training.md.
set -eu

PACKS=${PACKS:-../shared/data}
COMPETITION=${COMPETITION:-}
CACHE=${CACHE:-cache}
RUNS=${RUNS:-runs}

[ -f "$CACHE/sagittal.npz" ] || python -m training.prepare "$PACKS" "$CACHE"
[ -f "$CACHE/phantom_axial.npz" ] || python -m training.phantoms "$CACHE" --studies 400
if [ -n "$COMPETITION" ]; then
    python -m training.competition "$COMPETITION" "$CACHE" --folds "$PACKS/rsna_tables/folds.csv"
fi

# run NAME COMMAND...: unless the run is already finished
run() {
    name=$1
    shift
    [ -f "$RUNS/$name/result.json" ] || python -m "training.$1" "$2" "$CACHE" "$RUNS/$name" $3
}

# Phantoms supply the slices that no pack has: lateral T2 and the midline.
run sagittal train_landmarks sagittal "--fold 0 --steps 3400"
run sagittal_1 train_landmarks sagittal "--fold 1 --steps 3400"
run axial_points train_landmarks axial "--steps 500"

for fold in 0 1 2 3; do
    run "axial_$fold" train_grader axial "--fold $fold --steps 800"
done
LITE="--backbone tf_efficientnet_lite0 --pretrained --lr 8e-4 --mixed 0.3 --drop-rate 0.4"
for fold in 0 1; do
    run "foraminal_$fold" train_grader foraminal "--fold $fold --steps 2200"
    run "axial_lite_$fold" train_grader axial "--fold $fold --steps 350 $LITE"
    run "foraminal_lite_$fold" train_grader foraminal "--fold $fold --steps 700 $LITE"
done
run canal_0 train_grader canal "--steps 800"

python -m training.export "$RUNS" weights
python -m training.calibrate "$PACKS" weights
python -m training.evaluate "$PACKS" --oof

#!/bin/sh
# The whole story in order: prepare, train, calibrate, export. Every step resumes, so a restart costs nothing.
# PACKS is a folder laid out as shared/data; COMPETITION, where you have it, the competition's own folder.
# About 70 minutes on two cores with the packs and the phantoms; see training/README.md.
set -eu

PACKS=${PACKS:-../shared/data}
COMPETITION=${COMPETITION:-}
CACHE=${CACHE:-cache}
RUNS=${RUNS:-runs}

[ -f "$CACHE/sagittal.npz" ] || python -m training.prepare "$PACKS" "$CACHE"
[ -f "$CACHE/phantom_axial.npz" ] || python -m training.phantoms "$CACHE" --studies 480
if [ -n "$COMPETITION" ]; then
    python -m training.competition "$COMPETITION" "$CACHE" --folds "$PACKS/rsna_tables/folds.csv"
fi

# First real slices alone, then with phantoms, which teach the slices that no pack has: lateral T2 and the midline.
[ -f "$RUNS/sagittal/result.json" ] || {
    python -m training.train_landmarks sagittal "$CACHE" "$RUNS/sagittal_real" --sources real --steps 1500
    python -m training.train_landmarks sagittal "$CACHE" "$RUNS/sagittal" --start "$RUNS/sagittal_real" --steps 1200 --lr 1.5e-3
}
[ -f "$RUNS/axial_points/result.json" ] || python -m training.train_landmarks axial "$CACHE" "$RUNS/axial_points" --steps 500

for fold in 0 1; do
    [ -f "$RUNS/axial_$fold/result.json" ] ||
        python -m training.train_grader axial "$CACHE" "$RUNS/axial_$fold" --fold "$fold" --steps 800
    [ -f "$RUNS/foraminal_$fold/result.json" ] ||
        python -m training.train_grader foraminal "$CACHE" "$RUNS/foraminal_$fold" --fold "$fold" --steps 2200
done
[ -f "$RUNS/canal_0/result.json" ] || python -m training.train_grader canal "$CACHE" "$RUNS/canal_0" --steps 800

python -m training.export "$RUNS" weights
python -m training.evaluate "$RUNS"

import numpy as np
import pandas as pd
import pytest
import torch

from lumbar_kernel.localisation.landmarks import CANAL_BEHIND_MARGIN_MM
from lumbar_kernel.models.manifest import STAGES
from lumbar_kernel.phantom import make_phantom, write_dataset
from lumbar_kernel.schema import SEVERITY_NAMES
from training import competition, export, packs, train_grader, train_landmarks
from training.augment import Spatial, draw_matrix, hide, move_points, vary_signal, warp
from training.examples import (
    HELD_OUT_STUDIES,
    GradeExamples,
    LandmarkExamples,
    concatenate,
    load_grades,
    load_landmarks,
    save,
    select,
    without_held_out,
)
from training.phantoms import FIRST_SEED, phantom_examples
from training.studies import KINDS
from training.trainer import SOURCES, Trainer, example_files


def grade_examples(groups):
    n = len(groups)
    return GradeExamples(
        images=np.random.default_rng(0).integers(0, 255, (n, 3, 96, 144), dtype=np.uint8),
        labels=np.arange(2 * n).reshape(n, 2) % 3,
        level=np.arange(n) % 5,
        row_id=np.full((n, 2), "1_x"),
        group=np.array(groups),
        fold=(np.arange(n) % 4).astype(np.int8),
        source=np.full(n, "axial_t2_crops"),
    )


@pytest.fixture(scope="module")
def made():
    return phantom_examples(FIRST_SEED - 1)


def test_examples_survive_the_disk(tmp_path):
    examples = grade_examples(["a", "b", "c"])
    save(examples, tmp_path / "deep" / "x.npz")
    again = load_grades(tmp_path / "deep" / "x.npz")
    assert all(np.array_equal(getattr(again, k), getattr(examples, k)) for k in examples.__dataclass_fields__)
    with pytest.raises(TypeError, match="GradeExamples"):
        load_landmarks(tmp_path / "deep" / "x.npz")


def test_held_out_studies_never_stay():
    examples = grade_examples(["a", *HELD_OUT_STUDIES, "b"])
    assert without_held_out(examples).group.tolist() == ["a", "b"]
    assert len(concatenate([examples, select(examples, np.array([0]))]).fold) == 6


def test_a_phantom_gives_every_kind_of_example(made):
    assert set(made) == set(KINDS)
    assert all(isinstance(examples, KINDS[name]) for name, examples in made.items())
    assert all(len(set(examples.fold)) == 1 for examples in made.values())


def test_shown_landmarks_lie_inside_their_pictures(made):
    for examples in (made["sagittal"], made["axial_points"]):
        shown = examples.points[~np.isnan(examples.points).any(axis=2)]
        assert shown.min() > 0
        assert shown.max() < examples.images.shape[1]


def test_points_move_with_the_picture():
    rng = np.random.default_rng(0)
    spatial = Spatial(shift=0.05, degrees=15, scale=1.2, aspect=1.1)
    for _ in range(20):
        picture, point = np.zeros((80, 100), np.uint8), rng.uniform(30, 50, (1, 2))
        row, column = point[0].round().astype(int)
        picture[row - 1 : row + 2, column - 1 : column + 2] = 255
        matrix = draw_matrix(rng, spatial, picture.shape, (90, 120))
        moved = warp(picture, matrix, (90, 120), border=0)
        found = np.array(np.nonzero(moved > 100)).mean(axis=1)
        assert np.linalg.norm(found - move_points(np.array([[row, column]], float), matrix)[0]) < 1


def test_signal_changes_keep_numbers_finite():
    rng = np.random.default_rng(0)
    for shape in ((40, 50), (3, 40, 50)):
        for _ in range(20):
            varied = vary_signal(rng.random(shape).astype(np.float32), rng)
            assert varied.shape == shape
            assert np.isfinite(varied).all()


def test_hiding_spares_the_points_and_covers_much_of_the_rest():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(40):
        picture = rng.random((96, 128)).astype(np.float32)
        points = np.vstack([rng.uniform((30, 40), (60, 80), (5, 2)), [[np.nan, np.nan]]])
        changed = hide(picture, points, rng, room=9.0) != picture
        for row, column in points[:-1].round().astype(int):
            assert not changed[row - 6 : row + 7, column - 6 : column + 7].any()
        covered.append(changed.mean())
    assert np.mean(covered) > 0.1
    nothing = np.full((5, 2), np.nan)
    assert np.array_equal(hide(picture, nothing, rng, room=9.0), picture)


def test_targets_are_distributions_with_absence_last():
    points = np.array([[10.0, 20.0], [np.nan, np.nan], [500.0, 3.0]])
    wanted = train_landmarks.targets(points, (64, 96), sigma=1.0)
    assert np.allclose(wanted.sum(axis=1), 1)
    assert wanted[:, -1].tolist() == [0, 1, 1]
    row, column = np.unravel_index(wanted[0, :-1].argmax(), (16, 24))
    assert abs(row * 4 + 1.5 - 10) <= 2
    assert abs(column * 4 + 1.5 - 20) <= 2


def test_a_step_always_draws_the_same_batch_and_never_the_fold_left_out():
    examples, task = grade_examples([str(k) for k in range(12)]), train_grader.TASKS["axial"]
    sampler = train_grader.Sampler(examples, task, fold=1, batch=8, seed=3)
    for first, second in zip(sampler(5), sampler(5), strict=True):
        assert torch.equal(first, second)
    assert not set(sampler.pools.pools["axial_t2_crops"]) & set(np.flatnonzero(examples.fold == 1))


def test_the_loss_is_least_for_the_right_answer():
    labels = torch.tensor([[0, 2], [1, -1]])
    right = torch.zeros(2, 2, 3)
    right[0, 0, 0] = right[0, 1, 2] = right[1, 0, 1] = 9.0
    batch = (None, None, labels, labels, torch.ones(2))
    values = [float(train_grader.loss(lambda *_, k=k: k * right, batch)) for k in (-1, 0, 1)]
    assert values[2] < values[1] < values[0]


def test_mixed_examples_are_judged_by_both_labels_and_mixed_within_their_level():
    labels, others = torch.tensor([[0]]), torch.tensor([[2]])
    logits = torch.log(torch.tensor([[[0.7, 0.1, 0.2]]]))
    shares = [
        float(train_grader.loss(lambda *_: logits, (None, None, labels, others, torch.tensor([s])))) for s in (1, 0)
    ]
    assert np.allclose(shares, [-np.log(0.7), -np.log(0.2)], atol=1e-5)
    level = np.array([0, 1, 0, 1, 2, 0])
    assert (level[train_grader._partners(level, np.random.default_rng(0))] == level).all()


def test_sources_choose_the_files(tmp_path):
    for name in ("axial", "phantom_axial"):
        (tmp_path / f"{name}.npz").touch()
    names = train_grader.TASKS["axial"].files
    chosen = {s: [path.stem for path in example_files(tmp_path, names, s)] for s in SOURCES}
    assert chosen == {"all": ["axial", "phantom_axial"], "real": ["axial"], "phantom": ["phantom_axial"]}
    with pytest.raises(FileNotFoundError, match="phantom_canal"):
        example_files(tmp_path, train_grader.TASKS["canal"].files, "phantom")


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path):
    def trainer(run):
        torch.manual_seed(0)
        return Trainer(torch.nn.Conv2d(1, 1, 3), tmp_path / run, steps=6, lr=0.1, save_every=3)

    def batch(step):
        return (torch.from_numpy(np.random.default_rng(step).random((2, 1, 8, 8), dtype=np.float32)),)

    def loss(model, tensors):
        return model(*tensors).square().mean()

    def stop_at_four(step):
        if step == 4:
            raise KeyboardInterrupt
        return batch(step)

    options = {"measure": lambda m: {"weight": float(m.weight.detach().sum())}, "measure_every": 6}
    whole = trainer("whole").fit(batch, loss, **options)
    with pytest.raises(KeyboardInterrupt):
        trainer("torn").fit(stop_at_four, loss, **options)
    resumed = trainer("torn")
    assert resumed.step == 3
    assert resumed.fit(batch, loss, **options)["weight"] == pytest.approx(whole["weight"], rel=1e-5)


@pytest.fixture(scope="module")
def train_split(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train_split")
    write_dataset(folder, studies=1, seed=31, split="train")
    return folder


def test_the_competition_layout_gives_the_examples_that_the_truth_gives(train_split, tmp_path):
    assert competition.prepare(train_split, tmp_path, folds={}, workers=1) == 1
    labels = pd.read_csv(train_split / "train.csv").iloc[0]
    for kind in KINDS:
        examples = competition.load_any(tmp_path / f"rsna_{kind}.npz")
        assert isinstance(examples, KINDS[kind])
        if isinstance(examples, GradeExamples):
            for ids, grades in zip(examples.row_id, examples.labels, strict=True):
                for row, grade in zip(ids, grades, strict=True):
                    told = labels[row.partition("_")[2]]
                    assert grade == (SEVERITY_NAMES.index(told) if told in SEVERITY_NAMES else -1)


def test_marked_points_come_back_in_millimetres(train_split):
    files = competition.find_studies(train_split, split="train")[0]
    study = competition.read_study(files)
    marks = pd.read_csv(train_split / "train_label_coordinates.csv", dtype={"study_id": str})
    truth = competition.truth_of(study, marks, {})
    # The phantom of the same seed, made in memory, says where the points are.
    seed = np.random.SeedSequence(31).spawn(1)[0]
    wanted = make_phantom(seed, study_id=files.study_id, roles=()).truth
    if np.linalg.norm(np.nanmean(truth.canal, axis=0) - wanted.canal.mean(axis=0)) > 30:
        pytest.fail("the phantom on disk is not the one in memory")
    assert np.nanmax(np.abs(truth.canal - wanted.canal)[:, 1:]) < 4
    assert (truth.grades == -1).all()
    gap = np.linalg.norm(truth.canal - truth.disc_margin, axis=1)
    assert np.allclose(gap[~np.isnan(gap)], CANAL_BEHIND_MARGIN_MM)


def test_disc_margins_come_from_masks_and_keep_their_level_where_a_slice_misses_a_disc():
    mask = np.zeros((400, 200), np.uint8)
    for k in range(6):
        mask[20 + 60 * k : 36 + 60 * k, 60:110] = 1
    mask[10:390, 113:130] = 3
    lateral = mask.copy()
    lateral[300:, :] = 0
    margins = packs.disc_margins(np.stack([mask, lateral]))
    assert np.allclose(margins[0, :, 0], 87.5 + 60 * np.arange(5), atol=1)
    assert np.allclose(margins[0, :, 1], 109, atol=1)
    assert np.array_equal(margins[1, :4], margins[0, :4])
    assert np.isnan(margins[1, 4]).all()
    without_canal = np.where(mask == 3, 0, mask).astype(np.uint8)
    assert np.isnan(packs.disc_margins(without_canal[None])).all()


def test_the_letterbox_undoes_a_squashed_picture():
    squashed = np.zeros((250, 250), np.uint8)
    squashed[125, 60] = 255
    frame, height, width = packs.letterbox(squashed, rows=500, columns=250)
    assert (height, width) == (256, 128)
    place = packs._to_frame(np.array([60.5 / 250]), np.array([125.5 / 250]), height, width)[0]
    assert np.allclose(np.unravel_index(frame.argmax(), frame.shape), place, atol=1.5)


def test_pseudo_stir_darkens_fat_and_keeps_fluid():
    t2, t1 = np.full((50, 50), 200, np.uint8), np.full((50, 50), 20, np.uint8)
    t1[:, 25:] = 220  # fat: bright on both
    mixed = packs.pseudo_stir(t2, t1)
    assert mixed[:, :20].mean() > 5 * mixed[:, 30:].mean()


def test_landmark_examples_are_what_the_trainer_reads(made, tmp_path):
    save(made["axial_points"], tmp_path / "phantom_axial_points.npz")
    examples = load_landmarks(tmp_path / "phantom_axial_points.npz")
    assert isinstance(examples, LandmarkExamples)
    sampler = train_landmarks.Sampler(examples, train_landmarks.TASKS["axial"], fold=-1, batch=4, seed=0)
    pictures, wanted, known = sampler(0)
    assert pictures.shape == (4, 1, 128, 128)
    assert wanted.shape == (4, 2, 32 * 32 + 1)
    assert known.shape == (4, 2)


def test_the_seconds_to_plan_with_are_measured_for_every_stage(trained):
    measured = export.stage_seconds(trained)
    assert list(measured) == list(STAGES)
    assert min(measured.values()) > 0

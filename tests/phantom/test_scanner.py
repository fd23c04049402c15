"""The scanner: places stay, fine detail goes, fat moves, noise is as strong as asked."""

import numpy as np
import pytest

from lumbar_kernel import schema
from lumbar_kernel.phantom import draw_patient
from lumbar_kernel.phantom.contrast import SequenceProtocol
from lumbar_kernel.phantom.frame import build_frame
from lumbar_kernel.phantom.prescription import prescribe_sagittal, stack_of
from lumbar_kernel.phantom.scanner import Scanner, limited

PROTOCOL = SequenceProtocol(schema.SAGITTAL_T1, "T1", 500, 10, None, 4, 4, fat_shift=2.0)


def blob(shape, place, width=3.0):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    far = ((rows - place[0]) / width) ** 2 + ((columns - place[1]) / width) ** 2
    return np.exp(-0.5 * far).astype(np.float32)


def middle(image):
    rows, columns = np.indices(image.shape)
    return np.array([(rows * image).sum(), (columns * image).sum()]) / image.sum()


@pytest.mark.parametrize(("acquired", "shape"), [((90, 100), (160, 200)), ((90, 80), (128, 100)), ((60, 60), (72, 80))])
def test_limited_keeps_level_and_place(acquired, shape):
    flat = limited(np.full((120, 100), 0.7, np.float32), acquired, shape, taper=0.3)
    assert np.allclose(flat, 0.7, atol=1e-4)
    shown = limited(blob((120, 100), (40, 30), 5.0), acquired, shape, taper=0.3)
    scale = np.array(shape) / (120, 100)
    assert np.allclose(middle(np.clip(shown, 0.01, None) - 0.01), np.array([40, 30]) * scale, atol=0.5)


def test_fewer_frequencies_show_less_detail_and_ring():
    edge = np.zeros((128, 128), np.float32)
    edge[:, 64:] = 1
    sharp, soft = (limited(edge, (128, kept), (128, 128), taper=0.05) for kept in (120, 50))
    assert np.abs(np.diff(sharp[64])).max() > 1.5 * np.abs(np.diff(soft[64])).max()
    assert soft.max() > 1.03


def test_edge_enhancement_steepens_edges_and_keeps_levels():
    edge = np.zeros((128, 128), np.float32)
    edge[:, 64:] = 1
    plain, enhanced = (limited(edge, (100, 100), (128, 128), taper=0.4, edge_enhancement=much) for much in (0.0, 2.0))
    assert np.abs(np.diff(enhanced[64])).max() > 1.2 * np.abs(np.diff(plain[64])).max()
    assert np.allclose(enhanced[:, [20, 100]], plain[:, [20, 100]], atol=0.05)
    assert enhanced.mean() == pytest.approx(0.5, abs=1e-3)


def scanner(**values):
    drawn = Scanner.draw(np.random.default_rng(0), PROTOCOL)
    kept = {name: getattr(drawn, name) for name in drawn.__dataclass_fields__}
    return Scanner(**(kept | {"ghost": (0.0, 0.5), "gamma": 1.0, "full": 1000.0, "noise": 0.0} | values))


def measured(machine, water, fat):
    shape = water.shape
    rng = np.random.default_rng(1)
    return machine.measure(water, fat, protocol=PROTOCOL, acquired=shape, shape=shape, rng=rng).astype(float)


def test_fat_moves_along_the_readout_and_water_stays():
    one, nothing = blob((96, 96), (40, 50)), np.zeros((96, 96), np.float32)
    assert np.allclose(middle(measured(scanner(), one, nothing)), (40, 50), atol=0.3)
    assert np.allclose(middle(measured(scanner(), nothing, one)), (40, 52), atol=0.3)


def test_noise_is_rician_and_a_ghost_stands_elsewhere():
    nothing = np.zeros((96, 96), np.float32)
    noisy = measured(scanner(noise=0.02), nothing, nothing)
    assert noisy.mean() == pytest.approx(20 * np.sqrt(np.pi / 2), rel=0.15)
    ghost = measured(scanner(ghost=(0.05, 0.5)), blob((96, 96), (20, 48)), nothing)
    assert ghost[68, 48] == pytest.approx(50, abs=12)


@pytest.mark.parametrize("seed", range(4))
def test_a_saturation_band_is_a_straight_slab_in_front_of_the_bodies(seed):
    anatomy = draw_patient(seed)
    frame = build_frame(anatomy, np.random.default_rng(seed))
    plan = prescribe_sagittal(frame, np.random.default_rng(seed))
    plane = stack_of(plan, np.random.default_rng(seed), finest=0.66).drawn[len(plan.places) // 2]
    depth = float(anatomy.body_depth[5])
    kept, plain = (
        scanner(band=band, band_place=10.0, band_width=60.0, band_turn=3.0).gain(plane, frame) for band in (0.1, None)
    )
    share = kept / plain
    spine = plane.to_pixel(frame.to_patient(np.array([[0.0, v, s] for v in (-depth, 0) for s in frame.lumbar_disc_s])))
    rows, columns = np.rint(spine[plane.contains(spine)]).astype(int).T
    assert len(rows) >= 8
    assert np.all(share[rows, columns] > 0.9)
    assert share.min() == pytest.approx(0.1, abs=0.01)
    places = np.argwhere(share < 0.55).astype(float)
    lines = [places[places[:, 0] == row, 1].max() for row in np.unique(places[:, 0])]
    inside = np.array(lines)[2:-2]
    assert np.abs(np.diff(inside, n=2)).max() <= 2  # pixels; the rim bends no more than rounding does
    assert np.ptp(inside - np.linspace(inside[0], inside[-1], len(inside))) < 4

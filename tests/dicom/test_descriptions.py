"""What the words and codes of a header say of a series."""

from dataclasses import replace

import pytest

from benchmarks.robustness.dicom_files import write_slice
from lumbar_kernel.dicom.descriptions import (
    FAT,
    IN_PHASE,
    OPPOSED,
    OTHER,
    T1,
    T2,
    WATER,
    dixon_image,
    flavour,
    has_contrast_agent,
    is_derived,
    is_fat_suppressed,
    is_single_shot,
    kind_without_role,
    named_weighting,
    other_region,
)
from tests.dicom.conftest import only


@pytest.fixture(scope="module")
def header_with(tmp_path_factory):
    """Gives a header with some values and nothing else that says anything."""
    plain = only(write_slice(tmp_path_factory.mktemp("plain") / "1.dcm"))
    return lambda **values: replace(plain, **values)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"series_description": "T2 Survey"}, "a localiser by SeriesDescription"),
        ({"series_description": "T2 sag scout"}, "a localiser by SeriesDescription"),
        ({"series_description": "Pilot T1"}, "a localiser by SeriesDescription"),
        ({"series_description": "T1 Subtraction"}, "a subtraction by SeriesDescription"),
        ({"series_description": "T2 Perfusion"}, "a map by SeriesDescription"),
        ({"series_description": "T2 MIP"}, "a projection or angiography by SeriesDescription"),
        ({"sequence_name": "SURVEY"}, "a localiser by SequenceName"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER")}, "a localiser by ImageType"),
        ({"image_type": ("DERIVED", "SECONDARY", "MPR", "MIP")}, "a projection by ImageType"),
        ({"image_type": ("DERIVED", "PRIMARY", "PROJECTION IMAGE")}, "a projection by ImageType"),
        ({"image_type": ("DERIVED", "PRIMARY", "FAT_FRACTION")}, "a map by ImageType"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "P", "ND")}, "a phase image or field map by ImageType"),
        ({"image_type": ("DERIVED", "PRIMARY", "B0 MAP")}, "a phase image or field map by ImageType"),
        ({"diffusion_b_value": 50.0}, "diffusion by DiffusionBValue 50"),
        ({"series_description": "T1 dixon sag_F"}, "a fat image by ImageType or name"),
        ({"diffusion_b_value": 0.0}, None),
        ({"image_type": ("ORIGINAL", "PRIMARY", "M", "ND")}, None),
    ],
)
def test_a_kind_that_no_role_wants_is_named_with_the_element_that_says_so(header_with, values, kind):
    assert kind_without_role(header_with(**values)) == kind


@pytest.mark.parametrize(
    ("description", "weighting"),
    [
        ("sag CISS", T2),
        ("sag MEDIC", T2),
        ("Fiesta 3D", T2),
        ("sag FLASH", T1),
        ("MPRAGE", T1),
        ("t1 and t2", None),
        ("FLASH STIR", None),
        ("sag DP", OTHER),
        ("lumbar sag", None),
    ],
)
def test_sequences_stand_for_their_weighting_and_two_for_none(header_with, description, weighting):
    assert named_weighting(header_with(series_description=description)) == weighting


def test_the_third_value_of_image_type_alone_names_a_weighting(header_with):
    found = {name: flavour(header_with(image_type=("ORIGINAL", "PRIMARY", name))) for name in ("T1", "STIR", "M")}
    assert found == {"T1": T1, "STIR": T2, "M": None}
    assert flavour(header_with(image_type=("ORIGINAL", "PRIMARY", "M", "T1"))) is None


@pytest.mark.parametrize(
    ("values", "suppressed"),
    [
        *(({"inversion_time": time}, 80 <= time <= 350) for time in (79.0, 80.0, 120.0, 220.0, 350.0, 351.0, 2000.0)),
        *(({"scan_options": (option,)}, True) for option in ("FATSAT", "FAT_SAT", "SPIR", "SPAIR")),
        ({"scan_options": ("PFP", "SAT_GEMS")}, False),
    ],
)
def test_fat_is_suppressed_by_an_inversion_that_nulls_it_or_by_scan_options(header_with, values, suppressed):
    assert is_fat_suppressed(header_with(**values)) is suppressed


@pytest.mark.parametrize(
    ("description", "suppressed"),
    [
        *((f"T2 sag {words}", False) for words in ("NO FS", "NON FATSAT", "W/O FAT SAT", "ohne_FS", "NONFS")),
        *((f"T2 sag {words}", False) for words in ("sans sat graisse", "no fat suppression", "sin SPAIR")),
        *((f"T2 sag {words}", True) for words in ("FS", "fat sat", "sat graisse", "mono FS", "STIR no FS")),
    ],
)
def test_fat_is_suppressed_by_name_unless_a_word_before_it_denies_it(header_with, description, suppressed):
    assert is_fat_suppressed(header_with(series_description=description)) is suppressed


@pytest.mark.parametrize(
    ("description", "agent", "given"),
    [
        ("T1 sag", "Gadovist", True),
        ("T1 sag Gd", "", True),
        ("T1 sag post", "", True),
        *(("T1 sag", word, False) for word in ("", "NONE", "no", "0", "N/A", "na", "-", "unknown")),
        *(("T1 sag", word, False) for word in ("NO CONTRAST", "without contrast", "W/O", "ohne KM")),
        *(("T1 sag", agent, True) for agent in ("Vorhanden", "IV", "15 ml Dotarem", "Prohance")),
        *((f"T1 sag {words}", "", False) for words in ("w/o contrast", "avant gado", "sin contraste", "pre Gd")),
        *((f"T1 sag {words}", "", True) for words in ("apres gado", "mono c+", "après injection", "mono KM")),
        ("T1 sag nativ", "Gadovist", False),
    ],
)
def test_a_contrast_agent_is_given_by_name_unless_a_word_denies_it(header_with, description, agent, given):
    assert has_contrast_agent(header_with(series_description=description, contrast_agent=agent)) is given


@pytest.mark.parametrize(
    ("description", "image"),
    [
        ("t1_dixon_sag_F", FAT),
        ("t1_dixon_sag_opp", OPPOSED),
        ("T1 flex sag_in", IN_PHASE),
        ("T1 sag out of phase", OPPOSED),
        ("T1 sag water only", WATER),
        ("WATER: T1 sag", WATER),
        ("T1 sag_W", None),  # an end counts only where the sequence is named
    ],
)
def test_dixon_images_are_known_by_their_names(header_with, description, image):
    assert dixon_image(header_with(series_description=description)) == image


@pytest.mark.parametrize(
    ("image_type", "derived"),
    [
        (("DERIVED", "PRIMARY", "MPR"), True),
        (("ORIGINAL", "SECONDARY"), True),
        (("ORIGINAL", "PRIMARY"), False),
        (("DERIVED", "PRIMARY", "DIXON", "WATER"), False),
    ],
)
def test_images_are_derived_by_either_value_unless_a_dixon_sequence_made_them(header_with, image_type, derived):
    assert is_derived(header_with(image_type=image_type)) is derived


def test_a_single_shot_is_known_by_its_sequence_name_too(header_with):
    assert is_single_shot(header_with(sequence_name="*H2D1_205"))
    assert not is_single_shot(header_with(sequence_name="*TSE2D1_15"))


@pytest.mark.parametrize(
    ("description", "region"),
    [
        ("T2 sag Halswirbelsäule", "the cervical spine"),
        ("T2 tra neck", "the neck"),
        ("STIR cor SIJ", "the sacroiliac joints"),
        ("T2 tra prostata", "the breast, heart or prostate"),
        ("T2 sag lombaire", None),
        ("T2 sag S1", None),
    ],
)
def test_the_region_of_a_description_comes_before_the_body_part(header_with, description, region):
    found = other_region(header_with(series_description=description, body_part="HEAD"))
    assert found == (region and f"{region} by SeriesDescription")

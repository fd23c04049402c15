"""What the texts of a header say of a series: its kind, weighting, fat suppression, contrast agent and body region.

Scanners and their users write these texts in many languages and conventions; each pattern lists what it covers.
"""

from __future__ import annotations

import re

from lumbar_kernel.dicom.headers import SliceHeader

T1, T2, OTHER = "T1", "T2", "other"
"""Weightings; OTHER fits no role (scouts, diffusion, proton density)."""

MIN_STIR_MS, MAX_STIR_MS = 80.0, 350.0
"""Inversion times that null fat, at 0.2 to 7 tesla."""

IN_PHASE, WATER, OPPOSED, FAT = "in phase", "water", "opposed phase", "fat"
"""The images of a Dixon sequence."""

_UNWEIGHTED = r"^(?!.*(t[12](?![0-9])|stir|tirm|(?<![a-z])(pd|tse|(fr)?fse)(?![a-z])))"
"""Beginning of patterns for descriptions without weighting or spin echo: `T2 ASSET` is a series, `ASSET` calibrates."""

_NO_ROLE_WORDS = {
    "a localiser": re.compile(
        r"lo[ck]ali[sz]|locator|scout|survey|three.?plane|3.?(pl|plane|ebenen)(?![a-z])|topogram|[üu]e?bersicht"
        r"|rep[ée]rage|centratore|overzicht|planung|planific|smart.?(brain|spine|exam)|scano|mploc|speedmap|pilot"
        r"|(?<![a-z])(loc|lok)(?![a-z])|обзор|локал|定位|位置決め"
    ),
    "a calibration scan": re.compile(
        r"cal[ií]b|kalib|ref(erence)?.?scan|(?<![a-z])(cal|coca)(?![a-z])|sense.?ref|coil.?(survey|sens)"
        rf"|(field|b[01]).?map|校正|{_UNWEIGHTED}.*(prescan|(?<![a-z])(asset|shim)(?![a-z]))"
    ),
    "diffusion": re.compile(
        r"diffu|difus|tracew?(?![a-z])|ep2d|(?<![a-z0-9])b\d{3,4}(?!\d)|(?<![a-z])(dwi|dti|diff|e?d?adc|dwibs)(?![a-z])"
    ),
    "a map": re.compile(
        r"(?<![a-z])[tr][12](\*|star|.rho)?[ _*-]*(map|karte|carte|mapa)|mapping|mapit|fat.?frac"
        r"|(?<![a-z])(pdff(?![a-z])|ff ?%)|fett.?fraktion|perfusion|(?<![a-z])(fa|ff|phase) ?map"
        rf"|(^(?=.*(dixon|ideal))|{_UNWEIGHTED}).*(?<![a-z])ff(?![a-z])"
    ),
    "a subtraction": re.compile(r"subtra|subtrak|sustrac|sottraz|(?<![a-z])sub$"),
    # not the illnesses for which a series is made: myeloma, myelopathy, hemangioma
    "a projection or angiography": re.compile(
        r"m[yi]elo(?!m(?!ip|r)|pat|cel|dys|fib|lip|prol|sch)|angio(?!m(?!ip|r)|lip|sar[ck])"
        r"|(?<![a-z])(mip|mra|tof)(?![a-z])"
    ),
    "spectroscopy or flow": re.compile(
        r"spectro|spektro|(csf|phase).?flow|flow.?quant|(?<![a-z])(svs|csi|venc)(?![a-z])"
    ),
}
"""Kinds of series that no role wants, with what their descriptions hold in the languages that scanners use."""

_NO_ROLE_IMAGE_TYPES = {
    **dict.fromkeys(("LOCALIZER", "LOCALISER", "SCOUT"), "a localiser"),
    **dict.fromkeys(("ADC", "TRACEW", "DIFFUSION", "FA", "EADC", "TENSOR"), "diffusion"),
    **dict.fromkeys(("SUBTRACTION", "SUB", "SUBTRACT"), "a subtraction"),
    **dict.fromkeys(("T1 MAP", "T2 MAP", "T2_STAR MAP", "R2 MAP", "R2_STAR MAP"), "a map"),
    **dict.fromkeys(("FAT_FRACTION", "FAT FRACTION", "WATER_FRACTION", "PDFF", "FF", "R2_STAR", "PERFUSION"), "a map"),
    **dict.fromkeys(("PROJECTION IMAGE", "MIP", "MINIP", "MAX_IP", "ANGIO"), "a projection"),
    **dict.fromkeys(("PHASE MAP", "PHASE", "P", "IMAGINARY", "I", "B0 MAP", "FIELD_MAP"), "a phase image or field map"),
}
"""Values of ImageType, after the first two, of pictures that no role wants."""

_FLAVOURS = {"T1": T1, "T2": T2, "T2_STAR": T2, "STIR": T2, "PROTON_DENSITY": OTHER}

_NO_ROLE_SEQUENCES = {
    "diffusion": re.compile(r"EP_?B\d|\bEP_B|DWI|EPI?2D.*B\d"),
    "a localiser": re.compile(r"TFI2D|FL2D1$.*LOC|SURVEY"),
}
"""Kinds of series that no role wants, with what their SequenceName holds."""

_NAMED = {T1: re.compile(r"t1(?![0-9])"), T2: re.compile(r"t2(?![0-9])")}
"""A weighting that a description names outweighs the sequence that it names: `t2_fl2d` is T2."""

_T2_WORDS = re.compile(r"stir|tirm|t2(?![0-9])|medic|me2d|fiesta|ciss|haste|ssfse|(?<![a-z])merge(?![a-z])")
_T1_WORDS = re.compile(r"t1(?![0-9])|fl2d|flash|vibe|mprage|spgr")
_PD_WORDS = re.compile(r"(?<![a-z])pd(?![a-z])|proton|(?<![a-z])dp(?![a-z])")

_FAT_SUPPRESSED = re.compile(
    r"fat.?(sat|sup|less)|(?<![a-z])(fs|spair|spir|chess|stir|tirm|tir|fatsat|we|proset|wfs)(?![a-z])"
    r"|ideal|fett.?s[äa]tt|sat.?graisse|water.?exc"
)
_NOT_SUPPRESSED = re.compile(
    r"(?<![a-z])(without|w/?o|no|non|ohne|sans|sin|senza|sem|zonder)[ _.-]?"
    r"(fs(?![a-z])|fat.?(sat|sup)|sat.?graisse|fett.?s[äa]tt|spair|spir)"
)
_AGENT = re.compile(
    r"\+ ?c(?![a-z])|(?<![a-z])c ?\+|(?<![a-z])(gd|km|gad|ce|mdc|inj|civ|gbca|post)(?![a-z])|gado|dotarem|magnevist"
    r"|contrast|kontrast|k\.m\.|post.?(gd|km|inj|con)|inject|(?<![a-z])iv(?![a-z])"
)
_NO_AGENT = re.compile(
    r"(?<![a-z])(without|w/?o|no|non|ohne|sans|sin|senza|sem|pre|pr[ée]|vor|avant|nativ|zonder).{0,3}"
    r"(gd|km|gad|contrast|kontrast|inj|c(?![a-z])|mdc|iv(?![a-z]))|nati[fv]"
)
_OPERATED = re.compile(r"post.?op(era[a-zéó]*)?(?![a-z])")
"""After an operation, which says nothing of an agent although `post` alone names one."""

_AGENT_ABSENT = re.compile(r"\W*(no|none|n\W?a|n|0|nil|without|w/?o|ohne|sans|sin|senza|unknown|unbekannt)?\W*")
"""What ContrastBolusAgent holds where there is none, or nobody knows."""

_DIXON_IMAGE_TYPES = {
    **dict.fromkeys(("WATER", "W"), WATER),
    **dict.fromkeys(("FAT", "F"), FAT),
    **dict.fromkeys(("IN_PHASE", "IN PHASE", "INPHASE", "IP"), IN_PHASE),
    **dict.fromkeys(("OUT_PHASE", "OUT PHASE", "OPP_PHASE", "OPPOSED_PHASE", "OUTPHASE", "OP"), OPPOSED),
}
_DIXON_WORDS = re.compile(r"dixon|ideal|(?<![a-z])(flex|lava|wfi)(?![a-z])")
_DIXON_ENDS = {
    WATER: re.compile(r"[_ -]w(ater)?$"),
    FAT: re.compile(r"[_ -]f(at)?$"),
    IN_PHASE: re.compile(r"[_ -](in|ip)$"),
    OPPOSED: re.compile(r"[_ -](opp|op|out)$"),
}
"""Ends of the names that Dixon images get from their scanner."""

_DIXON_NAMES = {
    OPPOSED: re.compile(r"(opp(osed)?|out).?(of.?)?phase"),
    IN_PHASE: re.compile(r"in.?phase"),
    WATER: re.compile(r"^ ?water ?:|water.?only|(?<![a-z])wasser(?![a-z])"),
    FAT: re.compile(r"^ ?fat ?:|fat.?only|(?<![a-z])fett(bild)?$"),
}

_CERVICAL, _THORACIC, _LUMBAR = "the cervical spine", "the thoracic spine", "the lumbar spine"
_PELVIS, _ABDOMEN = "the pelvis or sacrum", "the abdomen"

EXAMINED = _LUMBAR
"""The region that is read; slices of others are refused."""

_SHOWN_IN_PART = (_PELVIS, _ABDOMEN)
"""The regions that its slices show too, so that BodyPartExamined may name them instead."""

_LETTERS = {
    _CERVICAL: re.compile(r"(?<![a-z])c(?![a-z])"),
    _THORACIC: re.compile(r"(?<![a-z])[dt](?![a-z])"),
    _LUMBAR: re.compile(r"(?<![a-z])l(?![a-z])"),
}
"""What names the stations of the spine in a list such as `C/T/L spine`."""

_REGIONS = {
    _LUMBAR: re.compile(
        r"lumb|lomb|(?<![a-z])(lws|lwk|lsp|ls|lwz|l5|s1|l ?spine|l[ /]?s[ /]?spine|lendenwirbel|lwervel)(?![a-z])"
        r"|(?<![a-z])(l[1-5]|(th?|d)1[0-2])[^a-z]*(to|bis|à|al)?[^a-z]*(sa[ck]r|co[ck]|stei|kreuzb)|sacroil.*lumb|腰"
    ),
    _CERVICAL: re.compile(r"cervi[ck]|zervik|(?<![a-z])(hws|hwk|cwk|c ?spine|csp)(?![a-z])|halswirbel|cervc|頚"),
    _THORACIC: re.compile(r"thora[ck]|torac|(?<![a-z])(bws|bwk|twk|t ?spine|tsp|dorsal(e)?)(?![a-z])|brustwirbel"),
    "the head": re.compile(r"brain|cerebr|cr[âa]n|gehirn|sch[äa]del|(?<![a-z])(head|kopf|hirn|skull)(?![a-z])"),
    "the neck": re.compile(r"(?<![a-z])(neck|hals|cou|collo|cuello)(?![a-z])"),
    "a joint or limb": re.compile(
        r"(?<![a-z])(knee|knie|genou|rodilla|ginocchio|joelho|shoulder|schulter|[ée]paule|hombro|spalla|ombro|ankle|elbow"
        r"|wrist|hand|foot|fuss|pied|hip|h[üu]fte|hanche|cadera|femur|thigh|calf|leg|arm|extremity)(?![a-z])"
    ),
    "the sacroiliac joints": re.compile(r"(?<![a-z])(isg|sij|si ?joints?)(?![a-z])|sacro.?ilia[ckq]|iliosa[ck]ral"),
    _PELVIS: re.compile(
        r"(?<![a-z])(pelvi[cs]|pelve|becken|bassin|bacino|sa[ck]rum|sacro|kreuzbein|stei(ß|ss)bein|co[ck]{1,2}[iy][gx]|coxis)"
    ),
    # not the saturation band or the belt over it
    _ABDOMEN: re.compile(
        r"(?<![a-z])(?<!sat.)(abdom(e|en|inal|inale|inales)|addom(e|inale)|(ober|unter)?bauch|liver|leber|foie|h[íi]gado"
        r"|fegato|f[íi]gado|kidneys?|nieren?|r[eé]nal(e|es)?|pan[ck]reas|uterus|[úu]t[eé]r[ou]s?|mrcp)(?![a-z])"
        r"(?!.?(sat|coil|band|belt|gurt|compress|kompress))|腹部"
    ),
    "the breast, heart or prostate": re.compile(r"(?<![a-z])(breast|mamma|heart|cardiac|prostat[ae])(?![a-z])"),
}
"""Regions of the body, in descriptions and in BodyPartExamined."""


def kind_without_role(header: SliceHeader) -> str | None:
    """What a header shows that no role wants, with the element that says so; None when nothing does."""
    for value in header.image_type[2:]:
        if value in _NO_ROLE_IMAGE_TYPES:
            return f"{_NO_ROLE_IMAGE_TYPES[value]} by ImageType"
    if header.diffusion_b_value:
        return f"diffusion by DiffusionBValue {header.diffusion_b_value:g}"
    words = header.series_description.lower()
    for kind, pattern in _NO_ROLE_WORDS.items():
        if pattern.search(words):
            return f"{kind} by SeriesDescription"
    for kind, pattern in _NO_ROLE_SEQUENCES.items():
        if pattern.search(header.sequence_name):
            return f"{kind} by SequenceName"
    return "a fat image by ImageType or name" if dixon_image(header) == FAT else None


def named_weighting(header: SliceHeader) -> str | None:
    """The weighting that SeriesDescription names; OTHER for proton density, None where it names none or several."""
    words = header.series_description.lower()
    named = [weighting for weighting, pattern in _NAMED.items() if pattern.search(words)]
    if named and _PD_WORDS.search(words):
        return None  # both echoes of a dual-echo sequence: EchoTime distinguishes them
    if len(named) == 1:
        return named[0]
    is_t1, is_t2 = bool(_T1_WORDS.search(words)), bool(_T2_WORDS.search(words))
    if is_t1 != is_t2:
        return T1 if is_t1 else T2
    return OTHER if _PD_WORDS.search(words) else None


def flavour(header: SliceHeader) -> str | None:
    """The weighting that the third value of ImageType names in an enhanced file (DICOM PS3.3 C.8.13.3.1.1)."""
    return next((_FLAVOURS[value] for value in header.image_type[2:3] if value in _FLAVOURS), None)


def is_fat_suppressed(header: SliceHeader) -> bool:
    """Whether fat is suppressed, by name, by ScanOptions or by an inversion time that nulls fat."""
    if {"FS", "FATSAT", "FAT_SAT", "SPIR", "SPAIR"} & set(header.scan_options):
        return True
    inversion = header.inversion_time
    nulls_fat = inversion is not None and MIN_STIR_MS <= inversion <= MAX_STIR_MS
    words = _NOT_SUPPRESSED.sub(" ", header.series_description.lower())
    return nulls_fat or bool(_FAT_SUPPRESSED.search(words))


def has_contrast_agent(header: SliceHeader) -> bool:
    """Whether a contrast agent was given, by name, else by ContrastBolusAgent."""
    words, agent = _OPERATED.sub(" ", header.series_description.lower()), header.contrast_agent.lower()
    if _NO_AGENT.search(words):
        return False
    return bool(_AGENT.search(words)) or not (_AGENT_ABSENT.fullmatch(agent) or _NO_AGENT.search(agent))


def dixon_image(header: SliceHeader) -> str | None:
    """Which image of a Dixon sequence this is, by ImageType, else by name; None for any other sequence."""
    for value in header.image_type[2:]:
        if value in _DIXON_IMAGE_TYPES:
            return _DIXON_IMAGE_TYPES[value]
    words = header.series_description.lower().strip()
    ends = _DIXON_ENDS if _DIXON_WORDS.search(words) else {}
    for image, pattern in (*_DIXON_NAMES.items(), *ends.items()):
        if pattern.search(words):
            return image
    return None


def is_single_shot(header: SliceHeader) -> bool:
    """Whether all lines of an image come from one excitation (HASTE, SSFSE): a quick survey rather than a T2 series."""
    words = f"{header.series_description} {header.sequence_name}".lower()
    return bool(re.search(r"haste|ssfse|(?<![a-z])ssh|single.?shot|(?<![a-z0-9])h2d", words))


def is_derived(header: SliceHeader) -> bool:
    """Whether the image was computed from others, by the first two values of ImageType; Dixon images are no such."""
    derived = "DERIVED" in header.image_type[:1] or "SECONDARY" in header.image_type[1:2]
    return derived and dixon_image(header) is None


def other_region(header: SliceHeader) -> str | None:
    """The region of the body other than `EXAMINED` that a header names, with the element; None for none."""
    if description_fits(header):
        return None
    if (named := _region_besides(_spaced(header.series_description))) is not None:
        return f"{named} by SeriesDescription"
    if body_part_fits(header) or (named := _region_besides(_body_part(header))) is None:
        return None
    if named in _SHOWN_IN_PART or _outweighed(named, header):
        return None
    return f"{named} by BodyPartExamined {header.body_part}"


def _outweighed(region: str, header: SliceHeader) -> bool:
    """Whether ProtocolName, else StudyDescription, names `EXAMINED` and not this region of BodyPartExamined."""
    for words in map(_spaced, (header.protocol_name, header.study_description)):
        if any(names[region].search(words) for names in (_REGIONS, _LETTERS) if region in names):
            return False
        if _REGIONS[EXAMINED].search(words):
            return True
    return False


def description_fits(header: SliceHeader) -> bool:
    """Whether SeriesDescription names `EXAMINED`."""
    return bool(_REGIONS[EXAMINED].search(_spaced(header.series_description)))


def body_part_fits(header: SliceHeader) -> bool:
    """Whether BodyPartExamined names `EXAMINED`."""
    return bool(_REGIONS[EXAMINED].search(_body_part(header)))


def _spaced(text: str) -> str:
    return text.lower().replace("_", " ").replace("-", " ")


def _body_part(header: SliceHeader) -> str:
    return header.body_part.lower().replace("_", " ")


def _region_besides(words: str) -> str | None:
    return next((name for name, pattern in _REGIONS.items() if name != EXAMINED and pattern.search(words)), None)

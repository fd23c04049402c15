"""What would be read of a study and why, from its headers alone or with its pixels; as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from lumbar_kernel.dicom.reader import decision_of, read_study
from lumbar_kernel.dicom.selection import choose
from lumbar_kernel.dicom.stacks import stacks_of
from lumbar_kernel.dicom.volumes import reformatted_decision, source_of_axials
from lumbar_kernel.geometry import Plane
from lumbar_kernel.processes import process_pool
from lumbar_kernel.schema import SERIES_DESCRIPTIONS
from lumbar_kernel.study import SeriesDecision, StudyFiles

MANY_STUDIES, CHUNK = 60, 4
"""Studies from which on processes are worth their start, and how many each gets at a time."""

UNDECIDED = "its headers name no weighting; its pixels decide, here with --pixels"


@dataclass(frozen=True)
class Inspection:
    """What would be read of one study.

    Attributes:
        study_id: as in the row ids.
        series: the decision about each series, those that are used first.
        missing: roles that no series plays, as far as that is decided.
        problems: one sentence per file or slice that cannot be used.
    """

    study_id: str
    series: tuple[SeriesDecision, ...]
    missing: tuple[str, ...]
    problems: tuple[str, ...]

    def as_text(self) -> str:
        """Lines for people."""
        lines = [f"study {self.study_id}"]
        for item in self.series:
            size = f"{item.matrix[0]}×{item.matrix[1]} at {item.pixel_mm[0]:.3f}×{item.pixel_mm[1]:.3f} mm"
            role = item.role or ("not decided" if item.reason == UNDECIDED else "not used")
            lines.append(f"  {item.series_id}  {role}: {item.reason}")
            if not item.slices:
                continue
            lines.append(f"      {item.description or 'no description'}, {item.slices} slices, {size}")
            if item.image_type:
                lines[-1] += f", {'/'.join(item.image_type)}"
        lines += [f"  missing: {role}" for role in self.missing]
        lines += [f"  refused: {problem}" for problem in self.problems]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """The same in JSON's own types."""
        return asdict(self)


def inspect_studies(studies: Sequence[StudyFiles], *, pixels: bool, workers: int = 1) -> Iterator[Inspection]:
    """What would be read of each study, in order, by several processes where there are many studies."""
    job = partial(inspect_study, pixels=pixels)
    if workers < 2 or len(studies) < MANY_STUDIES:
        yield from map(job, studies)
        return
    with process_pool(workers) as pool:
        yield from pool.map(job, studies, chunksize=CHUNK)


def inspect_study(files: StudyFiles, *, pixels: bool) -> Inspection:
    """What would be read of a study.

    Args:
        files: of the study.
        pixels: decode them, as grading does; without, series whose headers name no weighting stay undecided and
            files that cannot be decoded are not seen.
    """
    if pixels:
        study = read_study(files)
        decisions, problems = study.decisions, study.problems
    else:
        found = stacks_of(files.series)
        undecided = [stack.decision(None, UNDECIDED) for stack in found.stacks if stack.role is None]
        choices = choose(found.stacks)
        may_have_axials = any(stack.role is None and stack.plane is Plane.AXIAL for stack in found.stacks)
        source = None if may_have_axials else source_of_axials(choices)
        reformatted = [] if source is None else [reformatted_decision(source)]
        decisions = (*map(decision_of, choices), *reformatted, *undecided, *found.refused)
        problems = found.problems
    order = {role: number for number, role in enumerate(SERIES_DESCRIPTIONS)}
    series = sorted(decisions, key=lambda item: order.get(item.role or "", len(order)))
    played = {item.role for item in decisions}
    undecided_left = any(item.reason == UNDECIDED for item in decisions)
    missing = [role for role in SERIES_DESCRIPTIONS if role not in played and not undecided_left]
    return Inspection(files.study_id, tuple(series), tuple(missing), tuple(problems))

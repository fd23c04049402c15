"""The grading process: read → localise → crop → grade → combine, study by study, then member by member."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice

import numpy as np

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.config import Config
from lumbar_kernel.grading.crops import blank_crops
from lumbar_kernel.grading.ensemble import Ensemble, blend_with_prior, scale_max_severe
from lumbar_kernel.grading.grader import grade, require_graded
from lumbar_kernel.models.checkpoints import load_models
from lumbar_kernel.models.manifest import MemberSpec
from lumbar_kernel.runtime.budget import Budget
from lumbar_kernel.runtime.fault_injection import with_injected_faults
from lumbar_kernel.runtime.journal import Journal, run_key
from lumbar_kernel.runtime.messages import STUDIES_AT_ONCE, WAITING, Done, Message, Note, Ready, Shard, Step, Update
from lumbar_kernel.runtime.recorder import Recorder
from lumbar_kernel.runtime.scheduler import (
    THIN,
    FirstPassOptions,
    Pass,
    Plan,
    fastest_members,
    first_members,
    grading,
    share,
)
from lumbar_kernel.runtime.stages import StageRunner, StudyState, prepare
from lumbar_kernel.runtime.study_loader import ReadResult, StudyLoader
from lumbar_kernel.schema import ROWS, group_of
from lumbar_kernel.study import StudyFiles
from lumbar_kernel.views import VIEWS

logger = logging.getLogger(__name__)


def run(config: Config, part: Shard, *, recorder: Recorder, budget: Budget, emit: Callable[[Message], None]) -> Done:
    """Grade studies, emit every improvement, and return what closes the account.

    Args:
        config: options of the run.
        part: the studies, in the order in which they are graded, and the device.
        recorder: takes failures and seconds.
        budget: asked before every step.
        emit: takes messages; the receiver owns the file.

    Raises:
        WeightsError: no localiser can be loaded, so nothing can be graded.
    """
    emit(Step("load weights", (), {}))
    with recorder.timed("load weights"):
        tools, failed = with_injected_faults("load weights", (), lambda: load_models(config, part.device))
    emit(Ready(device=str(tools.device), weights_sha256=tools.manifest.sha256, members_failed=failed))
    members = [spec for spec in tools.manifest.members if spec.name in tools.members]
    key = run_key(part.studies, weights_sha256=tools.manifest.sha256)
    with Journal(config.journal_of(part.number), key=key, resume=config.resume or part.resume) as journal:
        plan = Plan(tools.manifest, budget)
        desk = StageRunner(part, tools, recorder, journal, budget, plan, emit)
        finished, complete = _grade_everything(config, members, desk)
        if complete:
            journal.remove()
    dropped = {spec.name: desk.dropped[grading(spec)] for spec in members if grading(spec) in desk.dropped}
    return Done(recorder=recorder, members=tuple(finished), members_failed=dropped, complete=complete)


def _grade_everything(config: Config, members: Sequence[MemberSpec], desk: StageRunner) -> tuple[list[str], bool]:
    """A first pass over all studies, then the members in order of gain per second, then thin studies once more.

    Returns the members that got through, and whether everything did.
    """
    studies = _restore(desk.share.studies, members, desk)
    everything, full = Pass(tuple(members)), Pass(first_members(members))
    ways = FirstPassOptions(full, thin=Pass(fastest_members(full.members, members), THIN), again=everything)
    works = _first_pass(config, studies, ways, desk)
    waiting, finished = list(members), []
    while waiting:
        spec = desk.plan.next_member(waiting)
        waiting.remove(spec)
        if _grade_member(spec, works, desk):
            finished.append(spec.name)
    thin = {work.study_id for work in works if work.thin}
    again = _first_pass(
        config,
        [item for item in studies if item.study_id in thin],
        FirstPassOptions(everything, thin=everything, again=everything),
        desk,
    )
    all_studies = len(works) == len(studies)
    complete = all_studies and len(finished) == len(members) and len(again) == len(thin)
    return [spec.name for spec in members if spec.name in finished and all_studies], complete


def _restore(studies: Sequence[StudyFiles], members: Sequence[MemberSpec], desk: StageRunner) -> list[StudyFiles]:
    """Emit the studies that the journal holds whole, and return the others.

    Only whole blocks are left out, so that the others meet the same companions in their batches as without the
    interruption, and get the same grades to the last bit.
    """
    remaining: list[StudyFiles] = []
    for start in range(0, len(studies), STUDIES_AT_ONCE):
        block = studies[start : start + STUDIES_AT_ONCE]
        works = [work for item in block if (work := _recorded_work(item.study_id, members, desk.journal)) is not None]
        if len(works) < len(block):
            remaining += block
            continue
        for work in works:
            desk.emit(_update(work, desk))
    return remaining


def _recorded_work(study_id: str, members: Sequence[MemberSpec], journal: Journal) -> StudyState | None:
    """A study as the journal holds it, None when a member that could grade it has not."""
    if (recorded := journal.study(study_id)) is None:
        return None
    work = StudyState(recorded[0], confidence=recorded[1])
    for spec in members:
        if spec.view not in recorded[2]:
            continue
        if (probabilities := journal.grades(study_id, spec.name)) is None:
            return None
        work.said[spec.name] = probabilities
    return work


def _first_pass(
    config: Config, studies: Sequence[StudyFiles], ways: FirstPassOptions, desk: StageRunner
) -> list[StudyState]:
    """Read, localise, crop and grade a few studies at a time, the full way while all of them fit, else the thin one.

    Studies that an interrupted run had begun get all members at once, if a full first pass of the others still fits:
    their crops are not on disk, and whatever interrupts this run as well would have them cut a third time.
    """
    works: list[StudyState] = []
    plan, pictures, told = desk.plan, config.pictures, False
    begun = {item.study_id for item in studies if desk.journal.study(item.study_id) is not None}
    reader = StudyLoader(studies, workers=config.readers, ahead=config.ahead, timeout=config.study_seconds)
    with reader:
        results = iter(reader)
        while left := len(studies) - len(works):
            way = plan.choose(ways.full, ways.thin, studies=left)
            if way is not ways.full and not told:
                told = _tell(plan.outlook(ways.full, ways.thin, studies=left), desk)
            count = plan.how_many(plan.seconds(way), most=min(left, STUDIES_AT_ONCE))
            if count == 0:
                _tell(f"time for {len(works)} of {len(studies)} studies", desk)
                break
            # The first wait is for the readers to start: nothing to learn from.
            read = desk.step(WAITING, (), partial(_next, results, count), effort=count if works else 0)
            if not read:
                break
            block = []
            for result in read:
                folder = config.output / "pictures" if pictures > 0 else None
                block.append(prepare(result, desk, stride=way.stride, pictures=folder))
                pictures -= 1
            _grade_first(way, block, desk)
            works += block
            again = begun.intersection(work.study_id for work in block)
            if again and plan.fits_also(ways.again, now=len(block), full=ways.full, later=left - len(block)):
                _grade_first(ways.again, block, desk)
    return works


def _next(results: Iterator[ReadResult], count: int) -> list[ReadResult]:
    return list(islice(results, count))


def _tell(text: str, desk: StageRunner) -> bool:
    logger.warning(text)
    desk.emit(Note(text))
    return True


def _grade_first(way: Pass, block: Sequence[StudyState], desk: StageRunner) -> None:
    """The members of a first pass on a few studies."""
    for spec in way.members:
        _grade(spec, block, desk)
    for work in block:
        desk.emit(_update(work, desk))


def _grade_member(spec: MemberSpec, works: Sequence[StudyState], desk: StageRunner) -> bool:
    """A further pass of one member over the studies that it has not graded; returns whether it got through."""
    for start in range(0, len(works), STUDIES_AT_ONCE):
        block = works[start : start + STUDIES_AT_ONCE]
        if not _unsaid(spec, block):
            continue
        if not desk.budget.fits(desk.plan.member_seconds(spec) * len(block)):
            return False
        _grade(spec, block, desk)
        for work in block:
            desk.emit(_update(work, desk))
    return not _unsaid(spec, works)


def _unsaid(spec: MemberSpec, works: Sequence[StudyState]) -> list[StudyState]:
    """The studies that a member could grade and has not."""
    return [work for work in works if spec.view in work.crops and spec.name not in work.said]


def _grade(spec: MemberSpec, block: Sequence[StudyState], desk: StageRunner) -> None:
    """Add one member's grades to several studies, from the journal where it holds all of them.

    A block that fails as a whole is tried study by study; so is every block once a process did not survive.
    """
    if grading(spec) in desk.dropped:
        return
    unsaid = _unsaid(spec, block)
    recorded = [desk.journal.grades(work.study_id, spec.name) for work in unsaid]
    told = [probabilities for probabilities in recorded if probabilities is not None]
    if len(told) == len(unsaid):
        for work, probabilities in zip(unsaid, told, strict=True):
            work.said[spec.name] = probabilities
        return
    if desk.share.careful or len(unsaid) == 1 or not _grade_afresh(spec, block, unsaid, desk):
        for work in unsaid:
            _grade_afresh(spec, block, [work], desk)


def _grade_afresh(
    spec: MemberSpec, block: Sequence[StudyState], chosen: Sequence[StudyState], desk: StageRunner
) -> bool:
    """Let a member grade the chosen studies of a block; returns whether it could.

    The others of the block are blanked out rather than left out: a batch of another size would change the last bits.
    """
    view, nets = VIEWS[spec.view], desk.tools.members[spec.name]
    places = [block.index(work) for work in chosen]
    crops = [work.crops[spec.view] if work in chosen else blank_crops(view) for work in block]

    def verdicts() -> FloatArray:
        return grade(crops, nets, view=view, groups=view.groups)[places]

    def check(probabilities: FloatArray) -> None:
        for place, one in zip(places, probabilities, strict=True):
            require_graded(one, crops[place], view)

    graded = desk.step(grading(spec), [work.study_id for work in chosen], verdicts, nets=nets, check=check)
    if graded is None:
        return False
    for work, probabilities in zip(chosen, graded, strict=True):
        if not work.thin:
            desk.journal.add_grades(work.study_id, spec.name, probabilities)
        work.said[spec.name] = probabilities
    return True


def _update(work: StudyState, desk: StageRunner) -> Update:
    """The study's grades as they stand: mean, calibration, study maximum, lean on the prior where unsure."""
    manifest, ensemble = desk.tools.manifest, Ensemble()
    members = [spec for spec in manifest.members if spec.name in work.said]
    for spec in members:  # in the manifest's order, since sums of floats depend on theirs
        groups = VIEWS[spec.view].groups
        weights = np.array([share(spec, group) if (group := group_of(row)) in groups else 0.0 for row in ROWS])
        ensemble.add(work.said[spec.name], weights=weights)
    said, grades = ensemble.said, ensemble.result()
    if said.any():
        calibrated = np.where(said[:, None], manifest.calibration.apply(grades), grades)
        grades = scale_max_severe(calibrated, manifest.calibration.max_severe_factor)
        grades = blend_with_prior(grades, np.where(said, work.confidence, 0.0))
    failures = desk.recorder.failures(work.study_id) or work.report.failures
    names, rows = tuple(spec.name for spec in members), int(said.sum())
    return Update(grades=grades, report=replace(work.report, members=names, graded_rows=rows, failures=failures))

"""The error tree of the kernel, one class per thing that can be refused.

KernelError
├── ConfigError         a path or option that cannot work; stops before any work
├── DependencyError     packages that inference needs are not installed
├── DicomError          one file that cannot be read as an MR slice with geometry
├── StudyError          one study without any usable series
├── LocalisationError   no plausible five levels in a study
├── GradingError        a member predicted something that is not a grade
├── NotFiniteError      a stage gave numbers that are NaN or infinite
├── WeightsError        a missing, damaged or mismatching weights file or manifest
├── TruthError          a table of true grades that cannot be scored against
├── SubmissionError     a table of grades that breaks the submission format
├── WorkerStartError    no process that grades can be started; stops an archive's run
└── OvertakenError      another run of an archive writes into the same folder
"""


class KernelError(Exception):
    """Base of every error that the kernel raises on purpose."""


class ConfigError(KernelError):
    """A path or option cannot work; raised before any work is done."""


class DependencyError(KernelError, ImportError):
    """Packages that inference needs are not installed."""


class DicomError(KernelError):
    """A file cannot be read as an MR slice with a position in the patient."""


class StudyError(KernelError):
    """A study holds no usable series."""


class LocalisationError(KernelError):
    """No plausible five disc levels were found."""


class GradingError(KernelError):
    """A member predicted something that is not a grade."""


class NotFiniteError(KernelError):
    """A stage gave numbers that are NaN or infinite."""


class WeightsError(KernelError):
    """A weights file or the manifest is missing, damaged or does not match."""


class SubmissionError(KernelError):
    """A table of grades breaks the submission format; it is neither written nor scored."""


class TruthError(KernelError, ValueError):
    """A table of true grades cannot be scored against."""


class WorkerStartError(KernelError):
    """No worker could be started: the weights, the device or the installation does not work."""


class OvertakenError(KernelError):
    """Another run has taken over the output folder of an archive."""

"""The base class of what a run records."""

from itertools import chain
from typing import ClassVar

from engine.progress import BatchStep, ChunkStep, EndStep, EpochStep, PhaseStep, Step
from engine.registry import register
from errors import InputError
from run_folder import WRITTEN
from training.run import Run

RECORDERS: dict[str, type["Recorder"]] = {}  # all by their names, also those that plugins declare


class Recorder:
    """One record of a training run.

    A subclass overrides the methods for the kinds of steps that it records. The progress and the network are then as
    after the step. A method ``record_…`` of another name would never be called: TypeError when the class is made.

    With ``every_run``, a subclass records each run, after those that train.py lists, so a plugin can declare one.

    Attributes:
        files: what it writes in the folder of the run, as patterns of paths. No other recorder may write them.
        kept: what it needs when the run is resumed, which checkpoints contain: {key: plain value for JSON, or tensor}.
            It begins empty. After a resume, tensors are on the CPU. The name of its class stands for it in checkpoints.

    Raises InputError when a class is made whose name or files are those of another recorder.
    """

    files: ClassVar[tuple[str, ...]] = ()
    every_run: ClassVar[bool]

    def __init_subclass__(cls, every_run: bool = False) -> None:
        for name in vars(cls):
            if name.startswith("record") and not hasattr(Recorder, name):
                raise TypeError(f"{cls.__name__}.{name} is never called: no kind of step has this name")
        cls.every_run = every_run
        others = (other.files for name, other in RECORDERS.items() if name != cls.__name__)
        if not isinstance(cls.files, tuple) or not {*chain(WRITTEN, *others)}.isdisjoint(cls.files):
            wanted = 'a tuple such as ("weights.csv",) of files that nothing else writes'
            raise InputError(f"{cls.__name__}.files must be {wanted}, not {cls.files!r}")
        register(RECORDERS, [cls.__name__], cls)

    def __init__(self, run: Run):
        self.run = run
        self.plan = run.plan
        self.log = run.log
        self.progress = run.plan.progress
        self.kept = run.plan.kept.setdefault(type(self).__name__, {})

    def record(self, step: Step) -> None:
        """Record a step, by the method for its kind."""
        getattr(self, f"record_{step.kind}")(step)

    def record_phase(self, step: PhaseStep) -> None:
        """Record that a phase begins."""

    def record_chunk(self, step: ChunkStep) -> None:
        """Record that maps of some images were computed."""

    def record_batch(self, step: BatchStep) -> None:
        """Record a batch that was learned."""

    def record_epoch(self, step: EpochStep) -> None:
        """Record an epoch, which is the last row of the history."""

    def record_end(self, step: EndStep) -> None:
        """Record that a phase has ended."""

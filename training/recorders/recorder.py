"""The base class of what a run records."""

from engine.progress import BatchStep, ChunkStep, EndStep, EpochStep, PhaseStep, Step
from training.run import Run


class Recorder:
    """One record of a training run.

    A subclass overrides the methods for the kinds of steps that it records. The progress and the network are then as
    after the step. A method ``record_…`` of another name would never be called: TypeError when the class is made.
    """

    def __init_subclass__(cls) -> None:
        for name in vars(cls):
            if name.startswith("record") and not hasattr(Recorder, name):
                raise TypeError(f"{cls.__name__}.{name} is never called: no kind of step has this name")

    def __init__(self, run: Run):
        self.run = run
        self.plan = run.plan
        self.log = run.log
        self.progress = run.plan.progress

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

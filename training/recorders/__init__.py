"""What a run records of its training: the log, figures, checkpoints. Each file contains one recorder.

``list_recorders`` in train.py lists them. A new record of a run is a file here, a line there, and what it writes is a
row of docs/outputs.md; or it is a class in a plugin (docs/extending.md). The recorder names its files, and keeps what
it needs after a stop, see ``Recorder``.
"""

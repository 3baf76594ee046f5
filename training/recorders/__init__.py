"""What a run records of its training: the log, figures, checkpoints. Each file contains one recorder.

``list_recorders`` in train.py lists them. A new record of a run is a file here, and a line there.
"""

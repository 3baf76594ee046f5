"""What networks are made of and run on: stages, and two backends, ``event`` (compiled) and ``frames`` (tensors)."""

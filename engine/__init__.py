"""What networks are made of and run on: stages, and two backends, ``event/`` (compiled) and ``torch_backend.py``.

The engine sets ``OMP_WAIT_POLICY=passive`` unless the variable is set already. With this policy, threads that wait for
each other sleep. By default they spin, and on a machine with other programs they take the cores from the very threads
that they wait for. OpenMP reads the variable once, when torch loads it. Therefore a script imports ``engine`` (or a
module that does) before torch. If a script imports torch first, all results stay the same, but torch's threads spin:
set the variable in the shell, or before the import of torch.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

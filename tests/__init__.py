"""The tests, which compute on one thread: several processes of several threads each would wait for one another."""

import os

from lumbar_kernel.processes import THREAD_VARIABLES

for name in THREAD_VARIABLES:  # before torch and NumPy read them
    os.environ.setdefault(name, "1")

"""What all tests share: how hypothesis draws, and where compiled kernels are kept.

A slow or busy machine is no reason to fail.
"""

import os
import signal

from hypothesis import HealthCheck, settings

from gpt_numpy.base.cache_folder import cache_folder
from gpt_numpy.base.signals import KINDS
from gpt_numpy.kernels.engine import compiler

settings.register_profile(
    "gpt_numpy", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("gpt_numpy")

# Tests of downloads set GPT_NUMPY_CACHE to an empty folder: kernels need not be compiled again.
os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_folder()))

# A process announces once that it compiles. Which test compiles first depends on the cache and on
# the order of the tests: none is to find that line in what it captures.
compiler._announced = 1

# What a shell starts in the background, or nohup, has signals ignored, and training respects that.
for kind in KINDS:
    if signal.getsignal(kind) is signal.SIG_IGN:
        signal.signal(kind, signal.default_int_handler)

"""The campaign as a command: python -m tests.bad_input --calls=10000 --seed=0."""

import sys

from tests.bad_input.campaign import main

sys.exit(main())

"""The self-test of a GPU: one command that checks, measures and trains, within ten minutes.

A later part is a `Part` in `PARTS` (part.py) and a file that registers its checks, imported here.
"""

# Each module registers its checks; within a part they run in this order.
# ruff: noqa: I001
from sadp_dist.selftest import machine  # noqa: F401
from sadp_dist.selftest import scores  # noqa: F401
from sadp_dist.selftest import pushes  # noqa: F401
from sadp_dist.selftest import runs  # noqa: F401
from sadp_dist.selftest import steps  # noqa: F401
from sadp_dist.selftest import loaders  # noqa: F401
from sadp_dist.selftest import ways  # noqa: F401
from sadp_dist.selftest import cost  # noqa: F401
from sadp_dist.selftest import loading_speed  # noqa: F401
from sadp_dist.selftest import promise  # noqa: F401

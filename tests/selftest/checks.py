"""Checks that go wrong, for the tests of the self-test's runner; another process imports them from here."""

import os
import signal
import time

from sadp_dist.selftest.part import Skipped


def good(setting):
    return {"files": len(list(setting.folder.iterdir()))}


def bad(setting):
    raise ValueError("the\nscores differ")


def absent(setting):
    raise Skipped("ffcv is not installed")


def crashing(setting):
    setting.report({"accuracy": 0.5})
    os.kill(os.getpid(), signal.SIGSEGV)


def hanging(setting):
    setting.report({"epochs": 1})
    setting.report({"epochs": 2})
    time.sleep(600)


def punctual(setting):
    time.sleep(setting.seconds_left)
    return {"left": setting.seconds_left}

"""`forebay route`: learns a policy from a log of outcomes, and explains what it decides."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from gateway.commands.failure import EXIT_USAGE, fail
from router.after.signs import SmallAnswer, signs_of
from router.before.query import Query
from router.before.query_signs import query_signs
from router.errors import BadPolicy
from router.policy.learned import load

route_app = App(name="route", help="Learn which requests need the large model, and explain the decisions.")


@route_app.command
def train(
    log: Path,
    /,
    *,
    out: Path,
    quality: Annotated[float, Parameter(validator=Number(gt=0, lte=1))] = 0.95,
) -> None:
    """Learn a policy from the outcomes of two models.

    Says which signals beat a coin: the query alone, the small model's answer, or none. Needs the extra
    'semantic'.

    Parameters
    ----------
    log
        JSON Lines with prompt, weak_correct and strong_correct, and if known topic and weak_answer.
    out
        Where the policy is written.
    quality
        The share of the large model's quality that is to be kept.
    """
    if find_spec("numpy") is None:
        raise fail("learning needs numpy: pip install 'forebay[semantic]'", EXIT_USAGE)
    command = [sys.executable, "-m", "router.fit", str(log), "--out", str(out), "--quality", str(quality)]
    os.execv(command[0], command)


@route_app.command
def explain(
    prompt: str,
    /,
    *,
    policy: Path,
    topic: str | None = None,
    answer: str | None = None,
    finish_reason: Literal["stop", "length", "content_filter", "tool_calls"] | None = None,
) -> None:
    """Say what a policy decides for a request, and why.

    Parameters
    ----------
    prompt
        The text of the user's last message.
    policy
        A file that `forebay route train` has written.
    topic
        The topic under which the log has requests like this one.
    answer
        What the small model answered; without it the decision before any answer is explained.
    finish_reason
        Why the small model ended.
    """
    try:
        learned = load(policy)
    except BadPolicy as error:
        raise fail(str(error)) from None
    if answer is not None:
        decision = learned.after(signs_of(SmallAnswer(prompt, answer, finish_reason)))
    else:
        before = learned.before(Query(topic, query_signs(prompt)))
        if before is None:
            sys.stdout.write("small: its answer decides\n")
            return
        decision = before
    if 0 < decision.large < 1:
        tier = f"large with probability {decision.large:.2f}, else small"
    else:
        tier = "large" if decision.large else "small"
    sys.stdout.write(f"{tier}: {decision.reason}\n")

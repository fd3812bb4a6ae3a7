"""`forebay route`: learns a policy from a log of outcomes, and explains what it decides."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from gateway.commands.failure import EXIT_USAGE, errors_as_exit_status, fail
from gateway.config.load import load_config
from gateway.config.schema import OPEN_TENANT
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
    route: str | None = None,
    tenant: str = OPEN_TENANT,
    config: Path | None = None,
    policy: Path | None = None,
    topic: str | None = None,
    answer: Annotated[list[str] | None, Parameter(negative="")] = None,
    finish_reason: Literal["stop", "length", "content_filter", "tool_calls"] | None = None,
) -> None:
    """Say what a route, or a policy of `forebay route train`, decides for a request, and why.

    A route is explained from its stored outcomes: this works without a running gateway and changes nothing.

    Parameters
    ----------
    prompt
        The text of the user's last message.
    route
        The route's name in the configuration.
    tenant
        Whose outcomes count besides the route's.
    config
        Configuration file (default: forebay.yaml in the working directory, if there is one).
    policy
        Instead of a route, a file that `forebay route train` has written.
    topic
        The topic under which the policy's log has requests like this one.
    answer
        What the first model answered; again for the second one, and so on. Without it the decision before
        any answer is explained.
    finish_reason
        Why that model ended.
    """
    if (policy is None) == (route is None):
        raise fail("name either a --route or a --policy", EXIT_USAGE)
    if policy is not None:
        _explain_policy(policy, prompt, topic, None if answer is None else answer[0], finish_reason)
        return
    assert route is not None
    with errors_as_exit_status():
        # Imported here: it needs more than a command line that is only asked for help.
        from gateway.routing.explain import explain as ask

        line = ask(load_config(config), route, tenant, prompt, answer or [], finish_reason)
    sys.stdout.write(f"{line}\n")


def _explain_policy(
    policy: Path, prompt: str, topic: str | None, answer: str | None, finish_reason: str | None
) -> None:
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

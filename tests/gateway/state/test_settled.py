from __future__ import annotations

from gateway.state.settled import SettledRequest, SettledRequests, Timings


def record(request_id: str, tenant: str = "default") -> SettledRequest:
    return SettledRequest(
        id=request_id,
        created=0,
        endpoint="/v1/chat/completions",
        tenant=tenant,
        model="m",
        route=None,
        stream=False,
        status=200,
        error=None,
        attempts=0,
        usage=None,
        cost_usd=None,
        timings_ms=Timings(0, None, 0, 0),
        calls=[],
        trace_id=None,
    )


def test_the_oldest_request_makes_room() -> None:
    settled = SettledRequests(capacity=2)
    for request_id in ("a", "b", "c"):
        settled.add(record(request_id))
    assert settled.get("a") is None
    assert settled.get("b") is not None and settled.get("c") is not None


def test_one_tenants_requests_do_not_displace_anothers() -> None:
    settled = SettledRequests(capacity=10)
    settled.add(record("mine", "small"))
    for number in range(1000):
        settled.add(record(f"r{number}", "flood"))
    assert settled.get("mine") is not None and settled.get("r999") is not None
    assert len(settled) == 10

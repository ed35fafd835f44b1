"""MiniStack with FIFO receives as SQS documents them, on a faster HTTP server. GATEWAY_PORT says where on the loopback interface.

SQS "first attempts to return as many messages with the same message group ID as possible" (SQS developer guide, FIFO queue delivery
logic). MiniStack 1.5.33 returns the oldest available messages of all groups instead, so that with ten or more busy sessions a batch
holds one chunk of each, which no real queue would deliver. The version is pinned, and a test of the local stack holds the behaviour.

uvicorn with uvloop and httptools takes about a third of the processor time of MiniStack's own hypercorn, which twenty live sessions
would keep busy.
"""

import os

import ministack.services.sqs as sqs
import uvicorn
from ministack.app import app


def collect_fifo(queue: dict, count_max: int, visibility_timeout: int, now: float) -> list:
    """Takes up to count_max messages: group by group, the group with the oldest available message first."""
    for message in queue["messages"]:
        sqs._ensure_msg_fields(message)
    locked = {
        message["group_id"]
        for message in queue["messages"]
        if message["visible_at"] > now and message["receive_count"] > 0
    }
    groups: dict = {}
    for message in queue["messages"]:
        if message["visible_at"] <= now and message["group_id"] not in locked:
            groups.setdefault(message["group_id"], []).append(message)
    taken = [message for group in groups.values() for message in group][:count_max]
    for message in taken:
        message["receipt_handle"] = sqs.new_uuid()
        message["visible_at"] = now + visibility_timeout
        message["receive_count"] += 1
        if message.get("first_receive_at") is None:
            message["first_receive_at"] = now
    return taken


if not callable(getattr(sqs, "_collect_fifo", None)):
    raise SystemExit("scripts/run_ministack.py does not fit this version of MiniStack; see scripts/requirements-ministack.txt")
sqs._collect_fifo = collect_fifo


def record_what_is_not_emulated() -> None:
    """Lets CloudFormation take what MiniStack 1.5.33 has no handler for: it is recorded, and no more."""
    from ministack.core.responses import new_uuid
    from ministack.services.cloudformation.provisioners import _RESOURCE_HANDLERS

    recorded = {
        "create": lambda logical_id, props, stack_name: (new_uuid()[:8], {}),
        "delete": lambda physical_id, props: None,
    }
    alarms = _RESOURCE_HANDLERS["AWS::CloudWatch::Alarm"]

    def create_alarm(logical_id, props, stack_name):
        handler = recorded if "Metrics" in props else alarms  # it knows no metric math
        return handler["create"](logical_id, props, stack_name)

    _RESOURCE_HANDLERS["AWS::ApiGatewayV2::RouteResponse"] = recorded
    _RESOURCE_HANDLERS["AWS::Logs::QueryDefinition"] = recorded
    _RESOURCE_HANDLERS["AWS::CloudWatch::Alarm"] = {**alarms, "create": create_alarm}


def transform_nested_templates() -> None:
    """MiniStack 1.5.33 applies the transforms of a template (AWS::Serverless) only where it is not a nested stack's."""
    from ministack.services.cloudformation import engine

    parse = engine._parse_template  # nested stacks look it up when they are made; all else did when it was loaded
    engine._parse_template = lambda body: engine._apply_transforms(parse(body), [])


services = os.environ.get("SERVICES", "").split(",")
if services == [""] or "cloudformation" in services:
    record_what_is_not_emulated()
    transform_nested_templates()

if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(os.environ["GATEWAY_PORT"]),
        loop="uvloop",
        http="httptools",
        ws="none",
        log_level="warning",
        access_log=False,
        timeout_keep_alive=75,
    )

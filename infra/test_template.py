"""Holds infra/template.yaml to the code: numbers that depend on each other, variables, permissions, alarms and their runbook.

Run by `make test` (and by hand: .venv-lint/bin/python infra/test_template.py). What a binary reads and calls is taken from the binary itself: the
names of its variables and the operations of the AWS SDK that were linked into it (KVS_BIN_DIR, target/debug by default).
"""

import json
import os
import re
import subprocess
import sys
import unittest
from functools import cache
from pathlib import Path

import botocore.session
import yaml

ROOT = Path(__file__).resolve().parent.parent
BINARIES = Path(os.environ.get("KVS_BIN_DIR") or Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "debug")

# Function of the template: binary, role, statements' resources of each service that the binary may call.
FUNCTIONS = {
    "WriterFunction": ("kvs-stream-writer", "WriterRole"),
    "HandlerFunction": ("connection-handler", "HandlerRole"),
    "AuthorizerFunction": ("session-authorizer", "AuthorizerRole"),
    "SweepFunction": ("sweep", "SweepRole"),
}

# Operations of the SDK whose permission has another name, or several.
BATCHES = {
    "sqs:SendMessageBatch": {"sqs:SendMessage"},
    "sqs:DeleteMessageBatch": {"sqs:DeleteMessage"},
    "sqs:ChangeMessageVisibilityBatch": {"sqs:ChangeMessageVisibility"},
    "kinesisvideo:CreateStream": {"kinesisvideo:CreateStream", "kinesisvideo:TagStream"},  # with tags
}

# Allowed although the binary does not call it: somebody else does, in the role's name.
MAPPING = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
LOGS = {"logs:CreateLogStream", "logs:PutLogEvents"}
TRACE = {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}  # where Tracing is Active
KEY = {"kms:Decrypt", "kms:GenerateDataKey", "kms:Encrypt", "kms:DescribeKey"}  # SQS, DynamoDB and Kinesis Video, where KeyArn is given

# The sweep reads its settings with the writer's reader, which looks at these too; it uses none of them.
READ_BUT_NOT_USED = {"sweep": {"EVENT_BUS", "KVS_KMS_KEY", "KVS_RETENTION_HOURS", "PUT_MEDIA_PAYLOAD"}}


class Cfn(yaml.SafeLoader):
    """YAML with CloudFormation's short forms, as the long forms."""


def _short_form(loader, suffix, node):
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        return {name: value.split(".", 1) if suffix == "GetAtt" else value}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    return {name: loader.construct_mapping(node, deep=True)}


Cfn.add_multi_constructor("!", _short_form)


@cache
def template() -> dict:
    return yaml.load((ROOT / "infra/template.yaml").read_text(), Cfn)


def resources(kind: str) -> dict:
    return {name: r["Properties"] for name, r in template()["Resources"].items() if r["Type"] == kind}


def properties(name: str) -> dict:
    return template()["Resources"][name]["Properties"]


def as_list(value) -> list:
    return value if isinstance(value, list) else [value]


def statements(document: dict) -> list[dict]:
    """All of them, those under a condition included."""
    found = []
    for statement in document["Statement"]:
        chosen = statement.get("Fn::If", [None, statement])[1:]
        found += [s for s in chosen if "Action" in s]
    return found


def policies() -> dict[str, dict]:
    roles = {name: role["Policies"][0]["PolicyDocument"] for name, role in resources("AWS::IAM::Role").items()}
    return roles | {name: p["PolicyDocument"] for name, p in resources("AWS::IAM::ManagedPolicy").items()}


def actions(policy: str) -> set[str]:
    return {action for s in statements(policies()[policy]) for action in as_list(s["Action"])}


@cache
def content(binary: str) -> str:
    return (BINARIES / binary).read_bytes().decode("latin-1")


@cache
def operations(service: str) -> list[str]:
    """Longest first: beside a name in a binary lie the letters of whatever is next to it."""
    return sorted(botocore.session.get_session().get_service_model(service).operation_names, key=len, reverse=True)


def calls(binary: str) -> set[str]:
    """Permissions for the operations that the SDK, or PutMedia's own client, makes in this binary."""
    # The SDK's name of the service before the operation in its spans, its model's name, its permissions' prefix.
    services = [
        ("SQS", "sqs", "sqs"),
        ("DynamoDB", "dynamodb", "dynamodb"),
        ("DynamoDB_20120810", "dynamodb", "dynamodb"),
        ("AmazonSQS", "sqs", "sqs"),
        ("EventBridge", "events", "events"),
        ("Kinesis Video", "kinesisvideo", "kinesisvideo"),
        ("Kinesis Video Archived Media", "kinesis-video-archived-media", "kinesisvideo"),
        ("Kinesis Video Media", "kinesis-video-media", "kinesisvideo"),
    ]
    made = set()
    for spoken, model, prefix in services:
        # Looks ahead only: one name may follow another without a gap.
        for text in re.findall(rf"{re.escape(spoken)}\.(?=([A-Z][A-Za-z]+))", content(binary)):
            name = next((o for o in operations(model) if text.startswith(o)), None)
            made |= {f"{prefix}:{name}"} if name else set()
    if "/putMedia" in content(binary):
        made.add("kinesisvideo:PutMedia")
    return {permission for call in made for permission in BATCHES.get(call, {call})}


class Queues(unittest.TestCase):
    def test_a_dead_writers_batch_comes_back_only_after_its_last_call_is_over(self):
        visibility = properties("ChunkQueue")["VisibilityTimeout"]
        self.assertGreaterEqual(visibility, 5 + properties("WriterFunction")["Timeout"])
        self.assertLessEqual(visibility, 16, "a dead worker would delay its sessions by over 20 s")

    def test_parked_audio_keeps_its_order_and_outlives_the_queue(self):
        queue, dlq = properties("ChunkQueue"), properties("DeadLetterQueue")
        self.assertTrue(queue["FifoQueue"] and dlq["FifoQueue"])
        self.assertEqual(dlq["MessageRetentionPeriod"], 14 * 24 * 3600)
        self.assertLess(queue["MessageRetentionPeriod"], dlq["MessageRetentionPeriod"])
        self.assertGreaterEqual(dlq["MaximumMessageSize"], queue["MaximumMessageSize"])

    def test_what_is_kept_is_found_again_by_the_stacks_name_and_not_left_behind_by_a_failed_creation(self):
        kept = {"DeadLetterQueue": "QueueName", "StateTable": "TableName", "SessionsTable": "TableName"}
        for name, field in kept.items():
            resource = template()["Resources"][name]
            self.assertEqual((resource["DeletionPolicy"], resource["UpdateReplacePolicy"]), ("RetainExceptOnCreate", "Retain"), name)
            # scripts/lib.sh looks for these names, and for no others
            fixed = resource["Properties"][field]["Fn::Sub"].removeprefix("${AWS::StackName}")
            self.assertIn(f'"$1{fixed}"', (ROOT / "scripts/lib.sh").read_text(), name)
        policies = {r.get("DeletionPolicy") for name, r in template()["Resources"].items() if name not in kept}
        self.assertLessEqual(policies, {None, "Delete"}, "a teardown would leave this behind for ever")

    def test_both_queues_are_made_for_a_thousand_sessions(self):
        for name in ("ChunkQueue", "DeadLetterQueue"):
            queue = properties(name)
            self.assertEqual(queue["DeduplicationScope"], "messageGroup", name)
            self.assertEqual(queue["FifoThroughputLimit"], "perMessageGroupId", name)
            self.assertFalse(queue["ContentBasedDeduplication"], name)

    def test_only_the_chunk_queue_may_use_the_dead_letter_queue(self):
        allow = properties("DeadLetterQueue")["RedriveAllowPolicy"]
        self.assertEqual(allow["redrivePermission"], "byQueue")
        name = properties("ChunkQueue")["QueueName"]["Fn::Sub"]
        self.assertTrue(allow["sourceQueueArns"][0]["Fn::Sub"].endswith(":" + name))
        target = properties("ChunkQueue")["RedrivePolicy"]
        self.assertEqual(target["deadLetterTargetArn"], {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]})

    def test_deferrals_do_not_spend_the_retry_budget(self):
        self.assertGreaterEqual(properties("ChunkQueue")["RedrivePolicy"]["maxReceiveCount"], 100)

    def test_a_failed_session_does_not_bring_back_the_others_of_its_batch(self):
        mapping = properties("WriterFunction")["Events"]["Chunks"]["Properties"]
        self.assertEqual(mapping["FunctionResponseTypes"], ["ReportBatchItemFailures"])
        self.assertEqual(mapping["BatchSize"], 10)
        self.assertNotIn("MaximumBatchingWindowInSeconds", mapping, "a FIFO mapping refuses it")


class Functions(unittest.TestCase):
    def test_each_variable_that_the_code_reads_is_set_and_no_other(self):
        declared = r'pub const ([A-Z_]+): &str = "\1"'
        sources = [path.read_text() for path in (ROOT / "worker").rglob("*.rs")]
        names = {name for source in sources for name in re.findall(declared, source)}
        self.assertIn("QUEUE_URL", names)
        for function, (binary, _) in FUNCTIONS.items():
            read = {name for name in names if name in content(binary)} - READ_BUT_NOT_USED.get(binary, set())
            given = set(properties(function)["Environment"]["Variables"])
            self.assertEqual(given, read, f"{function}: set in the template, read by {binary}")

    def test_a_new_account_with_its_concurrency_of_ten_can_be_deployed_to(self):
        for function in FUNCTIONS:
            reserved = properties(function).get("ReservedConcurrentExecutions", {"Fn::If": ["", {"Ref": None}, {"Ref": "AWS::NoValue"}]})
            condition, chosen, otherwise = reserved["Fn::If"]
            self.assertEqual(otherwise, {"Ref": "AWS::NoValue"}, function)
            if chosen["Ref"]:
                self.assertEqual(template()["Parameters"][chosen["Ref"]]["Default"], 0, function)
                self.assertEqual(template()["Conditions"][condition], {"Fn::Not": [{"Fn::Equals": [chosen, 0]}]})

    def test_two_sweeps_never_run_at_once(self):
        least = template()["Parameters"]["SweepEveryMinutes"]["MinValue"]
        self.assertGreaterEqual(least * 60, properties("SweepFunction")["Timeout"])

    def test_every_function_logs_into_a_group_whose_retention_is_ours(self):
        for function in FUNCTIONS:
            group = properties(function)["LoggingConfig"]["LogGroup"]["Ref"]
            self.assertEqual(properties(group)["RetentionInDays"], {"Ref": "LogRetentionDays"})
        self.assertEqual(template()["Globals"]["Function"]["LoggingConfig"]["LogFormat"], "JSON")

    def test_metrics_are_not_filtered_away_with_the_log(self):
        allowed = template()["Parameters"]["LogLevel"]["AllowedValues"]
        self.assertLessEqual(set(allowed), {"TRACE", "DEBUG", "INFO"}, "event lines are INFO")

    def test_time_outs_fit_into_what_waits_for_them(self):
        self.assertLess(properties("HandlerFunction")["Timeout"] * 1000, properties("HandlerIntegration")["TimeoutInMillis"])
        self.assertLess(properties("HandlerIntegration")["TimeoutInMillis"], 29_000)
        self.assertLess(properties("AuthorizerFunction")["Timeout"], 10)

    def test_everybody_who_connects_is_authorized(self):
        connect = properties("ConnectRoute")
        self.assertEqual((connect["AuthorizationType"], connect["AuthorizerId"]), ("CUSTOM", {"Ref": "Authorizer"}))


class Routes(unittest.TestCase):
    def test_each_action_that_the_handler_knows_has_a_route_that_answers(self):
        source = (ROOT / "worker/functions/src/connection/message.rs").read_text()
        known = re.findall(r'^        "(\w+)" => ', source, re.MULTILINE)
        routes = {r["RouteKey"]: name for name, r in resources("AWS::ApiGatewayV2::Route").items()}
        self.assertEqual(set(known) | {"$connect", "$disconnect", "$default"}, set(routes))
        answering = {r["RouteId"]["Ref"] for r in resources("AWS::ApiGatewayV2::RouteResponse").values()}
        after = set(template()["Resources"]["LiveStage"]["DependsOn"])
        for action in [*known, "$default"]:
            self.assertIn(routes[action], answering & after, f"the page gets no answer to {action}")
            self.assertEqual(properties(routes[action])["RouteResponseSelectionExpression"], "$default", action)


class Permissions(unittest.TestCase):
    def test_every_call_that_a_binary_makes_is_allowed_and_nothing_more(self):
        for function, (binary, role) in FUNCTIONS.items():
            made = calls(binary)
            others = LOGS | TRACE | (MAPPING if "Events" in properties(function) and binary != "sweep" else set())
            others |= KEY if any(call.startswith(("sqs:", "dynamodb:")) for call in made) else set()
            print(f"{binary} calls {', '.join(sorted(made)) or 'nothing'}", file=sys.stderr)
            self.assertEqual(actions(role), made | others, f"{role}: allowed, called by {binary}")

    def test_a_page_learns_of_its_session_by_a_read_and_the_handler_changes_no_state(self):
        state = {"Fn::GetAtt": ["StateTable", "Arn"]}
        rights = {a for s in statements(policies()["HandlerRole"]) if s["Resource"] == state for a in as_list(s["Action"])}
        self.assertEqual(rights, {"dynamodb:GetItem"})

    def test_those_who_look_and_those_who_repair_may_do_what_the_runbook_has_them_do_and_nothing_more(self):
        # The doctor signs its one question to Lambda, and that to IAM, by hand; DeleteItem and PutItem are what BatchWriteItem asks for.
        doctor = {"lambda:ListEventSourceMappings", "lambda:GetFunctionConfiguration", "iam:SimulatePrincipalPolicy"}
        source = (ROOT / "worker/kvsw/src/doctor/lambda.rs").read_text()
        for permission in doctor:
            name = permission.split(":")[1].removeprefix("List").removeprefix("Get")
            self.assertTrue(name[:18].lower() in source.lower().replace("-", ""), f"the doctor does not ask {permission}")
        written = {"dynamodb:PutItem", "dynamodb:DeleteItem"}
        console = {"logs:StartQuery", "logs:GetQueryResults", "logs:DescribeQueryDefinitions"} | {
            "cloudwatch:GetMetricData", "cloudwatch:GetDashboard", "cloudwatch:DescribeAlarms"
        }
        by_hand = runbooks_own_calls()
        self.assertIn("cloudformation:DescribeStacks", by_hand)
        needed = calls("kvsw") | doctor | written | console | by_hand | KEY
        everybody = actions("ReadOnlyPolicy") | actions("OperatorPolicy") | actions("ErasurePolicy")
        self.assertEqual(everybody, needed, "allowed, needed by kvsw and the runbook")

    def test_each_command_of_kvsw_is_allowed_by_the_policies_that_the_runbook_names(self):
        rows = re.findall(r"^\| (`[^|]+) \| ([^|]+) \| (read|repair|erase) \|$", runbook(), re.MULTILINE)
        self.assertGreaterEqual(len(rows), 7)
        named = set()
        for command, cell, policy in rows:
            needed = permissions(cell)
            named |= needed
            beside = {"read": set(), "repair": actions("OperatorPolicy"), "erase": actions("ErasurePolicy")}[policy]
            self.assertLessEqual(needed, actions("ReadOnlyPolicy") | beside, command)
            if policy != "read":
                self.assertFalse(needed <= actions("ReadOnlyPolicy"), f"{command} needs nothing of the {policy} policy")
        self.assertLessEqual(calls("kvsw"), named, "kvsw calls what the runbook's table does not name")

    def test_the_managed_policies_fit_into_what_iam_takes(self):
        for policy in resources("AWS::IAM::ManagedPolicy"):
            document = concrete({**policies()[policy], "Statement": statements(policies()[policy])})
            size = len(json.dumps(document, separators=(",", ":")))
            names = 6 * len(document["Statement"]) * len("kvs-stream-writer-staging")  # longer than the names above
            self.assertLessEqual(size + names, 6_144, policy)

    def test_who_only_looks_changes_nothing(self):
        harmless = r":(Get|BatchGet|List|Describe|Query|Scan|Filter|Simulate|Receive|ChangeMessageVisibility|StartQuery)"
        for action in actions("ReadOnlyPolicy") - KEY:
            self.assertRegex(action, harmless)

    def test_the_deployers_sample_policy_reaches_each_service_that_the_template_uses(self):
        policy = json.loads((ROOT / "infra/deployer-policy.json").read_text())
        services = {action.split(":")[0] for s in policy["Statement"] for action in as_list(s["Action"])}
        used = {r["Type"].split("::")[1].lower() for r in template()["Resources"].values()}
        names = {"serverless": "lambda", "apigatewayv2": "apigateway"}
        self.assertLessEqual({names.get(service, service) for service in used} | {"s3", "cloudformation", "events"}, services)
        for statement in policy["Statement"]:
            if any(action.startswith("iam:") for action in as_list(statement["Action"])):
                for resource in as_list(statement["Resource"]):
                    self.assertIn("/kvs-stream-writer-", resource, "a deployer must not make roles for others")

    def test_no_action_is_a_wildcard_and_a_resource_only_where_it_must_be(self):
        without_resources = TRACE | {
            "kinesisvideo:ListStreams", "lambda:ListEventSourceMappings", "logs:GetQueryResults", "logs:DescribeQueryDefinitions",
            "cloudwatch:GetMetricData",
        }
        for policy, document in policies().items():
            for statement in statements(document):
                self.assertEqual(statement["Effect"], "Allow")
                for action in as_list(statement["Action"]):
                    self.assertNotIn("*", action, policy)
                if "*" in as_list(statement["Resource"]):
                    self.assertLessEqual(set(as_list(statement["Action"])), without_resources, policy)

    def test_streams_of_others_are_out_of_reach(self):
        for policy, document in policies().items():
            for statement in statements(document):
                if any(a.startswith("kinesisvideo:") and a != "kinesisvideo:ListStreams" for a in as_list(statement["Action"])):
                    self.assertTrue(statement["Resource"]["Fn::Sub"].endswith(":stream/session-*/*"), policy)

    def test_a_policy_checker_finds_nothing(self):
        for policy, document in policies().items():
            with self.subTest(policy):
                text = json.dumps(concrete({**document, "Statement": statements(document)}))
                checked = subprocess.run(
                    [Path(sys.executable).with_name("parliament"), "--string", text], capture_output=True, text=True
                )
                # Its list of actions gives GetQueryResults a log group; the service asks for the permission without one.
                found = [line for line in checked.stdout.splitlines() if "['logs:GetQueryResults']" not in line]
                self.assertEqual(found, [], f"{policy}: {checked.stderr[-500:]}")
                self.assertIn(checked.returncode, (0, 1), checked.stderr[-500:])


@cache
def runbook() -> str:
    return (ROOT / "docs/runbook.md").read_text()


def permissions(cell: str) -> set[str]:
    """The actions of a cell of the runbook's table: `dynamodb:GetItem`, `Query` are two of DynamoDB."""
    found, service = set(), ""
    for name in re.findall(r"`((?:[a-z0-9]+:)?[A-Z]\w+)`", cell):
        service = name.split(":")[0] if ":" in name else service
        found.add(f"{service}:{name.split(':')[-1]}")
    return found


def runbooks_own_calls() -> set[str]:
    """Permissions for the command lines that the runbook shows, and for those in the scripts that it calls."""
    scripts = ["lib.sh", "kvsw-env.sh", "tail-lambda-logs.sh"]
    shown = "".join((ROOT / "scripts" / name).read_text() for name in scripts) + runbook()
    calls = re.findall(r"\baws ([a-z]+) ([a-z-]+-[a-z-]+)", shown)
    calls += re.findall(r'\["(logs)", "([a-z-]+)"', (ROOT / "scripts/tail_log.py").read_text())
    kept = {("sqs", "get-queue-url"), ("dynamodb", "describe-table")}  # lib.sh asks these for deploy.sh and teardown.sh
    camel = lambda name: "".join(part.capitalize() for part in name.split("-"))
    return {f"{service}:{camel(name)}" for service, name in calls if (service, name) not in kept}


def concrete(value):
    """The document with ARNs of an account in the place of references, as a policy checker wants it."""
    arns = {
        "ChunkQueue": "arn:aws:sqs:eu-central-1:123456789012:s-chunks.fifo",
        "DeadLetterQueue": "arn:aws:sqs:eu-central-1:123456789012:s-chunks-dlq.fifo",
        "KeyArn": "arn:aws:kms:eu-central-1:123456789012:key/1",
    }
    if isinstance(value, list):
        return [concrete(v) for v in value]
    if not isinstance(value, dict):
        return value
    if "Fn::If" in value:
        return concrete(value["Fn::If"][1])
    if "Ref" in value:
        return {"AWS::StackId": "arn:aws:cloudformation:eu-central-1:123456789012:stack/s/1", **arns}[value["Ref"]]
    if "Fn::Sub" in value:
        names = {"AWS::Partition": "aws", "AWS::Region": "eu-central-1", "AWS::AccountId": "123456789012"}
        return re.sub(r"\$\{([^}]+)\}", lambda m: names.get(m[1], "s"), value["Fn::Sub"])
    if "Fn::GetAtt" in value:
        name = value["Fn::GetAtt"][0]
        kind = template()["Resources"][name]["Type"]
        by_kind = {
            "AWS::DynamoDB::Table": f"arn:aws:dynamodb:eu-central-1:123456789012:table/{name}",
            "AWS::Logs::LogGroup": f"arn:aws:logs:eu-central-1:123456789012:log-group:{name}:*",
            "AWS::Serverless::Function": f"arn:aws:lambda:eu-central-1:123456789012:function:{name}",
            "AWS::IAM::Role": f"arn:aws:iam::123456789012:role/{name}",
        }
        return arns.get(name) or by_kind[kind]
    return {key: concrete(v) for key, v in value.items()}


def queries() -> list[tuple[str, dict]]:
    """Each alarm's metrics, by the alarm."""
    found = []
    for name, alarm in resources("AWS::CloudWatch::Alarm").items():
        metrics = [q["MetricStat"]["Metric"] for q in alarm.get("Metrics", []) if "MetricStat" in q] or [alarm]
        found += [(name, metric) for metric in metrics]
    return found


class Watching(unittest.TestCase):
    def headings(self) -> set[str]:
        lines = runbook().splitlines()
        titles = [line.lstrip("#").strip().lower() for line in lines if line.startswith("#")]
        return {re.sub(r"[^a-z0-9 -]", "", title).replace(" ", "-") for title in titles}

    def test_each_alarm_leads_to_its_section_of_the_runbook(self):
        alarms = resources("AWS::CloudWatch::Alarm")
        self.assertGreaterEqual(len(alarms), 12)
        for name, alarm in alarms.items():
            text, link = alarm["AlarmDescription"]["Fn::Sub"].split(" ${RunbookUrl}#")
            self.assertTrue(text.endswith("."), name)
            self.assertIn(link, self.headings(), f"{name}: docs/runbook.md has no such section")
            self.assertEqual(alarm["AlarmActions"]["Fn::If"][0], "HasAlarmTopic", name)

    def test_each_metric_that_is_watched_is_this_stacks_own(self):
        own = {"Name": "stack", "Value": {"Ref": "AWS::StackName"}}
        for name, query in queries():
            self.assertIn("Dimensions", query, f"{name}: a second deployment in the account would ring it")
            if query["Namespace"] == "KvsStreamWriter":
                self.assertEqual(query["Dimensions"][0], own, name)
        for widget in json.loads(properties("Dashboard")["DashboardBody"]["Fn::Sub"])["widgets"]:
            for metric in widget["properties"]["metrics"]:
                if metric[0] == "KvsStreamWriter":
                    self.assertEqual(metric[2:4], ["stack", "${AWS::StackName}"], widget["properties"]["title"])
        for name, query in resources("AWS::Logs::QueryDefinition").items():
            self.assertTrue(query["Name"]["Fn::Sub"].startswith("${AWS::StackName}/"), name)
            self.assertTrue(all("Ref" in group for group in query["LogGroupNames"]), name)

    def test_metric_math_is_right_where_nothing_was_reported(self):
        for name, alarm in resources("AWS::CloudWatch::Alarm").items():
            for query in alarm.get("Metrics", []):
                for operand in set(re.findall(r"\b(?:writer|handler|authorizer|sweep|parked|fragments|execution|integration|client)\b", str(query.get("Expression", "")))):
                    self.assertIn(f"FILL({operand}, 0)", query["Expression"], f"{name}: without a value there is no sum")

    def test_each_metric_that_is_watched_is_one_that_the_code_reports(self):
        sources = "".join(path.read_text() for path in (ROOT / "worker").rglob("*.rs"))
        namespace = re.search(r'NAMESPACE: &str = "(\w+)"', sources)[1]
        watched = set()
        watched |= {query["MetricName"] for _, query in queries() if query["Namespace"] == namespace}
        body = json.loads(properties("Dashboard")["DashboardBody"]["Fn::Sub"])
        for widget in body["widgets"]:
            watched |= {m[1] for m in widget["properties"]["metrics"] if m[0] == namespace}
        self.assertGreater(len(watched), 12)
        for metric in watched:
            # An event's field is a struct field in the code and a metric by serde's camelCase.
            self.assertIn(f'"{metric}"', sources, f"nothing reports {metric}")

    def test_what_is_behind_an_alarm_on_a_class_is_a_class_that_exists(self):
        folders = [ROOT / "worker/ingest/src", ROOT / "worker/writer/src"]
        sources = "".join(path.read_text() for folder in folders for path in folder.rglob("*.rs"))
        for name, alarm in resources("AWS::CloudWatch::Alarm").items():
            for dimension in alarm.get("Dimensions", []):
                if dimension["Name"] == "class":
                    self.assertIn(f'"{dimension["Value"]}"', sources, name)


class Parameters(unittest.TestCase):
    def test_each_parameter_is_described_and_bounded(self):
        for name, parameter in template()["Parameters"].items():
            self.assertIn("Description", parameter, name)
            bounds = {"AllowedPattern", "AllowedValues", "MaxLength", "MaxValue"}
            self.assertTrue(bounds & set(parameter), f"{name} has no bounds")
            if parameter["Type"] == "Number" and "AllowedValues" not in parameter:
                self.assertIn("MinValue", parameter, name)

    def test_the_template_fits_into_what_cloudformation_takes_from_a_bucket(self):
        # Above 51,200 bytes CloudFormation takes no template in the request itself; scripts/deploy.sh puts it into the code's bucket.
        self.assertLessEqual((ROOT / "infra/template.yaml").stat().st_size, 1_000_000)
        self.assertIn('--s3-bucket "$bucket"', (ROOT / "scripts/deploy.sh").read_text())

    def test_each_line_of_a_params_file_is_a_parameter_that_its_bounds_allow(self):
        parameters = template()["Parameters"]
        for path in (ROOT / "infra").glob("*.params"):
            pairs = [line.lstrip("#").split("=", 1) for line in path.read_text().splitlines() if re.match(r"#?\w+=", line)]
            self.assertIn("AlarmEmail", dict(pairs), f"{path.name} does not say who is told of alarms")
            for name, value in pairs:
                self.assertRegex(value, parameters[name].get("AllowedPattern", "."), f"{path.name}: {name}")


if __name__ == "__main__":
    unittest.main(verbosity=1)

"""Writes the change set with which a new stack takes in what an older one of its name has left behind; scripts/deploy.sh calls it.

usage: adopt.py TEMPLATE STACK LOGICAL=IDENTIFIER... [-- PARAMETER=VALUE...]

An import may do nothing but import, so its template is the part of TEMPLATE that describes these resources, word for word: the full
template afterwards finds nothing to change in them. What it prints is --cli-input-json of create-change-set.
"""

import json
import re
import sys

# What each type is found by.
IDENTIFIERS = {"AWS::SQS::Queue": "QueueUrl", "AWS::DynamoDB::Table": "TableName"}


def blocks(text: str, indent: str) -> dict[str, str]:
    """The entries of a mapping that stand at this indentation, by name."""
    parts = re.split(rf"(?m)^{indent}(?=[A-Za-z]\w*:)", text)
    return {part.split(":", 1)[0]: indent + part for part in parts[1:]}


def import_template(template: str, logical: list[str]) -> tuple[str, dict[str, str]]:
    """The part of the template that describes these resources, and their types."""
    sections = blocks(template, "")
    resources = blocks(sections["Resources"], "  ")
    kept = [re.sub(r"(?m)^ *#.*\n", "", resources[name]) for name in logical]
    kinds = {name: re.search(r"Type: (\S+)", text)[1] for name, text in zip(logical, kept)}
    head = sections["AWSTemplateFormatVersion"] + sections["Parameters"] + sections["Conditions"]
    return head + "Resources:\n" + "".join(kept), kinds


def main() -> None:
    path, stack, *rest = sys.argv[1:]
    end = rest.index("--") if "--" in rest else len(rest)
    found = dict(pair.split("=", 1) for pair in rest[:end])
    given = dict(pair.split("=", 1) for pair in rest[end + 1 :])
    body, kinds = import_template(open(path).read(), list(found))
    change_set = {
        "StackName": stack,
        "ChangeSetName": "take-in-what-was-kept",
        "ChangeSetType": "IMPORT",
        "TemplateBody": body,
        "Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()],
        "ResourcesToImport": [
            {"ResourceType": kinds[name], "LogicalResourceId": name, "ResourceIdentifier": {IDENTIFIERS[kinds[name]]: value}}
            for name, value in found.items()
        ],
    }
    print(json.dumps(change_set))


if __name__ == "__main__":
    main()

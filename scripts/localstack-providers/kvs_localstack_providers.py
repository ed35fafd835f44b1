"""DynamoDB for LocalStack in host mode, served by moto.

LocalStack's own DynamoDB provider starts DynamoDB Local, a Java program that it downloads. This one needs neither Java nor the
download. It is found by its entry point (the .dist-info folder beside this file) when this folder is on PYTHONPATH, and chosen by
PROVIDER_OVERRIDE_DYNAMODB=moto.
"""

from localstack.services.plugins import Service, aws_provider


@aws_provider(api="dynamodb", name="moto")
def dynamodb():
    from localstack.aws.api.dynamodb import DynamodbApi
    from localstack.services.moto import MotoFallbackDispatcher

    class MotoDynamoDb(DynamodbApi):
        """Implements nothing itself: every operation falls through to moto."""

    return Service.for_provider(MotoDynamoDb(), dispatch_table_factory=MotoFallbackDispatcher)

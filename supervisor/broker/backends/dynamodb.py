"""RecordTable on DynamoDB: a change becomes one UpdateItem with a condition.

Every attribute name is aliased (`status` and `language` are reserved words). Floats are written as Decimals
and read as plain numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Optional, Union

import botocore.exceptions
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from supervisor.broker.backends.aws_errors import code_of, translated
from supervisor.broker.backends.service_clock import ServiceClock
from supervisor.broker.ports.errors import Misconfigured, necessary
from supervisor.broker.ports.ports import (
    Above,
    AllOf,
    AnyOf,
    Applied,
    Below,
    Change,
    Condition,
    Equals,
    Item,
    Missing,
    Present,
    RecordKey,
    Refused,
)
from supervisor.broker.ports.rem_table import PARTITION_KEY, SORT_KEY, key_attributes
from supervisor.contract import clock

_PROBE = RecordKey("rem-supervisor-check", "rem-supervisor-check")  # ids that no recording has
_REFUSED = "ConditionalCheckFailedException"
_WRITER = TypeSerializer()
_READER = TypeDeserializer()


class DynamoRecords:
    """REM's table, through one boto3 client."""

    def __init__(self, client: Any, table: str, service_clock: Optional[ServiceClock] = None) -> None:
        self._client = client
        self._table = table
        self._clock = service_clock or ServiceClock()

    def unix_s(self) -> float:
        return self._clock.unix_s()

    def get(self, key: RecordKey) -> Optional[Item]:
        asked_at_s = clock.now_s()
        with self._asking("get", "dynamodb:GetItem"):
            answer = self._client.get_item(TableName=self._table, Key=_key(key), ConsistentRead=True)
        self._learn_time(answer, asked_at_s)
        return _read_item(answer["Item"]) if "Item" in answer else None

    def update(self, key: RecordKey, change: Change) -> Union[Applied, Refused]:
        asked, asked_at_s = Expression(change), clock.now_s()
        with self._asking("update", "dynamodb:UpdateItem"):
            try:
                answer = self._client.update_item(
                    TableName=self._table,
                    Key=_key(key),
                    **asked.arguments(),
                    ReturnValues="ALL_NEW",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except botocore.exceptions.ClientError as error:
                self._learn_time(error.response, asked_at_s)
                if code_of(error) != _REFUSED:
                    raise
                return Refused(_read_item(error.response.get("Item", {})))
        self._learn_time(answer, asked_at_s)
        return Applied(_read_item(answer["Attributes"]))

    def prove(self) -> None:
        """Check that this is REM's table and that we may use it, without changes. Raises Misconfigured."""
        self.get(_PROBE)
        # A condition that never holds tests the permission to update without changing anything.
        self.update(_PROBE, Change(Equals("remToken", _PROBE.user_id), put={"remState": _PROBE.user_id}))

    @contextmanager
    def _asking(self, doing: str, right: str) -> Iterator[None]:
        with necessary(right), translated("table", doing, self._table):
            try:
                yield
            except botocore.exceptions.ClientError as error:
                if _is_about_keys(error):
                    raise Misconfigured("table", self._wrong_keys()) from error
                raise

    def _wrong_keys(self) -> str:
        """Return which keys the table has, if the role may describe it, and which are needed."""
        try:
            found = self._client.describe_table(TableName=self._table)["Table"]["KeySchema"]
            has = "has the keys " + " and ".join(str(key["AttributeName"]) for key in found)
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError, KeyError, TypeError):
            has = "has other keys"  # REM's own role may not describe tables
        wants = f"rem-supervisor needs {PARTITION_KEY} and {SORT_KEY} (both strings)"
        return f"table {self._table} {has}; {wants}. Set DYNAMODB_TABLE to REM's table."

    def _learn_time(self, answer: Any, asked_at_s: float) -> None:
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        self._clock.learn(str(headers.get("date", "")), asked_at_s, clock.now_s())


class Expression:
    """A change as DynamoDB expressions, with the aliases of names and values."""

    def __init__(self, change: Change) -> None:
        self._names: dict[str, str] = {}
        self._values: dict[str, Any] = {}
        self._condition = self._condition_text(change.condition)
        self._update = self._update_text(change)

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of UpdateItem."""
        found: dict[str, Any] = {
            "UpdateExpression": self._update,
            "ConditionExpression": self._condition,
            "ExpressionAttributeNames": {alias: name for name, alias in self._names.items()},
        }
        if self._values:
            found["ExpressionAttributeValues"] = self._values
        return found

    def _update_text(self, change: Change) -> str:
        puts = [f"{self._name(name)} = {self._value(value)}" for name, value in change.put.items()]
        puts += [
            f"{self._name(name)} = if_not_exists({self._name(name)}, {self._value(value)})"
            for name, value in change.put_if_missing.items()
            if name not in change.put
        ]
        adds = [f"{self._name(name)} {self._value(by)}" for name, by in change.increment.items()]
        removes = [self._name(name) for name in change.remove]
        clauses = (("SET", puts), ("ADD", adds), ("REMOVE", removes))
        return " ".join(f"{verb} {', '.join(parts)}" for verb, parts in clauses if parts)

    def _condition_text(self, condition: Condition) -> str:
        if isinstance(condition, Missing):
            return f"attribute_not_exists({self._name(condition.name)})"
        if isinstance(condition, Present):
            return f"attribute_exists({self._name(condition.name)})"
        if isinstance(condition, Equals):
            return f"{self._name(condition.name)} = {self._value(condition.value)}"
        if isinstance(condition, Below):
            return f"{self._name(condition.name)} < {self._value(condition.number)}"
        if isinstance(condition, Above):
            return f"{self._name(condition.name)} > {self._value(condition.number)}"
        if isinstance(condition, (AllOf, AnyOf)):
            word = " AND " if isinstance(condition, AllOf) else " OR "
            return word.join(f"({self._condition_text(part)})" for part in condition.parts)
        raise TypeError(f"no such condition: {condition!r}")

    def _name(self, name: str) -> str:
        return self._names.setdefault(name, f"#n{len(self._names)}")

    def _value(self, value: Any) -> str:
        alias = f":v{len(self._values)}"
        self._values[alias] = _WRITER.serialize(_written(value))
        return alias


def _key(key: RecordKey) -> dict[str, Any]:
    return {name: {"S": value} for name, value in key_attributes(key).items()}


def _is_about_keys(error: botocore.exceptions.ClientError) -> bool:
    """Return whether DynamoDB rejected our key because the table has other keys.

    Only the message shows that: "The provided key element does not match the schema", "The number of
    conditions on the keys is invalid", "Type mismatch for key". An "Index Key" is about the item.
    """
    message = str(error.response.get("Error", {}).get("Message", "")).lower()
    return code_of(error) == "ValidationException" and bool(re.search(r"(?<!index )\bkeys?\b", message))


def _read_item(attributes: Any) -> Item:
    return {name: _read(_READER.deserialize(value)) for name, value in attributes.items()}


def _written(value: Any) -> Any:
    if isinstance(value, float):
        return Decimal(str(value))
    if isinstance(value, dict):
        return {name: _written(item) for name, item in value.items()}
    return value


def _read(value: Any) -> Any:
    """Convert numbers to Python's; other services' sets, lists and bytes are returned unchanged."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {name: _read(item) for name, item in value.items()}
    return value

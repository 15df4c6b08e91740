"""Conditions and changes of records, and how they apply to an item. PURE.

The SQLite backend uses this inside its transaction. DynamoDB gets the same conditions as expressions
(`dynamodb.py`), and one test suite compares the two.
"""

from __future__ import annotations

from supervisor.broker.ports.ports import (
    Above,
    AllOf,
    AnyOf,
    Below,
    Change,
    Condition,
    Equals,
    Item,
    Missing,
    Present,
)


def holds(condition: Condition, item: Item) -> bool:
    """Return whether the condition holds for the item; a missing record is an empty item."""
    if isinstance(condition, Missing):
        return condition.name not in item
    if isinstance(condition, Present):
        return condition.name in item
    if isinstance(condition, Equals):
        return condition.name in item and bool(item[condition.name] == condition.value)
    if isinstance(condition, (Below, Above)):
        return _compares(condition, item.get(condition.name))
    if isinstance(condition, AllOf):
        return all(holds(part, item) for part in condition.parts)
    if isinstance(condition, AnyOf):
        return any(holds(part, item) for part in condition.parts)
    raise TypeError(f"no such condition: {condition!r}")


def changed(item: Item, change: Change) -> Item:
    """Return the item after the change."""
    after = {**change.put_if_missing, **item, **change.put}
    for name, by in change.increment.items():
        after[name] = int(after.get(name, 0)) + by
    return {name: value for name, value in after.items() if name not in change.remove}


def _compares(condition: Below | Above, value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    if isinstance(condition, Below):
        return value < condition.number
    return value > condition.number

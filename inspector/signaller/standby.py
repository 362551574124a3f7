"""One process signals, the others stand by: how the group shares out its partitions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.protocol.consumer.metadata import ConsumerProtocolAssignment

if TYPE_CHECKING:
    from collections.abc import Sequence


class OneForAll(CooperativeStickyAssignor):  # type: ignore[misc]  # the library has no types
    """Gives every partition to one member: a PLC takes signals of one process only.

    Whoever has them keeps them. If nobody has, the first by name gets them. What another member
    still holds is given up first, and handed out in the round after that, as the cooperative
    protocol wants it.
    """

    name = "inspector-one-for-all"

    def assign(self, cluster: Any, members: Sequence[Any]) -> dict[str, Any]:
        """Member id to its partitions, in the library's form."""
        owned = {
            m.member_id: set(self.parse_member_metadata(m.metadata).partitions) for m in members
        }
        first = min(
            members,
            key=lambda m: (-len(owned[m.member_id]), m.group_instance_id or "~", m.member_id),
        )
        taken = {
            (part.topic, part.partition)
            for member, parts in owned.items()
            if member != first.member_id
            for part in parts
        }
        everything = [
            (topic, sorted(n for n in numbers if (topic, n) not in taken))
            for topic in sorted(first.metadata.topics)
            if (numbers := cluster.partitions_for_topic(topic))
        ]
        return {
            member.member_id: ConsumerProtocolAssignment(
                self.version, everything if member is first else [], b""
            )
            for member in members
        }

"""One process signals, the others stand by: how the group shares out its partitions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.protocol.consumer.metadata import (
    ConsumerProtocolAssignment,
    ConsumerProtocolSubscription,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


class OneForAll(CooperativeStickyAssignor):  # type: ignore[misc]  # the library has no types
    """Gives every partition to one member: a PLC takes signals of one process only.

    Whoever has them keeps them. If nobody has, the first by name gets them. What another member
    still holds is given up first, and handed out in the round after that, as the cooperative
    protocol wants it.

    A member says what it has, and since which generation of the group. One that was away, and does
    not know that the group gave its partitions to another, says an older one: nobody had the same
    partition in the same generation, so of several that claim it the newest has it.
    """

    name = "inspector-one-for-all"

    def metadata(self, topics: Any) -> Any:
        """What this member has, in the library's form; with a generation, from version 2 on."""
        claim = super().metadata(topics)
        if not claim.owned_partitions:
            return claim
        return ConsumerProtocolSubscription(
            version=2,
            topics=claim.topics,
            user_data=claim.user_data,
            owned_partitions=claim.owned_partitions,
            generation_id=self.generation,
        )

    def assign(self, cluster: Any, members: Sequence[Any]) -> dict[str, Any]:
        """Member id to its partitions, in the library's form."""
        claims = {m.member_id: self.parse_member_metadata(m.metadata) for m in members}
        newest = {
            part: claim.generation
            for claim in sorted(claims.values(), key=lambda claim: claim.generation)
            for part in claim.partitions
        }
        owned = {
            member: {part for part in claim.partitions if newest[part] == claim.generation}
            for member, claim in claims.items()
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

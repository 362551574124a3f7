"""Making kafka-python's clients so that one which cannot be made leaves nothing behind."""

from __future__ import annotations

from typing import Any


def opened(kind: Any, *topics: str, **options: Any) -> Any:
    """A client of the library; one whose constructor fails closes its connections and threads.

    By itself it leaves them to nobody: a broker that takes connections and does not answer would
    cost the process three descriptors and a thread at every try, until it can open no more.

    Args:
        kind: KafkaProducer, KafkaConsumer or KafkaAdminClient, or a class made of one.
        topics: for a consumer.

    Raises:
        kafka_errors.KafkaError: as the constructor says.
    """
    clients = []

    def client(**given: Any) -> Any:
        clients.append(kind.DEFAULT_CONFIG["kafka_client"](**given))
        return clients[-1]

    try:
        return kind(*topics, **options, kafka_client=client)
    except BaseException:
        for made in clients:
            made.close()
        raise

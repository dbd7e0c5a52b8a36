"""How every client of ours connects: addresses, encryption, login, and the sentence for a broker that is not there."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Iterator
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from service.settings import KafkaSettings

_ANSWER_WITHIN_S = 10.0


class BrokerMissing(Exception):  # noqa: N818 - read by people as a sentence
    """No broker answers where the settings say; the sentence names the address, the variable and the remedy."""


def client_options(settings: KafkaSettings) -> dict[str, Any]:
    """Arguments that every aiokafka client takes. Raises: BrokerMissing (a certificate cannot be read)."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers,
        "client_id": settings.client_id,
        "request_timeout_ms": settings.request_timeout_ms,
        "security_protocol": settings.security_protocol,
    }
    if settings.security_protocol.endswith("SSL"):
        options["ssl_context"] = _ssl_context(settings)
    if settings.security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = settings.sasl_mechanism
        options["sasl_plain_username"] = settings.sasl_username
        options["sasl_plain_password"] = settings.sasl_password.get_secret_value() if settings.sasl_password else None
    return options


def _ssl_context(settings: KafkaSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ssl_ca_file)
        if settings.ssl_certificate_file is not None:
            password = settings.ssl_key_password.get_secret_value() if settings.ssl_key_password else None
            context.load_cert_chain(settings.ssl_certificate_file, settings.ssl_key_file, password)
    except (OSError, ssl.SSLError) as error:
        named = ", ".join(
            f"CHURN_KAFKA__{name.upper()}={path}"
            for name in ("ssl_ca_file", "ssl_certificate_file", "ssl_key_file")
            if (path := getattr(settings, name)) is not None
        )
        raise BrokerMissing(f"The certificates cannot be used ({error}): correct {named}") from error
    context.check_hostname = settings.ssl_check_hostname
    return context


@contextlib.contextmanager
def _unlogged() -> Iterator[None]:
    """Keep the client library from logging what its caller says in a sentence: that no broker answers."""
    library = logging.getLogger("aiokafka")
    level = library.level
    library.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        library.setLevel(level)


async def reach(settings: KafkaSettings) -> None:
    """Return when a broker has answered. Raises: BrokerMissing."""
    client = AIOKafkaClient(**client_options(settings))
    try:
        with _unlogged():
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                await client.bootstrap()
    except (KafkaError, TimeoutError, OSError, ValueError, OverflowError) as error:
        raise BrokerMissing(
            f"No Kafka broker answers at {settings.bootstrap_servers}: "
            "start one (deploy/kafka), or correct CHURN_KAFKA__BOOTSTRAP_SERVERS and the settings of security beside it"
        ) from error
    finally:
        await client.close()

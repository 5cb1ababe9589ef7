"""Serializers that are not kombu's: registered by the app, by a package's entry point, signed ones; types of its own in JSON."""

import datetime
import os
import uuid

from celery import Celery
from kombu.serialization import register
from kombu.utils.json import register_type

import reversed_json

DIRECTORY, SERIALIZER = os.environ["ECO_DIR"], os.environ["ECO_SERIALIZER"]


class Point:
    """kombu's JSON learns how to write and read it."""

    def __init__(self, x, y):
        self.x, self.y = x, y


class Money:
    """Writes itself."""

    def __init__(self, cents):
        self.cents = cents

    def __json__(self):
        return {"cents": self.cents}


register_type(Point, "point", lambda point: [point.x, point.y], lambda value: Point(*value))
if SERIALIZER == "reverse":
    register("reverse", reversed_json.dumps, reversed_json.loads, "application/x-reverse", "utf-8")

accepted = [SERIALIZER]
app = Celery("serializers_app", broker=os.environ["ECO_BROKER"], backend=os.environ["ECO_BACKEND"])
app.conf.update(
    task_serializer=SERIALIZER, accept_content=accepted, result_serializer="json" if SERIALIZER == "auth" else SERIALIZER,
    result_accept_content=["json"] if SERIALIZER == "auth" else accepted, broker_connection_retry_on_startup=True,
)
if SERIALIZER == "auth":
    app.conf.update(
        security_key=f"{DIRECTORY}/key.pem", security_certificate=f"{DIRECTORY}/cert.pem",
        security_cert_store=f"{DIRECTORY}/cert.pem", event_serializer="auth",
    )
    if os.path.exists(app.conf.security_key):
        app.setup_security()


@app.task
def echo(value):
    return value


@app.task
def shift(point):
    return Point(point.x + 1, point.y + 1)


@app.task
def money():
    return Money(5)


@app.task
def chained(value):
    """What children send is written in the same way."""
    return echo.delay(value).id


def got(signature):
    value = signature.delay().get(timeout=60)
    return ["Point", value.x, value.y] if isinstance(value, Point) else value


def client():
    found = [got(echo.s({"a": [1, None]}))]
    if SERIALIZER == "json":
        found += [got(shift.s(Point(1, 2))), got(money.s()), got(echo.s(Money(7)))]
    found.append(app.AsyncResult(chained.delay([1]).get(timeout=60)).get(timeout=60))
    if SERIALIZER == "auth":
        found += forged()
    return found


def forged():
    """Somebody else's signature, and no signature: neither runs."""
    from kombu.serialization import registry

    before = echo.delay("signed")
    with app.producer_pool.acquire() as producer:
        message = app.amqp.as_task_v2(str(uuid.uuid4()), "serializers_app.echo", ("forged",))
        _, _, body = registry.dumps(message.body, "auth")
        for text, content in ((body[:-8] + "AAAAAAA=", "application/data"), ('[["plain"], {}, {}]', "application/json")):
            producer.publish(
                text, content_type=content, content_encoding="utf-8", headers=message.headers, routing_key="celery",
                **message.properties,
            )
    return [before.get(timeout=60), echo.delay("after").get(timeout=60)]


def prepare():
    """A key and a certificate that it signs itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "eco")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1000).not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    with open(f"{DIRECTORY}/key.pem", "wb") as file:
        file.write(key.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()))
    with open(f"{DIRECTORY}/cert.pem", "wb") as file:
        file.write(certificate.public_bytes(pem))

"""What Celery's main process has opened before its children are forked, and what of it they use."""

import os

import redis
import sqlalchemy
from celery import signals

from record import new_app, record

app = new_app("resources_app")
client_of_redis = redis.Redis.from_url(os.environ["ECO_BROKER"])
engine = sqlalchemy.create_engine(f"sqlite:///{os.environ['ECO_DIR']}/own.sqlite", poolclass=sqlalchemy.pool.QueuePool)


def held():
    """Numbers of the sockets' own ports, and of the database connection."""
    with app.producer_pool.acquire(block=True) as producer:
        producer.connection.ensure_connection()
        broker = producer.channel.client.connection_pool
        pooled = broker.get_connection()
        pooled.connect()
        port = pooled._sock.getsockname()[1]
        broker.release(pooled)
    own = client_of_redis.connection_pool.get_connection()
    own.connect()
    found = {"broker": port, "redis": own._sock.getsockname()[1]}
    client_of_redis.connection_pool.release(own)
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("select 1"))
        found["database"] = id(connection.connection.dbapi_connection)
    return found


@signals.worker_init.connect
def in_main(**_):
    record("main", held=held())


@signals.worker_process_init.connect
def in_child(**_):
    # As SQLAlchemy says: what has been inherited is forgotten, not closed.
    engine.dispose(close=False)


@app.task
def look():
    return held()


@app.task
def sends():
    return look.delay().id


def client():
    first = look.delay().get(timeout=60)
    second = app.AsyncResult(sends.delay().get(timeout=60)).get(timeout=60)
    return [first, second]

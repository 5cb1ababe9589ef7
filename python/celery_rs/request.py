"""A job as Celery's `Request` has it: the request dict, and the body decoded as the consumer decodes it."""
import json

from kombu import serialization
from kombu.compression import decompress
from kombu.serialization import prepare_accept_content
from kombu.utils import json as kombu_json

_scan = json.JSONDecoder().scan_once


def loads(text):
    """kombu's JSON; texts without its extensions go the short way."""
    if '__type__' in text:
        return kombu_json.loads(text)
    try:
        value, end = _scan(text, 0)
    except StopIteration:
        return kombu_json.loads(text)
    return value if end == len(text) else kombu_json.loads(text)


def fields(mapping):
    """Headers or properties of a job, as a dict of the caller's own."""
    return mapping.copy() if type(mapping) is dict else loads(mapping)


class Requests:
    """Makes requests for one app and node."""

    def __init__(self, app, hostname):
        self.hostname = hostname
        self.accept = prepare_accept_content(app.conf.accept_content)
        accepts_json = self.accept is None or 'application/json' in self.accept
        usual = serialization.registry._decoders.get('application/json') is kombu_json.loads
        # An app may have registered a decoder of its own.
        self.short_way = accepts_json and usual

    def request(self, job):
        """The request dict, without what comes in the body."""
        request = fields(job[3])
        reply_to, correlation_id = job[8], job[9]
        request['properties'] = fields(job[4])
        request['reply_to'] = reply_to
        request['correlation_id'] = correlation_id
        request['hostname'] = self.hostname
        request['delivery_info'] = {
            'exchange': job[10],
            'routing_key': job[11],
            'priority': job[12],
            'redelivered': job[13],
        }
        return request

    def body(self, job, request):
        """Args, kwargs and embed."""
        body, content_type, content_encoding = job[5], job[6], job[7]
        compression = request.get('compression')
        if compression:
            body = decompress(body, compression)
        if self.short_way and content_type == 'application/json' and content_encoding == 'utf-8':
            return loads(str(body, 'utf-8'))
        return serialization.loads(body, content_type, content_encoding, accept=self.accept)

"""Credentials of Redis brokers by the app's own providers, as redis-py asks them for each connection."""
from kombu.utils.encoding import bytes_to_str
from kombu.utils.imports import symbol_by_name

from celery_rs.errands import errand

#: By path: a provider may keep a token until it expires.
providers = {}


@errand
def credentials(steward, provider):
    """User, if there is one, and password (`kombu/transport/redis.py:_process_credential_provider`)."""
    # Who has another broker may have no redis-py.
    from redis.credentials import CredentialProvider
    found = providers.get(provider)
    if found is None:
        found = symbol_by_name(provider)()
        if not isinstance(found, CredentialProvider):
            raise ValueError('Credential provider is not an instance of a redis.CredentialProvider or a subclass')
        providers[provider] = found
    given = tuple(found.get_credentials())
    username, password = (None, *given) if len(given) == 1 else given
    return [bytes_to_str(username), bytes_to_str(password)]

"""Credentials of a Redis broker that are other ones from time to time, as a cloud's tokens are."""

import os
import pathlib

from redis.credentials import CredentialProvider


class Provider(CredentialProvider):
    """What stands in a file: user and password, or the password alone."""

    def get_credentials(self):
        try:
            return tuple(pathlib.Path(os.environ["PROJ_CREDENTIALS"]).read_text().split())
        except FileNotFoundError as exc:
            raise ConnectionRefusedError("the service that gives tokens is away") from exc

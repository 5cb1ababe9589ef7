"""A result backend that only Python can have, and that is not made of keys and values: documents, as Celery keeps them in
MongoDB. It does not count the parts of chords. A folder stands for the server, and a file for each document."""

import datetime
import json
import os
import pathlib
import uuid

from celery import states
from celery.backends.base import BaseBackend
from celery.result import result_from_tuple


class DocumentBackend(BaseBackend):
    supports_autoexpire = False

    def __init__(self, app, url=None, **kwargs):
        super().__init__(app, url=url, **kwargs)
        self.directory = pathlib.Path(url.partition("://")[2])

    def _replace(self, collection, id, document):
        temporary = self.directory / uuid.uuid4().hex
        temporary.write_text(json.dumps(document, default=datetime.datetime.isoformat))
        os.rename(temporary, self.directory / f"{collection}-{id}")

    def _find(self, collection, id):
        try:
            return json.loads((self.directory / f"{collection}-{id}").read_text())
        except FileNotFoundError:
            return None

    def _delete(self, collection, id):
        (self.directory / f"{collection}-{id}").unlink(missing_ok=True)

    def _store_result(self, task_id, result, state, traceback=None, request=None, **kwargs):
        found = self._find("task", task_id)
        if found is None or found["status"] != states.SUCCESS:
            meta = self._get_result_meta(self.encode(result), state, traceback, request, format_date=False)
            self._replace("task", task_id, {**meta, "_id": task_id})
        return result

    def _get_task_meta_for(self, task_id):
        found = self._find("task", task_id)
        if found is None:
            return {"status": states.PENDING, "result": None}
        return self.meta_from_decoded({**found, "task_id": found.pop("_id"), "result": self.decode(found["result"])})

    def _save_group(self, group_id, result):
        self._replace("group", group_id, {"result": result.as_tuple()})
        return result

    def _restore_group(self, group_id):
        found = self._find("group", group_id)
        return found and {"task_id": group_id, "result": result_from_tuple(found["result"], self.app)}

    def _delete_group(self, group_id):
        self._delete("group", group_id)

    def _forget(self, task_id):
        self._delete("task", task_id)

    def __reduce__(self, args=(), kwargs=None):
        return super().__reduce__(args, {**(kwargs or {}), "expires": self.expires, "url": self.url})

"""Imports package `celery_rs` out of the binary; an installed wheel of the same name is not looked at."""
import sys
from importlib.machinery import ModuleSpec

PACKAGE = 'celery_rs'


class Embedded:
    """Finder and loader of the sources that the binary carries."""

    def __init__(self, sources):
        self.sources = sources

    def find_spec(self, name, path=None, target=None):
        if name not in self.sources:
            return None
        spec = ModuleSpec(name, self, origin=self.get_filename(name), is_package=name == PACKAGE)
        spec.has_location = True
        return spec

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        name = module.__spec__.name
        exec(compile(self.sources[name], self.get_filename(name), 'exec'), module.__dict__)

    def get_filename(self, name):
        return name.replace('.', '/') + ('/__init__.py' if name == PACKAGE else '.py')

    def get_source(self, name):
        """For tracebacks."""
        return self.sources[name]


def install(sources, bridge):
    sys.meta_path.insert(0, Embedded(sources))
    package = __import__(PACKAGE)
    sys.modules[f'{PACKAGE}._bridge'] = package._bridge = bridge

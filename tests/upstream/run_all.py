#!/usr/bin/env python3
"""Run the suite against a worker in all configurations side by side.

    run_all.py --sdist celery-5.7.0.tar.gz --worker target/debug/celery-rs --out DIR

Each configuration of configurations.toml is a run_suite.py of its own, with
servers of its own, and is compared with its baseline.  What is not an option
of this program goes to run_suite.py.

Exit status: 0 if all that passes with Celery's worker passed, else 1.
"""
import argparse
import pathlib
import re
import signal
import subprocess
import sys
import tomllib

HERE = pathlib.Path(__file__).resolve().parent


def parse_args(names):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add('--sdist', type=pathlib.Path, required=True, help="Celery's sdist, packed or unpacked")
    add('--worker', type=pathlib.Path, required=True, help='the program that takes the place of `celery`')
    add('--out', type=pathlib.Path, required=True, help='folder for logs')
    add('--only', nargs='+', default=names, choices=names, metavar='NAME', help=f'some of: {", ".join(names)}')
    add('--sample', action='store_true', help='only the tests that configurations.toml has for it: some minutes')
    return parser.parse_known_args()


def select(sample):
    """Options for run_suite.py: the tests of a sample."""
    return ['--tests', *sample['tests'], '-k', ' and '.join(f'not {name}' for name in sample['without'])]


def make_path(worker, out):
    """A folder with the worker by the name `celery`, for tests that start it themselves."""
    folder = out / 'bin'
    folder.mkdir(exist_ok=True)
    (folder / 'celery').unlink(missing_ok=True)
    (folder / 'celery').symlink_to(worker.resolve())
    return folder


class Run:
    """A run_suite.py with one configuration."""

    def __init__(self, name, configuration, args, arguments):
        self.name = name
        out = args.out / name
        out.mkdir(exist_ok=True)
        self.report = out / 'report.txt'
        command = [
            sys.executable, HERE / 'run_suite.py', '--sdist', args.sdist, '--out', out,
            '--worker-cmd', f'{args.worker.resolve()} -A suite_app worker {configuration["options"]} -l INFO -E -n {{node}}',
            '--broker', configuration['broker'], '--backend', configuration['backend'],
            '--expect', HERE / 'baselines' / f'{name}.json',
            '--path', make_path(args.worker, args.out), '--include', 'own-worker', *arguments,
        ]
        with open(self.report, 'w') as file:
            # In a session of its own, so that a Ctrl-C reaches it through us only, and once.
            self.process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)

    def summary(self):
        """Its last word: the comparison with the baseline, or how it ended instead."""
        report = self.report.read_text()
        compared = re.findall(r'^(?:expected to pass|lost): .*', report, re.MULTILINE)
        return compared or [f'ended with status {self.process.returncode}', *report.splitlines()[-3:]]


def main():
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Those who start us in the background may have had it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with open(HERE / 'configurations.toml', 'rb') as file:
        settings = tomllib.load(file)
    configurations = settings['configuration']
    args, arguments = parse_args(list(configurations))
    args.out.mkdir(parents=True, exist_ok=True)
    if args.sample:
        arguments += select(settings['sample'])
    runs = []
    try:
        for name in args.only:
            runs.append(Run(name, configurations[name], args, arguments))
        for run in runs:
            run.process.wait()
            print(f'== {run.name}\n{run.report.read_text()}', flush=True)
    except KeyboardInterrupt:
        return 130
    finally:
        for run in runs:
            if run.process.poll() is None:
                run.process.terminate()     # it stops its worker and its servers
        for run in runs:
            run.process.wait()
    for run in runs:
        print(f'{run.name}:', *run.summary(), sep='\n    ')
    return int(any(run.process.returncode for run in runs))


if __name__ == '__main__':
    sys.exit(main())
